//! The choice among the linear solvers.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::{
    CgSettings, ConjugateGradient, Identity, Machine, Pending, Reply, Report, Request, Ticket,
    UnexpectedReply,
};

/// Which solver, with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SolverSettings {
    /// `cg`.
    ConjugateGradient(CgSettings),
    /// `identity`.
    Identity,
}

impl SolverSettings {
    /// Whether it asks for products, and so needs a linearisation.
    pub fn uses_products(&self) -> bool {
        !matches!(self, Self::Identity)
    }
}

/// A solve of `A x = b` by any of the solvers: b in `Residual`, x in `Solution`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Solver {
    /// `cg`.
    ConjugateGradient(ConjugateGradient),
    /// `identity`.
    Identity(Identity),
}

impl Solver {
    /// A solve that has not begun.
    pub fn new(settings: SolverSettings) -> Self {
        match settings {
            SolverSettings::ConjugateGradient(settings) => {
                Self::ConjugateGradient(ConjugateGradient::new(settings))
            }
            SolverSettings::Identity => Self::Identity(Identity::new()),
        }
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::ConjugateGradient(machine) => machine.request(),
            Self::Identity(machine) => machine.request(),
        }
    }
}

impl Machine for Solver {
    type Output = Report;

    fn pending(&self) -> Pending<Report> {
        match self {
            Self::ConjugateGradient(machine) => machine.pending(),
            Self::Identity(machine) => machine.pending(),
        }
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        match self {
            Self::ConjugateGradient(machine) => machine.step(ticket, reply, scalars),
            Self::Identity(machine) => machine.step(ticket, reply, scalars),
        }
    }
}
