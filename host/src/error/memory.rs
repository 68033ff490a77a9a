//! Why a solver's vectors do not fit.

use std::fmt;

use thiserror::Error;

use crate::config::SolverName;
use crate::machine::mebibytes;

/// What a solver keeps, beside what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SolverNeed {
    /// Which.
    pub solver: SolverName,
    /// Vectors of the backbone's length.
    pub vectors: u64,
    /// n.
    pub parameters: u64,
    /// All of them together.
    pub bytes: u64,
    /// `None`: not known here, or not the memory that the vectors lie in.
    pub available: Option<u64>,
}

impl fmt::Display for SolverNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { solver, vectors, parameters, bytes, available } = self;
        let needed = mebibytes(*bytes);
        write!(f, "{solver} keeps {vectors} vectors of {parameters} numbers: {needed}")?;
        match available {
            Some(available) => write!(f, "; {} are available", mebibytes(*available)),
            None => write!(f, "; how much is available is not known here"),
        }
    }
}

/// The solver's vectors do not fit.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "align.solver: {0}, expected at least as much: lower {key} or choose another solver",
    key = knob(.0.solver)
)]
pub struct NotEnoughMemory(pub SolverNeed);

/// The setting that decides how many vectors a solver keeps.
fn knob(solver: SolverName) -> &'static str {
    match solver {
        SolverName::Mfac => "align.mfac_gradients",
        SolverName::RecycledCg => "align.recycle_capacity",
        SolverName::Nystrom => "align.nystrom_rank",
        _ => "network.width",
    }
}
