//! Traces of the bilevel stage: recorded from one driver, replayed through the core.
//!
//! A machine of `bissl-core` makes the same requests after the same replies, bit for bit, whoever
//! performs them. A trace holds one run's conversation, so that another build of the core can be
//! fed the replies and must make the recorded requests.
//!
//! **Format**: JSON Lines (UTF-8, one object on each line, no blank lines).
//!
//! | line | object |
//! |---|---|
//! | first | `{"machine": M}`: the [`Alternation`] before its first reply, in its serde form: over the solver that a device has, or over the host's choice of solvers |
//! | others | `{"request": Q, "reply": A, "scalars": [bits, …]}`, in order |
//!
//! `Q` and `A` are [`Request`] and [`Reply`] in their serde forms. `scalars` are the reply's
//! scalars as the integers that [`f32::to_bits`] gives: as many as `A` says, none for `"Ack"`.
//! Events carry nothing to compare and are not recorded: the replayer acknowledges them. A trace
//! may stop anywhere. Requests are compared through their JSON text, in which every finite f32 has
//! its own digits.

use std::io::{BufRead, Write};

use bissl_core::{
    Alternation, Completion, ConjugateGradient, LinearSolver, Machine, Pending, Reply, Request,
    Solver, UnexpectedReply,
};
use bissl_firmware::{Configuration, Fault, FrameSource, Kernels, Stage, Tick};
use serde::{Deserialize, Serialize};

use crate::SimulatedDevice;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<M> {
    machine: M,
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    request: Request,
    reply: Reply,
    scalars: Vec<u32>,
}

/// Why a trace could not be recorded to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The device stopped.
    #[error("device stopped: {0}")]
    Fault(Fault),
    /// The training has no bilevel stage, or that stage is over.
    #[error("the device came to rest without a bilevel stage")]
    NoAlignment,
    /// The trace could not be written.
    #[error("cannot write the trace: {0}")]
    Write(#[from] std::io::Error),
}

/// Result of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Requests that were equal to those of the trace.
    pub requests: u64,
    /// Events between them.
    pub events: u64,
    /// How the machine ended; `None` if the trace stops before that.
    pub completion: Option<Completion>,
}

/// Why a replay failed; lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace could not be read.
    #[error("line {line}: cannot read: {source}")]
    Read {
        /// The line.
        line: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// The line does not have the format.
    #[error("line {line}: expected {expected}: {source}")]
    Format {
        /// The line.
        line: u64,
        /// What is expected there.
        expected: &'static str,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The trace has no first line.
    #[error("empty trace, expected {{\"machine\": …}} in line 1")]
    Empty,
    /// The machine makes another request.
    #[error("line {line}: the machine asks for {found}, the trace has {expected}")]
    RequestDiffers {
        /// The line.
        line: u64,
        /// The request in the trace.
        expected: String,
        /// The machine's request.
        found: String,
    },
    /// The machine had already ended.
    #[error("line {line}: the machine has ended ({completion:?}), the trace goes on")]
    Ended {
        /// The line.
        line: u64,
        /// How it ended.
        completion: Completion,
    },
    /// The number of scalars is not what the reply says.
    #[error("line {line}: {found} scalars, the reply says {expected}")]
    ScalarCount {
        /// The line.
        line: u64,
        /// Scalars that the reply announces.
        expected: u32,
        /// Scalars that there are.
        found: usize,
    },
    /// The machine refused the reply.
    #[error("line {line}: reply refused: {error}")]
    Refused {
        /// The line.
        line: u64,
        /// The cause.
        error: UnexpectedReply,
    },
}

/// Trains a device to the end of its bilevel stage and writes that stage's trace; returns the
/// number of requests.
///
/// # Errors
/// The device's fault, a device without the stage, or a writer that fails.
pub fn record<C: Configuration, S: FrameSource, K: Kernels<f32>, W: Write>(
    simulated: &mut SimulatedDevice<C, S, K>,
    mut writer: W,
) -> Result<u64, RecordError> {
    let mut requests = 0;
    loop {
        match simulated.tick().map_err(RecordError::Fault)? {
            Tick::Begun(Stage::Align) => {
                let machine = *simulated.device.alternation().ok_or(RecordError::NoAlignment)?;
                write_line(&mut writer, &Header { machine })?;
            }
            Tick::Performed(exchange) if simulated.device.alternation().is_some() => {
                let scalars = exchange.reply_scalars().iter().map(|s| s.to_bits()).collect();
                let (request, reply) = (exchange.request, exchange.reply);
                write_line(&mut writer, &Line { request, reply, scalars })?;
                requests += 1;
            }
            Tick::Ended(Stage::Align) => {
                writer.flush()?;
                return Ok(requests);
            }
            Tick::Idle => return Err(RecordError::NoAlignment),
            _ => {}
        }
    }
}

fn write_line<W: Write, V: Serialize>(writer: &mut W, value: &V) -> std::io::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")
}

/// Feeds a trace's replies to its machine and compares every request.
///
/// # Errors
/// The first line that cannot be read, or at which trace and machine differ.
pub fn replay<R: BufRead>(reader: R) -> Result<ReplayReport, ReplayError> {
    let mut lines = (1..).zip(reader.lines());
    let mut next = || match lines.next() {
        Some((line, Ok(text))) => Ok(Some((line, text))),
        Some((line, Err(source))) => Err(ReplayError::Read { line, source }),
        None => Ok(None),
    };
    let (line, text) = next()?.ok_or(ReplayError::Empty)?;
    // A device's machine has one solver, the host's a choice of them.
    if let Ok(Header { machine }) = serde_json::from_str(&text) {
        return replay_through::<ConjugateGradient>(machine, next);
    }
    let Header { machine } = parse(line, &text, "{\"machine\": …}")?;
    replay_through::<Solver>(machine, next)
}

/// Feeds the lines after the first to `machine`.
fn replay_through<S: LinearSolver>(
    mut machine: Alternation<S>,
    mut next: impl FnMut() -> Result<Option<(u64, String)>, ReplayError>,
) -> Result<ReplayReport, ReplayError> {
    let mut report = ReplayReport { requests: 0, events: 0, completion: None };
    let mut scalars = Vec::new();
    while let Some((line, text)) = next()? {
        let recorded: Line = parse(line, &text, "{\"request\", \"reply\", \"scalars\"}")?;
        report.events += acknowledge_events(&mut machine, line, &mut scalars)?;
        match machine.pending() {
            Pending::Request(ticket, request) => {
                let (expected, found) = (json(&recorded.request), json(&request));
                if expected != found {
                    return Err(ReplayError::RequestDiffers { line, expected, found });
                }
                fill(&mut scalars, line, &recorded)?;
                machine
                    .step(ticket, recorded.reply, &mut scalars)
                    .map_err(|error| ReplayError::Refused { line, error })?;
                report.requests += 1;
            }
            Pending::Done(completion) => return Err(ReplayError::Ended { line, completion }),
            Pending::Event(..) => {}
        }
    }
    report.events += acknowledge_events(&mut machine, report.requests + 1, &mut scalars)?;
    if let Pending::Done(completion) = machine.pending() {
        report.completion = Some(completion);
    }
    Ok(report)
}

fn acknowledge_events<S: LinearSolver>(
    machine: &mut Alternation<S>,
    line: u64,
    scalars: &mut [f32],
) -> Result<u64, ReplayError> {
    let mut events = 0;
    while let Pending::Event(ticket, _) = machine.pending() {
        machine
            .step(ticket, Reply::Ack, scalars)
            .map_err(|error| ReplayError::Refused { line, error })?;
        events += 1;
    }
    Ok(events)
}

/// Copies the reply's scalars into the workspace, which grows if needed.
fn fill(workspace: &mut Vec<f32>, line: u64, recorded: &Line) -> Result<(), ReplayError> {
    let expected = match recorded.reply {
        Reply::Ack => 0,
        Reply::Scalars(count) => count,
    };
    let found = recorded.scalars.len();
    if found != expected as usize {
        return Err(ReplayError::ScalarCount { line, expected, found });
    }
    if workspace.len() < found {
        workspace.resize(found, 0.0);
    }
    for (scalar, bits) in workspace.iter_mut().zip(&recorded.scalars) {
        *scalar = f32::from_bits(*bits);
    }
    Ok(())
}

fn parse<'a, V: Deserialize<'a>>(
    line: u64,
    text: &'a str,
    expected: &'static str,
) -> Result<V, ReplayError> {
    serde_json::from_str(text).map_err(|source| ReplayError::Format { line, expected, source })
}

fn json(request: &Request) -> String {
    serde_json::to_string(request).expect("requests have no maps and no failing serialisers")
}
