//! The laws of the protocol on machines that break them.

use std::cell::Cell;
use std::rc::Rc;

use bissl_core::conformance::{Law, Outcome, Verdict, check_machine};
use bissl_core::{
    CgSettings, Coupling, Hypergradient, HypergradientRecord, HypergradientSettings,
    LowerObjective, Machine, Pending, Reply, Request, SolverSettings, Ticket, Training,
    UnexpectedReply,
};

use crate::arrays::{Arrays, Missing};
use crate::losses::Logistic;

fn right() -> Hypergradient {
    let stop = CgSettings::new(0.0, 3).unwrap();
    let solver = SolverSettings::ConjugateGradient(stop);
    let coupling = Coupling::Proximity { weight: 0.5 };
    Hypergradient::new(HypergradientSettings::new(coupling, 0.0, 1.0, solver).unwrap(), 0)
}

fn judged<M>(machine: M, law: Law) -> Verdict
where
    M: Machine<Output: PartialEq> + Clone + PartialEq,
{
    let mut problem = Arrays::<Logistic, f32>::whole();
    problem.linearize(0).unwrap();
    match check_machine(machine, &mut Training(&mut problem), law, &mut [f32::NAN; 4]).unwrap() {
        Outcome::Judged(verdict) => {
            println!("{verdict}");
            verdict
        }
        other => panic!("{other:?}"),
    }
}

/// Accepts replies with one of these faults.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ear {
    /// Accepts any ticket.
    AnyTicket,
    /// A refused reply moves it on.
    Moves,
    /// A refused reply changes the workspace.
    Scribbles,
}

#[derive(Clone, PartialEq)]
struct Deaf {
    inner: Hypergradient,
    ear: Ear,
    refusals: u32,
}

impl Machine for Deaf {
    type Output = HypergradientRecord;

    fn pending(&self) -> Pending<HypergradientRecord> {
        self.inner.pending()
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        let own = match self.inner.pending() {
            Pending::Request(ticket, _) if self.ear == Ear::AnyTicket => ticket,
            _ => ticket,
        };
        let result = self.inner.step(own, reply, scalars);
        if result.is_err() {
            match self.ear {
                Ear::Moves => self.refusals += 1,
                Ear::Scribbles => scalars[0] = 1.0,
                Ear::AnyTicket => {}
            }
        }
        result
    }
}

#[test]
fn a_right_machine_keeps_the_protocol() {
    for law in [Law::RefusedReply, Law::SameReplies] {
        assert!(judged(right(), law).holds());
    }
}

#[test]
fn a_machine_that_takes_or_notices_wrong_replies_is_found() {
    for ear in [Ear::AnyTicket, Ear::Moves, Ear::Scribbles] {
        let verdict = judged(Deaf { inner: right(), ear, refusals: 0 }, Law::RefusedReply);
        assert!(!verdict.holds(), "{ear:?}");
    }
}

/// Asks for another batch every time it is queried: it has state outside of the machine.
#[derive(Clone)]
struct Haunted {
    inner: Hypergradient,
    shared: Rc<Cell<u32>>,
}

impl PartialEq for Haunted {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Machine for Haunted {
    type Output = HypergradientRecord;

    fn pending(&self) -> Pending<HypergradientRecord> {
        self.shared.set(self.shared.get() + 1);
        match self.inner.pending() {
            Pending::Request(ticket, Request::Gradient { evaluation, backbone, head, .. }) => {
                let index = self.shared.get();
                let request = Request::Gradient { evaluation, index, backbone, head };
                Pending::Request(ticket, request)
            }
            other => other,
        }
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        self.inner.step(ticket, reply, scalars)
    }
}

/// Writes a coefficient that depends on the number of copies made so far.
#[derive(Clone)]
struct Forgetful(Haunted);

impl PartialEq for Forgetful {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Machine for Forgetful {
    type Output = HypergradientRecord;

    fn pending(&self) -> Pending<HypergradientRecord> {
        self.0.inner.pending()
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        self.0.inner.step(ticket, reply, scalars)?;
        self.0.shared.set(self.0.shared.get() + 1);
        scalars[3] = self.0.shared.get() as f32;
        Ok(())
    }
}

#[test]
fn a_machine_that_is_not_plain_data_is_found() {
    let haunted = Haunted { inner: right(), shared: Rc::default() };
    assert!(!judged(haunted.clone(), Law::SameReplies).holds());
    assert!(!judged(Forgetful(haunted), Law::SameReplies).holds());
}

#[test]
fn laws_of_backends_are_not_asked_of_machines() {
    let mut problem = Arrays::<Logistic, f32>::whole();
    let outcome =
        check_machine(right(), &mut Training(&mut problem), Law::Symmetry, &mut [f32::NAN; 4]);
    assert_eq!(outcome.unwrap(), Outcome::<Missing>::NotAsked { law: Law::Symmetry });
}

#[test]
fn a_machine_that_has_ended_shows_nothing() {
    let mut machine = right();
    let mut problem = Arrays::<Logistic, f32>::whole();
    problem.linearize(0).unwrap();
    bissl_core::drive(&mut machine, &mut Training(&mut problem), &mut [0.0; 4]).unwrap();
    let verdict = judged(machine, Law::RefusedReply);
    assert!(verdict.measured.is_nan() && !verdict.holds());
}
