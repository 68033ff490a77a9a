//! What stays from one solve to the next.

use super::{LinearSolver, Solver, SolverSettings};

/// What a solver knows of the vectors that it left in the banks, from one solve to the next.
///
/// Starts as [`Default`]. It describes the contents of the banks and means nothing without them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    /// What a step of the stride before it would have left of ‖r‖²: infinite where that was of no
    /// use, `None` before the first.
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
    /// A bank whose first `count` vectors the caller has filled, for [`Mfac`](crate::Mfac).
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

    /// A bank that is ready for solves; with `None`, one whose preparation failed: nothing in it
    /// can be used.
    pub(crate) const fn prepared(count: Option<u8>) -> Self {
        match count {
            Some(count) => Self { prepared: true, ..Self::filled(count) },
            None => Self::filled(0),
        }
    }

    /// What remains of it when A changes; see [`LinearSolver::relinearized`].
    #[must_use]
    pub fn relinearized(self, settings: &SolverSettings) -> Self {
        Solver::relinearized(settings, self)
    }

    /// Vectors in use.
    pub fn count(&self) -> u8 {
        self.count
    }
}

/// A solver that keeps nothing takes no memory.
impl From<SolverMemory> for () {
    fn from(_: SolverMemory) {}
}

/// A solver that keeps nothing leaves an empty memory.
impl From<()> for SolverMemory {
    fn from((): ()) -> Self {
        Self::default()
    }
}
