//! Laws of a machine and a driver in conversation.

use super::probe::{Figure, Probe, Stop, apart, ratio, worst};
use super::{Law, Outcome, Verdict};
use crate::{
    CgSettings, Coupling, DriveError, Driver, Hypergradient, HypergradientRecord,
    HypergradientSettings, LowerObjective, Machine, Pending, Register, Reply, Ticket, Training,
    UpperObjective,
};

/// Scalars of the workspace that are watched, and the most a reply may have here.
const WATCHED: usize = 32;
/// A conversation that is longer is looked at no further.
const EXCHANGES_MAX: u32 = 10_000;

/// Checks [`Law::RefusedReply`] or [`Law::SameReplies`] on a machine of the caller's choice, from
/// its state to its end; other laws are `NotAsked`.
///
/// The figure is the number of exchanges that break the law. Replies may have 32 scalars. It asks
/// the driver for what the machine asks for.
///
/// # Errors
/// The driver's; a right reply that the machine refuses; a workspace below the longest reply, or a
/// reply of more than 32 scalars.
pub fn check_machine<M, D, E>(
    machine: M,
    driver: &mut D,
    law: Law,
    scalars: &mut [f32],
) -> Result<Outcome<E>, DriveError<E>>
where
    M: Machine<Output: PartialEq> + Clone + PartialEq,
    D: Driver<Error = DriveError<E>>,
{
    let count = match law {
        Law::RefusedReply => converse(machine, driver, scalars, Refusals::default())?,
        Law::SameReplies => converse(machine, driver, scalars, Twin)?,
        law => return Ok(Outcome::NotAsked { law }),
    };
    Ok(Outcome::Judged(Verdict { law, measured: count, limit: 0.0 }))
}

/// An observer of each exchange. `watched` is a copy of the workspace's front before the
/// reply is taken.
trait Onlooker<M: Machine> {
    /// Takes the right reply, and says whether the law holds here.
    fn look(
        &mut self,
        machine: &mut M,
        exchange: (Ticket, Reply),
        scalars: &mut [f32],
        watched: &mut [f32; WATCHED],
    ) -> Result<bool, crate::UnexpectedReply>;
}

/// Runs the machine to its end; how many exchanges break the law, NaN where there was none or no
/// end.
fn converse<M, D, E>(
    mut machine: M,
    driver: &mut D,
    scalars: &mut [f32],
    mut onlooker: impl Onlooker<M>,
) -> Result<f32, DriveError<E>>
where
    M: Machine,
    D: Driver<Error = DriveError<E>>,
{
    let mut broken = 0u32;
    for exchange in 0..EXCHANGES_MAX {
        let (ticket, reply) = match machine.pending() {
            Pending::Request(ticket, request) => (ticket, driver.perform(&request, scalars)?),
            Pending::Event(ticket, _) => (ticket, Reply::Ack),
            Pending::Done(_) if exchange == 0 => return Ok(f32::NAN),
            Pending::Done(_) => return Ok(broken as f32),
        };
        if let Reply::Scalars(count) = reply
            && count as usize > WATCHED
        {
            return Err(DriveError::ShortWorkspace { needed: count as usize, found: WATCHED });
        }
        let mut watched = [0.0; WATCHED];
        for (kept, scalar) in watched.iter_mut().zip(scalars.iter()) {
            *kept = *scalar;
        }
        let holds = onlooker.look(&mut machine, (ticket, reply), scalars, &mut watched)?;
        broken = broken.saturating_add(u32::from(!holds));
    }
    Ok(f32::NAN)
}

fn same_bits(scalars: &[f32], watched: &[f32]) -> bool {
    scalars.iter().zip(watched).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Offers wrong replies before the right one.
#[derive(Default)]
struct Refusals {
    /// The last exchange, whose reply may come once more.
    last: Option<(Ticket, Reply)>,
}

impl<M: Machine + Clone + PartialEq> Onlooker<M> for Refusals {
    fn look(
        &mut self,
        machine: &mut M,
        (ticket, reply): (Ticket, Reply),
        scalars: &mut [f32],
        watched: &mut [f32; WATCHED],
    ) -> Result<bool, crate::UnexpectedReply> {
        let before = machine.clone();
        let wrong = match reply {
            Reply::Ack => Reply::Scalars(1),
            Reply::Scalars(_) => Reply::Ack,
        };
        // Duplicated; late, as if it were the right kind; reordered; of the wrong kind.
        let late = self.last.map(|(ticket, _)| (ticket, reply));
        let offers = [self.last, late, Some((ticket.next(), reply)), Some((ticket, wrong))];
        let mut holds = true;
        for (ticket, reply) in offers.into_iter().flatten() {
            let refused = machine.step(ticket, reply, scalars).is_err();
            holds &= refused && *machine == before && same_bits(scalars, watched);
        }
        *machine = before;
        for (scalar, kept) in scalars.iter_mut().zip(watched.iter()) {
            *scalar = *kept;
        }
        machine.step(ticket, reply, scalars)?;
        self.last = Some((ticket, reply));
        if let Pending::Done(_) = machine.pending() {
            let end = machine.clone();
            holds &= machine.step(ticket.next(), reply, scalars).is_err() && *machine == end;
            *machine = end;
        }
        Ok(holds)
    }
}

/// Lets a copy of the machine take the same reply.
struct Twin;

impl<M: Machine<Output: PartialEq> + Clone + PartialEq> Onlooker<M> for Twin {
    fn look(
        &mut self,
        machine: &mut M,
        (ticket, reply): (Ticket, Reply),
        scalars: &mut [f32],
        watched: &mut [f32; WATCHED],
    ) -> Result<bool, crate::UnexpectedReply> {
        let mut twin = machine.clone();
        let asked_alike = twin.pending() == machine.pending();
        let workspace = watched.get_mut(..scalars.len().min(WATCHED)).unwrap_or(&mut []);
        let taken = twin.step(ticket, reply, workspace).is_ok();
        machine.step(ticket, reply, scalars)?;
        let alike = twin == *machine && twin.pending() == machine.pending();
        Ok(asked_alike && taken && alike && same_bits(scalars, watched))
    }
}

/// A hypergradient of two products, whose registers every problem has; `None` never, as its
/// settings are valid.
fn hypergradient(index: u32) -> Option<Hypergradient> {
    let stop = CgSettings::new(0.0, 2).ok()?;
    let solver = crate::SolverSettings::ConjugateGradient(stop);
    let coupling = Coupling::Proximity { weight: 1.0 };
    let settings = HypergradientSettings::new(coupling, 0.0, 0.0, solver).ok()?;
    Some(Hypergradient::new(settings, index))
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    pub(super) fn protocol(&mut self, law: Law) -> Figure<f32, P::Error> {
        let Some(machine) = hypergradient(self.index(0)) else { return Ok(f32::NAN) };
        self.linearize(0)?;
        let mut driver = Training(&mut *self.problem);
        match check_machine(machine, &mut driver, law, self.scalars) {
            Ok(Outcome::Judged(verdict)) => Ok(verdict.measured),
            Ok(_) => Ok(f32::NAN),
            Err(error) => Err(Stop::Failed(error)),
        }
    }

    /// One hypergradient from a fresh linearisation; its record, G_θ in `Solution`.
    fn hypergradient(&mut self) -> Figure<Option<HypergradientRecord>, P::Error> {
        self.linearize(0)?;
        let Some(mut machine) = hypergradient(self.index(0)) else { return Ok(None) };
        let mut driver = Training(&mut *self.problem);
        match crate::drive(&mut machine, &mut driver, self.scalars) {
            Ok(crate::Progress::Done(record)) => Ok(Some(record)),
            Ok(crate::Progress::Event(_)) => Ok(None),
            Err(error) => Err(Stop::Failed(error)),
        }
    }

    pub(super) fn hypergradient_repeats(&mut self) -> Figure<f32, P::Error> {
        let first = self.hypergradient()?;
        let first_dot = self.dot(Register::Solution, Register::Solution)?;
        let again = self.hypergradient()?;
        let again_dot = self.dot(Register::Solution, Register::Solution)?;
        let (Some(first), Some(again)) = (first, again) else { return Ok(f32::NAN) };
        // NaN where G_θ is 0.
        let mut measured = worst(ratio(0.0, first_dot), apart(first_dot, again_dot));
        for (a, b) in [
            (first.loss_at_lower, again.loss_at_lower),
            (first.solve.rhs_sq, again.solve.rhs_sq),
            (first.solve.solution_sq, again.solve.solution_sq),
            (first.solve.alignment, again.solve.alignment),
        ] {
            measured = worst(measured, apart(a, b));
        }
        // The rest: the way the solve ended, its products, its quotients.
        Ok(if measured == 0.0 && first != again { f32::INFINITY } else { measured })
    }
}
