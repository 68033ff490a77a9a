//! What others have to know of a solver, so that nobody asks for its name.

use crate::Register;

/// What the machines above a solver, and whoever stores, checks or plans a stage, ask of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SolverFacts {
    /// Whether it asks for products, and so needs a linearisation.
    pub uses_products: bool,
    /// Lower gradients that it takes from the lower phase instead of products.
    pub gradients: u8,
    /// Vectors of [`Bank::Basis`](crate::Bank::Basis) that it uses at most.
    pub basis: u8,
    /// Vectors of [`Bank::BasisProduct`](crate::Bank::BasisProduct) that it uses at most.
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
    /// Registers that outlive an alternation: they belong into every checkpoint.
    pub lasting_registers: &'static [Register],
}

impl SolverFacts {
    /// Products, and nothing that is kept: what a solver starts its own facts from.
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

    /// Vectors of the backbone's length that it keeps at most, beside the four work vectors.
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
