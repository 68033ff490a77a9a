//! What others need to know about a solver, so that nobody has to match on its name.

use crate::Register;

/// What the machines above a solver need to know about it, as does whoever stores, checks or plans
/// a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SolverFacts {
    /// Whether it asks for products, and so needs a linearisation.
    pub uses_products: bool,
    /// Number of lower gradients that it uses instead of products.
    pub gradients: u8,
    /// Maximum number of vectors of [`Bank::Basis`](crate::Bank::Basis).
    pub basis: u8,
    /// Maximum number of vectors of [`Bank::BasisProduct`](crate::Bank::BasisProduct).
    pub basis_products: u8,
    /// Scalars for each segment in its longest reply to a request by segments.
    pub segment_scalars: u8,
    /// Whether a solve ends where its tolerances are met.
    pub stops_by_tolerance: bool,
    /// Whether H has to be positive semi-definite, as that of Gauss-Newton is.
    pub needs_semidefinite: bool,
    /// Whether it solves a general coupling's `A = H + δ I` too, which need not be near the
    /// identity.
    pub solves_general: bool,
    /// Registers that outlive an alternation; every checkpoint has to hold them.
    pub lasting_registers: &'static [Register],
}

impl SolverFacts {
    /// A solver that uses products and keeps nothing; the others say how they differ.
    pub(super) const PLAIN: Self = Self {
        uses_products: true,
        gradients: 0,
        basis: 0,
        basis_products: 0,
        segment_scalars: 0,
        stops_by_tolerance: false,
        needs_semidefinite: false,
        solves_general: false,
        lasting_registers: &[],
    };

    /// Maximum number of vectors of the backbone's length that it keeps, besides the four work
    /// vectors.
    pub const fn vectors(&self) -> u16 {
        self.basis as u16 + self.basis_products as u16
    }

    /// Scalars of its longest reply on vectors of `segments` segments.
    pub const fn scalars(&self, segments: usize) -> usize {
        let (whole, parts) = (4 + self.basis as usize, self.segment_scalars as usize * segments);
        if parts > whole { parts } else { whole }
    }

    /// Whether a stage can go on from a checkpoint between two lower steps, and not only between
    /// two alternations: no checkpoint holds a bank that the lower phase is filling.
    pub const fn resumes_between_steps(&self) -> bool {
        self.gradients == 0
    }
}
