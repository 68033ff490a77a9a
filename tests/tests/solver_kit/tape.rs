//! A machine's whole conversation, recorded, and what can be asked of it at every state.

use bissl_core::{DriveError, Driver, Machine, Pending, Reply, Request, Ticket, UnexpectedReply};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

use crate::dense::DenseError;

/// What a machine has to be for the protocol's promises to be checked.
pub(crate) trait Plain: Clone + Debug + PartialEq + Serialize + DeserializeOwned {}
impl<M: Clone + Debug + PartialEq + Serialize + DeserializeOwned> Plain for M {}

/// One exchange: the machine, what it waited for, and what it was given.
#[derive(Clone, Debug)]
pub(crate) struct Exchange<M> {
    pub(crate) machine: M,
    pub(crate) ticket: Ticket,
    /// `None` where an event was pending.
    pub(crate) request: Option<Request>,
    /// Debug output of the pending item: the shortest decimals that give back every bit.
    pub(crate) pending: String,
    pub(crate) reply: Reply,
    /// The workspace when the reply was handed over.
    pub(crate) given: Vec<f32>,
    /// The workspace when the machine returned it.
    pub(crate) returned: Vec<f32>,
}

/// A conversation from the first request to the end.
#[derive(Clone, Debug)]
pub(crate) struct Tape<M> {
    pub(crate) exchanges: Vec<Exchange<M>>,
    pub(crate) end: M,
    pub(crate) output: String,
}

/// A machine that asks for more than this is not going to end.
const EXCHANGES_MAX: usize = 5_000;

/// Runs a machine to its end and keeps everything.
pub(crate) fn record<M, D>(mut machine: M, driver: &mut D, workspace: usize) -> Tape<M>
where
    M: Machine<Output: Debug> + Plain,
    D: Driver<Error = DriveError<DenseError>>,
{
    let mut scalars = vec![f32::NAN; workspace];
    let mut exchanges = Vec::new();
    while exchanges.len() < EXCHANGES_MAX {
        let before = machine.clone();
        let pending = format!("{:?}", machine.pending());
        let (ticket, request, reply) = match machine.pending() {
            Pending::Request(ticket, request) => {
                (ticket, Some(request), driver.perform(&request, &mut scalars).unwrap())
            }
            Pending::Event(ticket, _) => (ticket, None, Reply::Ack),
            Pending::Done(output) => {
                return Tape { exchanges, end: machine, output: format!("{output:?}") };
            }
        };
        let given = scalars.clone();
        machine.step(ticket, reply, &mut scalars).unwrap();
        let returned = scalars.clone();
        exchanges.push(Exchange {
            machine: before,
            ticket,
            request,
            pending,
            reply,
            given,
            returned,
        });
    }
    panic!("no end after {EXCHANGES_MAX} exchanges: {machine:?}");
}

fn bits(scalars: &[f32]) -> Vec<u32> {
    scalars.iter().map(|x| x.to_bits()).collect()
}

/// Offers a reply that must be refused; gives back why it was.
fn refuse<M: Machine + Plain>(
    machine: &M,
    (ticket, reply): (Ticket, Reply),
    workspace: &[f32],
) -> UnexpectedReply {
    let mut tried = machine.clone();
    let mut scalars = workspace.to_vec();
    let result = tried.step(ticket, reply, &mut scalars);
    let error = result.expect_err(&format!("{reply:?} was taken by {machine:?}"));
    assert_eq!(tried, *machine, "a refused reply has changed the machine");
    assert_eq!(bits(&scalars), bits(workspace), "a refused reply has changed the workspace");
    error
}

/// Replies that do not answer this exchange.
///
/// A machine does not know the number of segments, so to `SegmentDots` any positive multiple of the
/// number of pairs is an answer.
fn wrong_replies<M>(exchange: &Exchange<M>) -> Vec<Reply> {
    let fits = |count: u32| match &exchange.request {
        Some(Request::SegmentDots { pairs }) => {
            count > 0 && (count as usize).is_multiple_of(pairs.as_slice().len())
        }
        _ => exchange.reply == Reply::Scalars(count),
    };
    let counts = [0, 1, 2, 3, 4, 5, u32::MAX].into_iter().filter(|count| !fits(*count));
    let ack = (exchange.reply != Reply::Ack).then_some(Reply::Ack);
    counts.map(Reply::Scalars).chain(ack).collect()
}

/// What a refusal says was expected: the answer; to `SegmentDots` the largest answer that is not
/// above the reply, or the smallest.
fn nearest_answer<M>(exchange: &Exchange<M>, wrong: Reply) -> Reply {
    match (&exchange.request, wrong) {
        (Some(Request::SegmentDots { pairs }), wrong) => {
            let step = pairs.as_slice().len() as u32;
            let count = if let Reply::Scalars(count) = wrong { count } else { 0 };
            Reply::Scalars((count / step * step).max(step))
        }
        _ => exchange.reply,
    }
}

/// Every wrong reply at every state is refused with the right reason, and changes nothing.
pub(crate) fn wrong_replies_are_refused<M: Machine<Output: Debug> + Plain>(tape: &Tape<M>) {
    let beyond = tape.exchanges.last().unwrap().ticket.next().next().next();
    for (i, exchange) in tape.exchanges.iter().enumerate() {
        let machine = &exchange.machine;
        let stale = tape.exchanges[..i].iter().map(|earlier| earlier.ticket);
        for found in stale.chain([exchange.ticket.next(), beyond]) {
            assert_ne!(found, exchange.ticket, "a ticket was given twice");
            let expected = UnexpectedReply::WrongTicket { expected: exchange.ticket, found };
            assert_eq!(refuse(machine, (found, exchange.reply), &exchange.given), expected);
        }
        for wrong in wrong_replies(exchange) {
            let offered = (exchange.ticket, wrong);
            match refuse(machine, offered, &exchange.given) {
                UnexpectedReply::WrongReply { expected, found } => {
                    assert_eq!(found, wrong);
                    // A machine that has learnt the number of segments names the answer itself.
                    if expected != exchange.reply {
                        assert_eq!(expected, nearest_answer(exchange, wrong));
                    }
                }
                other => panic!("{wrong:?} was refused as {other:?} by {machine:?}"),
            }
        }
        if let Reply::Scalars(needed) = exchange.reply {
            for found in 0..needed {
                let short = &exchange.given[..found as usize];
                let error = refuse(machine, (exchange.ticket, exchange.reply), short);
                assert_eq!(error, UnexpectedReply::ShortWorkspace { needed, found });
            }
        }
    }
}

/// Any reply after the end is refused as such.
pub(crate) fn nothing_is_taken_after_the_end<M: Machine<Output: Debug> + Plain>(tape: &Tape<M>) {
    let last = tape.exchanges.last().unwrap();
    for ticket in [last.ticket, last.ticket.next(), Ticket::default()] {
        for reply in [Reply::Ack, Reply::Scalars(1), Reply::Scalars(2), last.reply] {
            let error = refuse(&tape.end, (ticket, reply), &last.returned);
            assert_eq!(error, UnexpectedReply::Ended);
        }
    }
    assert_eq!(format!("{:?}", tape.end.pending()), format!("Done({})", tape.output));
}

/// Hands the recorded replies from exchange `start` on to `machine`; it must ask the same things,
/// bit for bit, give back the same workspaces, and end the same way.
fn continues<M: Machine<Output: Debug> + Plain>(mut machine: M, tape: &Tape<M>, start: usize) {
    for exchange in &tape.exchanges[start..] {
        assert_eq!(format!("{:?}", machine.pending()), exchange.pending);
        assert_eq!(format!("{:?}", machine.pending()), exchange.pending, "asked twice");
        let mut scalars = exchange.given.clone();
        machine.step(exchange.ticket, exchange.reply, &mut scalars).unwrap();
        assert_eq!(bits(&scalars), bits(&exchange.returned));
    }
    assert_eq!(format!("{:?}", machine.pending()), format!("Done({})", tape.output));
}

/// At every state, a copy and a machine that went through JSON go on like the original.
pub(crate) fn every_state_can_be_put_aside<M: Machine<Output: Debug> + Plain>(tape: &Tape<M>) {
    for (i, exchange) in tape.exchanges.iter().enumerate() {
        let text = serde_json::to_string(&exchange.machine).unwrap();
        let restored: M = serde_json::from_str(&text).unwrap();
        assert_eq!(restored, exchange.machine, "{text}");
        continues(restored, tape, i);
        continues(exchange.machine.clone(), tape, i);
    }
    let text = serde_json::to_string(&tape.end).unwrap();
    assert_eq!(serde_json::from_str::<M>(&text).unwrap(), tape.end, "{text}");
}

/// The whole protocol on one conversation.
pub(crate) fn check<M: Machine<Output: Debug> + Plain>(tape: &Tape<M>) {
    wrong_replies_are_refused(tape);
    nothing_is_taken_after_the_end(tape);
    every_state_can_be_put_aside(tape);
}
