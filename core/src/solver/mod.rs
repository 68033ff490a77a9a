//! The linear solvers: each in a file of its own, and in a row of the table below.

mod cg;
mod identity;
mod layerwise;
mod mfac;
mod neumann;
mod nystrom;
mod recycled_cg;
mod soba;

// What several of them share, and what all of them are.
mod facts;
mod linear_solver;
mod low_rank;
mod memory;
mod table;

pub use cg::{CgSettings, ConjugateGradient};
pub use facts::SolverFacts;
pub use identity::Identity;
pub use layerwise::{Layerwise, LayerwiseSettings};
pub use linear_solver::{LinearSolver, Logged, Plain, Stored};
pub use memory::SolverMemory;
pub use mfac::{Mfac, MfacSettings};
pub use neumann::{Neumann, NeumannSettings};
pub use nystrom::{Nystrom, NystromSettings};
pub use recycled_cg::{RecycledCg, RecycledCgSettings};
pub use soba::{Soba, SobaSettings};

use crate::{
    ConfigError, Coupling, Machine, Pending, Reply, Report, Request, Ticket, UnexpectedReply,
};
use linear_solver::sealed::Sealed;
use table::{or_unit, solvers};

solvers! {
    ConjugateGradient(settings: CgSettings) = "cg";
    Identity = "identity";
    RecycledCg(settings: RecycledCgSettings) = "recycled-cg";
    Mfac(settings: MfacSettings) = "mfac";
    Nystrom(settings: NystromSettings) = "nystrom";
    Layerwise(settings: LayerwiseSettings) = "layerwise";
    Neumann(settings: NeumannSettings) = "neumann";
    Soba(settings: SobaSettings) = "soba";
}
