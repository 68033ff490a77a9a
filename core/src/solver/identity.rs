//! x = b: the control that shows what second order buys.

use crate::machine::{front, machine};
use crate::{
    LinearSolver, Pairs, Register, Reply, Report, Request, SolverFacts, Termination, Ticket,
    UnexpectedReply,
};

/// Takes the right-hand side for the solution, at no product.
///
/// Its report is [`Termination::Unverified`], without a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    ticket: Ticket,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

    fn output(&self) -> Option<Report> {
        let State::Done { rhs_sq } = self.state else { return None };
        let termination = if !rhs_sq.is_finite() {
            Termination::NonFinite
        } else if rhs_sq == 0.0 {
            Termination::Converged
        } else {
            Termination::Unverified
        };
        Some(Report::without_products(termination, rhs_sq, [rhs_sq, rhs_sq]))
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Solution => State::RightHandSide,
            State::RightHandSide => {
                let [rhs_sq] = front(scalars)?;
                State::Done { rhs_sq }
            }
            State::Done { .. } => return Err(UnexpectedReply::Ended),
        };
        Ok(())
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

machine!(Identity => Report);
