//! A simulated accelerator that works asynchronously and reports later that it is done.
//!
//! The processor submits a request with its ticket, does other work, and takes completions from a
//! queue. The accelerator can be made to repeat, delay, reorder and forge completions. Each of
//! these must be refused and change nothing.

use std::collections::VecDeque;

use bissl_core::{Draws, Reply, Request, Stream, Ticket};
use bissl_firmware::{Configuration, Fault, FrameSource, Kernels, Program, Tick};

/// What an accelerator may do wrong when it completes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionFault {
    /// The right completion comes a second time at once.
    Duplicated,
    /// The right completion comes a second time while the next request is in flight.
    Late,
    /// The right completion comes a second time after that of the next request.
    Reordered,
    /// The reply to this request comes under the previous ticket.
    OldTicket,
    /// The reply to this request comes under the next ticket.
    NextTicket,
    /// This ticket comes with a reply of the other kind, before the work is done.
    WrongReply,
    /// This ticket comes with a fitting reply before the work is done. It is left over from the
    /// previous stage, and only the tag shows that.
    OldStage,
}

impl CompletionFault {
    /// All faults.
    pub const ALL: [Self; 7] = [
        Self::Duplicated,
        Self::Late,
        Self::Reordered,
        Self::OldTicket,
        Self::NextTicket,
        Self::WrongReply,
        Self::OldStage,
    ];
}

/// How long the accelerator takes, in polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Most polls between submission and the start of the work. During these the memory is in the
    /// state before the request.
    pub queued_max: u32,
    /// Most polls between the start of the work and its completion. During these the memory belongs
    /// to the accelerator.
    pub working_max: u32,
    /// A request without a completion is given up after this many polls. This is more than the sum
    /// of the others, unless a test provokes a timeout.
    pub limit: u32,
}

/// How often the accelerator makes mistakes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manners {
    /// One completion for each request.
    Right,
    /// Each fault occurs at each request with this probability, 0 to 1.
    Wrong(f32),
}

/// An entry of the queue.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Completion {
    /// The tag of the stage, as submitted.
    tag: u32,
    ticket: Ticket,
    reply: Reply,
    /// The injected fault. It is for statistics; the processor does not decide by it.
    fault: Option<CompletionFault>,
}

/// A request as submitted.
#[derive(Clone, Copy, Debug)]
struct Job {
    tag: u32,
    ticket: Ticket,
    request: Request,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Idle,
    /// The request was submitted; the memory is untouched.
    Queued {
        job: Job,
        polls: u32,
    },
    /// The request was performed; the completion has not been posted.
    Working {
        job: Job,
        reply: Reply,
        polls: u32,
    },
}

/// The accelerator's side.
#[derive(Clone, Debug)]
struct Accelerator<K> {
    kernels: K,
    draws: Draws,
    latency: Latency,
    manners: Manners,
    work: Work,
    queue: VecDeque<Completion>,
    /// Completions that are posted after that of the next request.
    held: Vec<Completion>,
    /// Completions that are posted once the next request is in flight.
    delayed: Vec<Completion>,
    last: Option<Ticket>,
}

impl<K: Kernels<f32>> Accelerator<K> {
    fn occurs(&mut self) -> bool {
        match self.manners {
            Manners::Right => false,
            Manners::Wrong(probability) => self.draws.chance(probability),
        }
    }

    fn submit(&mut self, job: Job) {
        let polls = self.draws.below(self.latency.queued_max.saturating_add(1));
        self.work = Work::Queued { job, polls };
        self.queue.extend(self.delayed.drain(..));
    }

    /// One poll of the accelerator's clock.
    fn poll<C: Configuration, S: FrameSource>(
        &mut self,
        program: &mut Program<C>,
        frames: &S,
    ) -> Result<(), Fault> {
        self.work = match self.work {
            Work::Idle => Work::Idle,
            Work::Queued { job, polls: 0 } => {
                let reply = program.perform(frames, &mut self.kernels, &job.request)?;
                self.post_early(job, reply);
                let polls = self.draws.below(self.latency.working_max.saturating_add(1));
                Work::Working { job, reply, polls }
            }
            Work::Queued { job, polls } => Work::Queued { job, polls: polls - 1 },
            Work::Working { job, reply, polls: 0 } => {
                self.post(job, reply);
                Work::Idle
            }
            Work::Working { job, reply, polls } => Work::Working { job, reply, polls: polls - 1 },
        };
        Ok(())
    }

    /// Posts the completions that come too early.
    fn post_early(&mut self, Job { tag, ticket, .. }: Job, reply: Reply) {
        let wrong = match reply {
            Reply::Ack => Reply::Scalars(1),
            Reply::Scalars(_) => Reply::Ack,
        };
        let old = self.last.map(|last| (CompletionFault::OldTicket, tag, last, reply));
        let forged = [
            old,
            Some((CompletionFault::NextTicket, tag, ticket.next(), reply)),
            Some((CompletionFault::WrongReply, tag, ticket, wrong)),
            Some((CompletionFault::OldStage, tag.wrapping_sub(1), ticket, reply)),
        ];
        for (fault, tag, ticket, reply) in forged.into_iter().flatten() {
            if self.occurs() {
                self.queue.push_back(Completion { tag, ticket, reply, fault: Some(fault) });
            }
        }
    }

    /// Posts the right completion, and those that follow it.
    fn post(&mut self, Job { tag, ticket, .. }: Job, reply: Reply) {
        let right = Completion { tag, ticket, reply, fault: None };
        let copy = |fault| Completion { fault: Some(fault), ..right };
        self.queue.push_back(right);
        self.queue.extend(self.held.drain(..));
        if self.occurs() {
            self.queue.push_back(copy(CompletionFault::Duplicated));
        }
        if self.occurs() {
            self.delayed.push(copy(CompletionFault::Late));
        }
        if self.occurs() {
            self.held.push(copy(CompletionFault::Reordered));
        }
        self.last = Some(ticket);
    }
}

/// What one turn of the main loop did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn {
    /// A request was submitted.
    Submitted,
    /// The accelerator is working: the processor may do its other work.
    Waiting,
    /// The request is complete.
    Completed,
    /// There was no request, and the program did a tick.
    Ticked(Tick),
}

/// Why the main loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum AsynchronousError {
    /// The device's fault.
    #[error("{0}")]
    Device(#[from] Fault),
    /// A wrong completion was taken for the right one.
    #[error("a completion that was {0:?} was accepted, expected a refusal")]
    Accepted(CompletionFault),
    /// A refused completion changed the program.
    #[error("a completion that was {0:?} was refused but changed the program, expected no change")]
    Changed(CompletionFault),
    /// No completion came within the limit. The memory may be half written: continue from the
    /// newest checkpoint.
    #[error("no completion of a request after {polls} polls, expected one within {limit}")]
    TimedOut {
        /// Polls since the submission.
        polls: u32,
        /// [`Latency::limit`].
        limit: u32,
    },
}

/// Statistics of the main loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompletionTraffic {
    /// Requests completed.
    pub completed: u64,
    /// Turns in which the accelerator was working.
    pub waits: u64,
    refused: [u64; CompletionFault::ALL.len()],
}

impl CompletionTraffic {
    /// Number of refused completions with this fault. Those of `OldStage` are refused by their tag,
    /// the others by `complete`.
    pub fn refused(&self, fault: CompletionFault) -> u64 {
        self.refused.get(fault as usize).copied().unwrap_or(0)
    }
}

/// A device program whose requests an accelerator performs: the main loop of its processor.
#[derive(Clone, Debug)]
pub struct AsynchronousDevice<C: Configuration, S, K> {
    program: Program<C>,
    frames: S,
    accelerator: Accelerator<K>,
    /// Polls since a request was submitted; `None` if none is in flight.
    in_flight: Option<u32>,
    tag: u32,
    traffic: CompletionTraffic,
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> AsynchronousDevice<C, S, K> {
    /// Continues `program`, which has begun or was restored, and which has no request in flight.
    /// `seed` determines delays and faults.
    pub fn new(
        program: Program<C>,
        (frames, kernels): (S, K),
        (latency, manners): (Latency, Manners),
        seed: u64,
    ) -> Self {
        let accelerator = Accelerator {
            kernels,
            draws: Stream::new(seed, DELAYS).at(0),
            latency,
            manners,
            work: Work::Idle,
            queue: VecDeque::new(),
            held: Vec::new(),
            delayed: Vec::new(),
            last: None,
        };
        Self {
            program,
            frames,
            accelerator,
            in_flight: None,
            tag: 0,
            traffic: CompletionTraffic::default(),
        }
    }

    /// One turn of the main loop, and one poll of the accelerator.
    ///
    /// # Errors
    /// The device's fault, a request that is not completed in time, or a wrong completion that was
    /// not refused.
    pub fn turn(&mut self) -> Result<Turn, AsynchronousError> {
        match (self.program.pending(), self.in_flight) {
            (None, _) => {
                let tick = self.program.tick(&self.frames, &mut self.accelerator.kernels)?;
                if let Tick::Begun(_) = tick {
                    // The next stage counts its tickets from 0 again.
                    self.tag = self.tag.wrapping_add(1);
                }
                Ok(Turn::Ticked(tick))
            }
            (Some((ticket, request)), None) => {
                self.accelerator.submit(Job { tag: self.tag, ticket, request });
                self.in_flight = Some(0);
                Ok(Turn::Submitted)
            }
            (Some(_), Some(polls)) => {
                self.accelerator.poll(&mut self.program, &self.frames)?;
                self.drain()?;
                if self.in_flight.is_none() {
                    return Ok(Turn::Completed);
                }
                let (polls, limit) = (polls.saturating_add(1), self.accelerator.latency.limit);
                if polls >= limit {
                    return Err(AsynchronousError::TimedOut { polls, limit });
                }
                self.in_flight = Some(polls);
                self.traffic.waits += 1;
                Ok(Turn::Waiting)
            }
        }
    }

    /// Hands over what is in the queue.
    fn drain(&mut self) -> Result<(), AsynchronousError> {
        while let Some(completion) = self.accelerator.queue.pop_front() {
            if completion.tag != self.tag {
                self.refuse(completion);
                continue;
            }
            let before = completion.fault.map(|fault| (fault, self.program.clone()));
            let taken = self.program.complete(completion.ticket, completion.reply);
            match (before, taken) {
                (None, Ok(())) => {
                    self.in_flight = None;
                    self.traffic.completed += 1;
                }
                (None, Err(fault)) => return Err(fault.into()),
                (Some((fault, _)), Ok(())) => return Err(AsynchronousError::Accepted(fault)),
                (Some((fault, before)), Err(_)) => {
                    if before != self.program {
                        return Err(AsynchronousError::Changed(fault));
                    }
                    self.refuse(completion);
                }
            }
        }
        Ok(())
    }

    fn refuse(&mut self, completion: Completion) {
        let counted = completion.fault.and_then(|f| self.traffic.refused.get_mut(f as usize));
        if let Some(count) = counted {
            *count += 1;
        }
    }

    /// The program, to be read or stored; `None` while the memory belongs to the accelerator. A
    /// request that was submitted but not started has changed nothing, so the state before it is
    /// what is stored.
    pub fn program(&self) -> Option<&Program<C>> {
        match self.accelerator.work {
            Work::Working { .. } => None,
            Work::Idle | Work::Queued { .. } => Some(&self.program),
        }
    }

    /// Whether a submitted request is not complete yet.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Statistics since [`new`](Self::new).
    pub fn traffic(&self) -> CompletionTraffic {
        self.traffic
    }
}

/// The stream of delays and faults.
const DELAYS: u16 = 0x6465;
