//! What the core's own machines have in common: a ticket, a state, and when a reply is taken.

use crate::{Machine, Pending, Reply, Ticket, UnexpectedReply};

/// [`Machine::step`] for a type with a field `ticket`.
///
/// Its method `advance(&mut self, reply, scalars)` is given replies that answer what is pending; it
/// changes nothing where it returns an error. It sets the state itself: handed back, a state would
/// be on the stack twice.
macro_rules! step {
    () => {
        fn step(
            &mut self,
            ticket: crate::Ticket,
            reply: crate::Reply,
            scalars: &mut [f32],
        ) -> Result<(), crate::UnexpectedReply> {
            crate::machine::accept(crate::Machine::pending(self), ticket, reply, scalars)?;
            self.advance(reply, scalars)?;
            self.ticket = self.ticket.next();
            Ok(())
        }
    };
}
pub(crate) use step;

/// [`Machine`] for a type without events: beside `ticket` and `advance` for [`step`] it has
/// `output(&self)`, which is `None` until the end, and `request(&self)`.
macro_rules! machine {
    ($machine:ident $(<$solver:ident: $bound:ident>)? => $output:ty) => {
        impl $(<$solver: $bound>)? crate::Machine for $machine $(<$solver>)? {
            type Output = $output;

            fn pending(&self) -> crate::Pending<$output> {
                match self.output() {
                    Some(output) => crate::Pending::Done(output),
                    None => crate::Pending::Request(self.ticket, self.request()),
                }
            }

            crate::machine::step!();
        }
    };
}
pub(crate) use machine;

/// Refuses a reply that does not answer what is pending: one after the end, to another request, of
/// another kind or count, or with more scalars than the workspace holds.
///
/// Only the driver knows how many scalars answer `SegmentDots`; the machine checks that itself
/// ([`expect_segments`]).
pub(crate) fn accept<O>(
    pending: Pending<O>,
    ticket: Ticket,
    reply: Reply,
    scalars: &[f32],
) -> Result<(), UnexpectedReply> {
    let (expected, answer) = match pending {
        Pending::Request(expected, request) => (expected, request.answer()),
        Pending::Event(expected, _) => (expected, Some(Reply::Ack)),
        Pending::Done(_) => return Err(UnexpectedReply::Ended),
    };
    if ticket != expected {
        return Err(UnexpectedReply::WrongTicket { expected, found: ticket });
    }
    answer.map_or(Ok(()), |expected| expect(expected, reply, scalars))
}

/// Refuses any reply but `expected`, and a workspace that is too short for its scalars.
fn expect(expected: Reply, found: Reply, scalars: &[f32]) -> Result<(), UnexpectedReply> {
    match expected {
        _ if found != expected => Err(UnexpectedReply::WrongReply { expected, found }),
        Reply::Scalars(needed) if scalars.len() < needed as usize => {
            Err(UnexpectedReply::ShortWorkspace { needed, found: scalars.len() as u32 })
        }
        Reply::Scalars(_) | Reply::Ack => Ok(()),
    }
}

/// The number of segments S that a reply to `SegmentDots` with `PAIRS` pairs implies.
///
/// `known` is 0 until the first such reply. Until then any positive multiple of `PAIRS` is taken,
/// and an error names the largest one that does not exceed the reply.
pub(crate) fn expect_segments<const PAIRS: u32>(
    known: u32,
    found: Reply,
    scalars: &[f32],
) -> Result<u32, UnexpectedReply> {
    let count = if let Reply::Scalars(count) = found { count } else { 0 };
    let segments = if known > 0 { known } else { (count / PAIRS).max(1) };
    expect(Reply::Scalars(PAIRS * segments), found, scalars)?;
    Ok(segments)
}

/// The first `N` scalars of an accepted reply.
///
/// # Errors
/// None, since [`accept`] has checked the length. But a panic, even one that cannot happen, takes
/// flash on a device.
pub(crate) fn front<const N: usize>(scalars: &[f32]) -> Result<[f32; N], UnexpectedReply> {
    let short = UnexpectedReply::ShortWorkspace { needed: N as u32, found: scalars.len() as u32 };
    scalars.first_chunk::<N>().copied().ok_or(short)
}

/// Passes a reply on to an inner machine; returns its output once it has ended.
pub(crate) fn forward<M: Machine>(
    machine: &mut M,
    reply: Reply,
    scalars: &mut [f32],
) -> Result<Option<M::Output>, UnexpectedReply> {
    let Pending::Request(ticket, _) = machine.pending() else {
        return Err(UnexpectedReply::Ended);
    };
    machine.step(ticket, reply, scalars)?;
    Ok(match machine.pending() {
        Pending::Done(output) => Some(output),
        _ => None,
    })
}

/// Moves the `count` scalars that follow the first `skipped` to the front.
///
/// Unlike `copy_within` it cannot panic: scalars beyond the end of the workspace are skipped.
pub(crate) fn move_to_front(scalars: &mut [f32], skipped: usize, count: usize) {
    for place in 0..count {
        let value = scalars.get(skipped + place).copied();
        if let (Some(value), Some(scalar)) = (value, scalars.get_mut(place)) {
            *scalar = value;
        }
    }
}
