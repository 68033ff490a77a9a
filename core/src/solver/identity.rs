//! x = b: the control that shows what second order buys.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::protocol::{accept, front};
use crate::{
    LinearSolver, Machine, Pairs, Pending, Register, Reply, Report, Request, SolverFacts,
    Termination, Ticket, UnexpectedReply,
};

/// Takes the right-hand side for the solution, at no product.
///
/// Its report is [`Termination::Unverified`], without a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    ticket: Ticket,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Solution,
    RightHandSide,
    Done { rhs_sq: f32 },
}

impl Identity {
    /// A solve that has not begun.
    pub fn new() -> Self {
        Self { ticket: Ticket::default(), state: State::Solution }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl LinearSolver for Identity {
    type Settings = ();
    type Memory = ();

    fn begin((): (), (): ()) -> Self {
        Self::new()
    }

    fn request(&self) -> Request {
        let residual = Register::Residual;
        match self.state {
            State::Solution => Request::Copy { src: residual, dst: Register::Solution },
            State::RightHandSide | State::Done { .. } => {
                Request::Dots { pairs: Pairs::new([(residual, residual)]) }
            }
        }
    }

    fn facts((): &()) -> SolverFacts {
        SolverFacts { uses_products: false, ..SolverFacts::PLAIN }
    }
}

impl Machine for Identity {
    type Output = Report;

    fn pending(&self) -> Pending<Report> {
        match self.state {
            State::Solution | State::RightHandSide => Pending::Request(self.ticket, self.request()),
            State::Done { rhs_sq } => Pending::Done(Report {
                termination: if !rhs_sq.is_finite() {
                    Termination::NonFinite
                } else if rhs_sq == 0.0 {
                    Termination::Converged
                } else {
                    Termination::Unverified
                },
                products: 0,
                rhs_sq,
                solution_sq: rhs_sq,
                residual_sq: (rhs_sq == 0.0).then_some(0.0),
                alignment: rhs_sq,
                rayleigh_max: None,
                rayleigh_min: None,
            }),
        }
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        accept(self.pending(), ticket, reply, scalars)?;
        self.state = match self.state {
            State::Solution => State::RightHandSide,
            State::RightHandSide => {
                let [rhs_sq] = front(scalars)?;
                State::Done { rhs_sq }
            }
            State::Done { .. } => return Err(UnexpectedReply::Ended),
        };
        self.ticket = self.ticket.next();
        Ok(())
    }
}
