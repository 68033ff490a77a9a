//! The linear solvers, and the choice among them.

mod cg;
mod identity;
mod layerwise;
mod linear_solver;
mod low_rank;
mod mfac;
mod neumann;
mod nystrom;
mod recycled_cg;
mod soba;

pub use cg::{CgSettings, ConjugateGradient};
pub use identity::Identity;
pub use layerwise::{Layerwise, LayerwiseSettings};
pub use linear_solver::{LinearSolver, Logged, Plain, Stored};
pub use mfac::{Mfac, MfacSettings};
pub use neumann::{Neumann, NeumannSettings};
pub use nystrom::{Nystrom, NystromSettings};
pub use recycled_cg::{RecycledCg, RecycledCgSettings};
pub use soba::{Soba, SobaSettings};

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::{Machine, Pending, Reply, Report, Request, Ticket, UnexpectedReply};

/// Which solver, with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SolverSettings {
    /// `cg`.
    ConjugateGradient(CgSettings),
    /// `identity`.
    Identity,
    /// `recycled-cg`.
    RecycledCg(RecycledCgSettings),
    /// `mfac`.
    Mfac(MfacSettings),
    /// `nystrom`.
    Nystrom(NystromSettings),
    /// `layerwise`.
    Layerwise(LayerwiseSettings),
    /// `neumann`.
    Neumann(NeumannSettings),
    /// `soba`.
    Soba(SobaSettings),
}

impl SolverSettings {
    /// Whether it asks for products, and so needs a linearisation.
    pub fn uses_products(&self) -> bool {
        !matches!(self, Self::Identity | Self::Mfac(_))
    }

    /// Vectors of [`Bank::Basis`](crate::Bank::Basis) that it uses at most.
    pub fn basis(&self) -> u8 {
        match self {
            Self::ConjugateGradient(_) | Self::Identity | Self::Neumann(_) => 0,
            Self::Layerwise(_) | Self::Soba(_) => 1,
            Self::RecycledCg(settings) => settings.capacity(),
            Self::Mfac(settings) => settings.gradients(),
            Self::Nystrom(settings) => settings.rank(),
        }
    }

    /// Vectors of [`Bank::BasisProduct`](crate::Bank::BasisProduct) that it uses at most.
    pub fn basis_products(&self) -> u8 {
        match self {
            Self::ConjugateGradient(_) | Self::Identity | Self::Neumann(_) => 0,
            Self::Layerwise(_) | Self::Soba(_) => 0,
            Self::RecycledCg(settings) => settings.capacity(),
            Self::Mfac(_) => 0,
            Self::Nystrom(settings) => settings.rank(),
        }
    }

    /// Lower gradients that it takes from the lower phase instead of products.
    pub fn gradients(&self) -> u8 {
        match self {
            Self::Mfac(settings) => settings.gradients(),
            _ => 0,
        }
    }

    /// Scalars of its longest reply on vectors of `segments` segments.
    pub fn scalars(&self, segments: usize) -> usize {
        let whole = 4 + usize::from(self.basis());
        match self {
            Self::Layerwise(_) => whole.max(3 * segments),
            _ => whole,
        }
    }
}

/// What a solver knows of the vectors that it left in the banks, from one solve to the next.
///
/// Begins as [`Default`]; belongs to the banks' contents and is worthless without them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SolverMemory {
    /// Vectors in use.
    pub(crate) count: u8,
    /// Where the next one goes.
    pub(crate) next: u8,
    /// Whether the last verified prediction was good enough.
    pub(crate) trusted: bool,
    /// Solves in a row that ended without a verified residual.
    pub(crate) unverified: u8,
    /// Step length of the last residual's direction.
    pub(crate) stride: f32,
    /// What a step of the stride before it would have left of ‖r‖²: infinite where that was of no use,
    /// `None` before the first.
    pub(crate) contraction_sq: Option<f32>,
    /// Whether the bank has been made ready for solves.
    pub(crate) prepared: bool,
}

impl Default for SolverMemory {
    fn default() -> Self {
        Self::filled(0)
    }
}

impl SolverMemory {
    /// A bank whose first `count` vectors somebody else has filled, for [`Mfac`].
    ///
    /// Where a [`Hypergradient`](crate::Hypergradient) runs without an
    /// [`Alternation`](crate::Alternation): the lower gradients lie in `Basis`.
    pub const fn filled(count: u8) -> Self {
        Self {
            count,
            next: 0,
            trusted: false,
            unverified: 0,
            stride: 1.0,
            contraction_sq: None,
            prepared: false,
        }
    }

    /// Takes the length `alpha` of an exact step, and what a step of any length leaves of ‖r‖².
    pub(crate) fn measure(&mut self, alpha: f32, remaining: impl Fn(f32) -> f32) {
        let contraction_sq = remaining(self.stride);
        let usable = contraction_sq.is_finite() && contraction_sq >= 0.0 && alpha > 0.0;
        self.contraction_sq = Some(if usable { contraction_sq } else { f32::INFINITY });
        self.stride = if alpha > 0.0 { alpha } else { 1.0 };
    }

    /// A bank that is ready for solves; `None`: its preparation failed, nothing in it is of use.
    pub(crate) const fn prepared(count: Option<u8>) -> Self {
        match count {
            Some(count) => Self { prepared: true, ..Self::filled(count) },
            None => Self::filled(0),
        }
    }

    /// What is left of it when A becomes another matrix: all of it for [`Soba`], whose x goes on; for
    /// [`RecycledCg`] how many solves in a row were unverified, but nothing that they relied on.
    #[must_use]
    pub fn relinearized(self, settings: &SolverSettings) -> Self {
        match settings {
            SolverSettings::Soba(settings) => Soba::relinearized(settings, self),
            SolverSettings::RecycledCg(settings) => RecycledCg::relinearized(settings, self),
            _ => Self::default(),
        }
    }

    /// Vectors in use.
    pub fn count(&self) -> u8 {
        self.count
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
    /// `recycled-cg`.
    RecycledCg(RecycledCg),
    /// `mfac`.
    Mfac(Mfac),
    /// `nystrom`.
    Nystrom(Nystrom),
    /// `layerwise`.
    Layerwise(Layerwise),
    /// `neumann`.
    Neumann(Neumann),
    /// `soba`.
    Soba(Soba),
}

/// The same for each solver.
macro_rules! each {
    ($solver:expr, $machine:ident => $body:expr) => {
        match $solver {
            Solver::ConjugateGradient($machine) => $body,
            Solver::Identity($machine) => $body,
            Solver::RecycledCg($machine) => $body,
            Solver::Mfac($machine) => $body,
            Solver::Nystrom($machine) => $body,
            Solver::Layerwise($machine) => $body,
            Solver::Neumann($machine) => $body,
            Solver::Soba($machine) => $body,
        }
    };
}

impl Solver {
    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    pub fn new(settings: SolverSettings, memory: SolverMemory) -> Self {
        match settings {
            SolverSettings::ConjugateGradient(settings) => {
                Self::ConjugateGradient(ConjugateGradient::new(settings))
            }
            SolverSettings::Identity => Self::Identity(Identity::new()),
            SolverSettings::RecycledCg(settings) => {
                Self::RecycledCg(RecycledCg::new(settings, memory))
            }
            SolverSettings::Mfac(settings) => Self::Mfac(Mfac::new(settings, memory)),
            SolverSettings::Nystrom(settings) => Self::Nystrom(Nystrom::new(settings, memory)),
            SolverSettings::Layerwise(settings) => Self::Layerwise(Layerwise::new(settings)),
            SolverSettings::Neumann(settings) => Self::Neumann(Neumann::new(settings)),
            SolverSettings::Soba(settings) => Self::Soba(Soba::new(settings, memory)),
        }
    }

    /// What the next solve goes on with.
    pub fn memory(&self) -> SolverMemory {
        match self {
            Self::ConjugateGradient(_) | Self::Identity(_) => SolverMemory::default(),
            Self::Layerwise(_) | Self::Neumann(_) => SolverMemory::default(),
            Self::Soba(machine) => machine.memory(),
            Self::RecycledCg(machine) => machine.memory(),
            Self::Mfac(machine) => machine.memory(),
            Self::Nystrom(machine) => machine.memory(),
        }
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        each!(self, machine => machine.request())
    }
}

impl Machine for Solver {
    type Output = Report;

    fn pending(&self) -> Pending<Report> {
        each!(self, machine => machine.pending())
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        each!(self, machine => machine.step(ticket, reply, scalars))
    }
}
