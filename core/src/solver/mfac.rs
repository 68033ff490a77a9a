//! Implicit gradients from first-order ones: M-FAC.

use super::low_rank::LowRank;
use crate::error::{at_least_one, positive};
use crate::{
    Bank, ConfigError, Coupling, LinearSolver, Machine, Pending, Reply, Report, Request,
    SolverFacts, SolverMemory, Ticket, UnexpectedReply,
};

/// What M-FAC uses in place of the curvature.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MfacSettings {
    gradients: u8,
    proximity: f32,
}

impl MfacSettings {
    /// `gradients` m ≥ 1, one vector of the backbone's length each; `proximity` λ > 0, that of the
    /// coupling: `mfac` solves at λ itself, whatever the damping δ of the other solvers.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub fn new(gradients: u8, proximity: f32) -> Result<Self, ConfigError> {
        at_least_one("gradients", gradients.into())?;
        Ok(Self { gradients, proximity: positive("proximity", proximity)? })
    }

    /// m, the lower gradients that are kept.
    pub fn gradients(&self) -> u8 {
        self.gradients
    }

    /// λ.
    pub fn proximity(&self) -> f32 {
        self.proximity
    }
}

/// `x = (I + Ĥ/λ)^{-1} b` with `Ĥ = (1/m) Σ gᵢgᵢᵀ`, no product and no linearisation.
///
/// Frantar, Kurtic, Alistarh (2021), as BiSSLight (arXiv 2609.33424) uses it. The gᵢ are gradients
/// of L^P alone, before proximity and clipping, and lie in `Basis` on entry of the first solve: an
/// [`Alternation`](crate::Alternation) puts those of its last m lower steps there; a driver of its
/// own fills the bank and says so with [`SolverMemory::filled`]. The first solve replaces them by
/// the factors of the inverse (m(m − 1)/2 dots), later ones cost 2m vector operations. An empty
/// bank is Ĥ = 0, x = b. Memory: m vectors.
///
/// Ĥ is not the H of the other solvers: the report can say nothing about A x − b and is
/// [`Termination::Unverified`](crate::Termination::Unverified).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mfac {
    solve: LowRank,
}

impl Mfac {
    /// A solve that has not begun; `memory` is that of the solve before, or of the filled bank.
    ///
    /// Vectors beyond the settings' number are not used.
    pub fn new(settings: MfacSettings, memory: SolverMemory) -> Self {
        let count = memory.count.min(settings.gradients);
        let solve = if memory.prepared {
            LowRank::prepared(count)
        } else {
            LowRank::preparing(Bank::Basis, settings.proximity * f32::from(count), count)
        };
        Self { solve }
    }

    /// What the next solve goes on with; complete at the end, and empty where the gradients were
    /// not finite.
    pub fn memory(&self) -> SolverMemory {
        SolverMemory::prepared(self.solve.kept())
    }
}

impl LinearSolver for Mfac {
    type Settings = MfacSettings;
    type Memory = SolverMemory;

    fn begin(settings: MfacSettings, memory: SolverMemory) -> Self {
        Self::new(settings, memory)
    }

    fn request(&self) -> Request {
        self.solve.request()
    }

    fn facts(settings: &MfacSettings) -> SolverFacts {
        SolverFacts {
            uses_products: false,
            gradients: settings.gradients,
            basis: settings.gradients,
            ..SolverFacts::PLAIN
        }
    }

    fn memory(&self) -> SolverMemory {
        self.memory()
    }

    fn check(settings: &MfacSettings, coupling: Coupling) -> Result<(), ConfigError> {
        match coupling {
            Coupling::Proximity { weight } if settings.proximity() != weight => {
                let (name, range) = ("mfac proximity", "the coupling's proximity");
                Err(ConfigError::OutOfRange { name, value: settings.proximity(), range })
            }
            Coupling::Proximity { .. } => Ok(()),
            Coupling::General => Err(ConfigError::NeedsProximity { solver: "mfac" }),
        }
    }
}

impl Machine for Mfac {
    type Output = Report;

    fn pending(&self) -> Pending<Report> {
        self.solve.pending()
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        self.solve.step(ticket, reply, scalars)
    }
}
