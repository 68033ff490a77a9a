//! What the core's own machines have in common: a ticket, a state, and when a reply is taken.

use crate::{Machine, Pending, Reply, Ticket, UnexpectedReply};

/// [`Machine::step`] for a type with the fields `ticket` and `state`.
///
/// Its method `after(&mut self, reply, scalars)` is given replies that answer what is pending, and
/// returns the next state; it changes nothing where it returns an error.
macro_rules! step {
    () => {
        fn step(
            &mut self,
            ticket: crate::Ticket,
            reply: crate::Reply,
            scalars: &mut [f32],
        ) -> Result<(), crate::UnexpectedReply> {
            crate::machine::accept(crate::Machine::pending(self), ticket, reply, scalars)?;
            self.state = self.after(reply, scalars)?;
            self.ticket = self.ticket.next();
            Ok(())
        }
    };
}
pub(crate) use step;

/// [`Machine`] for a type without events: beside `ticket`, `state` and `after` for [`step`] it has
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

/// Refuses whatever does not answer what is pending: a reply after the end, to another request, of
/// another kind or count, or with more scalars than the workspace holds.
///
/// How many scalars answer `SegmentDots` only the driver knows: the machine asks
/// [`expect_segments`].
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

/// Refuses another reply, and scalars that do not lie in the workspace.
fn expect(expected: Reply, found: Reply, scalars: &[f32]) -> Result<(), UnexpectedReply> {
    match expected {
        _ if found != expected => Err(UnexpectedReply::WrongReply { expected, found }),
        Reply::Scalars(needed) if scalars.len() < needed as usize => {
            Err(UnexpectedReply::ShortWorkspace { needed, found: scalars.len() as u32 })
        }
        Reply::Scalars(_) | Reply::Ack => Ok(()),
    }
}

/// The number of segments S of a reply to [`Request::SegmentDots`] with so many pairs.
///
/// Where it is not `known` yet, which is 0, any positive multiple of the pairs is an answer, and a
/// refusal names the nearest that is no larger.
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
/// None that [`accept`] has not found: the device has no room for a panic that cannot happen.
pub(crate) fn front<const N: usize>(scalars: &[f32]) -> Result<[f32; N], UnexpectedReply> {
    let short = UnexpectedReply::ShortWorkspace { needed: N as u32, found: scalars.len() as u32 };
    scalars.first_chunk::<N>().copied().ok_or(short)
}

/// Hands a reply on to an inner machine; its output once it has ended.
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
/// Not `copy_within`, which can panic: of what the workspace does not hold nothing is moved.
pub(crate) fn move_to_front(scalars: &mut [f32], skipped: usize, count: usize) {
    for place in 0..count {
        let value = scalars.get(skipped + place).copied();
        if let (Some(value), Some(scalar)) = (value, scalars.get_mut(place)) {
            *scalar = value;
        }
    }
}
