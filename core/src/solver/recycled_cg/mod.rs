//! Conjugate gradients that go on with the directions of earlier solves with the same matrix.

mod free_step;
mod iteration;
mod prediction;

use crate::error::at_least_one;
use crate::machine::machine;
use crate::report::Rayleigh;
use crate::{
    CgSettings, ConfigError, LinearSolver, Reply, Report, Request, SolverFacts, SolverMemory,
    Termination, Ticket, UnexpectedReply,
};
use free_step::FreeStep;
use iteration::Iteration;
use prediction::Prediction;

/// When recycled conjugate gradients stop, and what they keep.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecycledCgSettings {
    stop: CgSettings,
    capacity: u8,
    verify_every: u8,
    extrapolates: bool,
}

impl RecycledCgSettings {
    /// At most `capacity` ≥ 1 directions are kept, two vectors each; a full bank drops the oldest.
    ///
    /// `verify_every` ≥ 1: where the last verified prediction was well within the tolerances, the
    /// next solves take theirs without a product. Of `verify_every` solves in a row at least one is
    /// verified; the first with a new matrix is, where half of them were not; 1 verifies every
    /// solve.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub fn new(stop: CgSettings, capacity: u8, verify_every: u8) -> Result<Self, ConfigError> {
        at_least_one("capacity", capacity.into())?;
        at_least_one("verify_every", verify_every.into())?;
        Ok(Self { stop, capacity, verify_every, extrapolates: false })
    }

    /// The same, ending where one more step *without* its product is expected to meet the
    /// tolerances.
    ///
    /// The step and what it gains are those that products have measured on earlier directions, or,
    /// before the first, what this solve's own product lets expect. Of `verify_every` solves in a
    /// row at least one ends with a residual that a product has verified.
    #[must_use]
    pub fn extrapolating(self) -> Self {
        Self { extrapolates: true, ..self }
    }

    /// Whether it takes free steps.
    pub fn extrapolates(&self) -> bool {
        self.extrapolates
    }

    /// Directions that are kept at most.
    pub fn capacity(&self) -> u8 {
        self.capacity
    }
}

/// Conjugate directions, started from what earlier solves with the same A have left.
///
/// The bank holds A-orthonormal directions P (pᵢᵀApⱼ = δᵢⱼ) and their products AP. A solve starts
/// from the projection `P Pᵀb`, whose residual is known without a product, and its first direction
/// is the rest of the identity's answer, `p₀ = b − P (AP)ᵀb`: a unit step along it gives
/// `x₀ = b + P (Pᵀb − (AP)ᵀb)`, the *prediction* (`docs/method.md`). Every further direction is the
/// residual made A-orthogonal to all that is kept (Erhel, Guyomarc'h 2000; Saad et al. 2000), the
/// steps are exact line searches, so the A-norm of the error falls with every product. With an
/// empty bank and room for all directions it is conjugate gradients with full orthogonalisation.
///
/// `Residual` holds b on entry and is consumed; `Solution` holds x at the end. One product and two
/// replies with scalars an iteration, at most four before the first, and a third where a free step
/// may be taken; a prediction alone takes four.
///
/// ```text
/// prediction.rs
///   Coordinates ─ Projection ─┬─ b = 0 ─────────────────────────────────────────→ Done
///                             └─ RightHandSide ─ ProjectedResidual ─ Products ─ FirstDirection
///   FirstDirection ─┬─ nothing kept ─────────────┬─ trusted ─ Step ─ Norms ─────→ Done
///                   └─ Leakage ─┬─ Correction ───┴─ not trusted ────────────────→ Product
///                               └─ p₀ spent ─ ProjectedNorms ─┬─ trusted, r = 0 → Done
///                                                             └─────────────────→ NextResidual
/// iteration.rs
///   Product ─ Curvature ─┬─ pᵀAp ≤ 0 along a residual ──────────────────────────→ Done
///                        └─ Solution ─ Residual ─┬──────────────────────┬─ Norms
///                                                └─ Keep ─ KeepProduct ─┘
///   Norms ─┬─ within the tolerances, no product left, pᵀAp ≤ 0 ─────────────────→ Done
///          └─ NextResidual ─ NextDirection ─┬───────────────────────────────────→ Product
///                                           └─ a free step may do ──────────────→ FreeStep
/// free_step.rs
///   Norms ─┬─ it would not do ──────────────────────────────────────────────────→ Product
///          └─ Step ─────────────────────────────────────────────────────────────→ Done
///
/// A scalar that is not finite leads to Done from everywhere.
/// ```
///
/// Departures from the literature: (1) the first direction is the rest of b and not the projected
/// residual: A is a perturbed identity, so the unit step is nearly exact; (2) a direction with
/// pᵀAp ≤ 0 ends the solve before its step, and before the first step the solve returns the
/// prediction; it is never kept; (3) a solve whose prediction is trusted takes it without a product
/// and says so; (4) where the span already holds b, so that p₀ is little but rounding, the
/// projection is the prediction and the first direction the residual, as in the literature; (5) p₀
/// is orthogonalised twice: b hardly changes from solve to solve, most of it cancels, and the
/// errors of the kept directions would be magnified from each solve to the next; (6) after the last
/// product a solve may take the *free step*: the next direction p is known without a product, and
/// along it A is nearly the identity, so `x + σ p` with the step length σ of the direction before
/// leaves the residual `‖r − σ A p‖ = c ‖r‖`. σ and the contraction c are measured by every product
/// with a residual's direction; until the first one, σ is 1 and c is taken for `PRIOR` times what
/// this solve's first product has shown, `‖r₀ − A p₀‖/‖p₀‖`. Where `CAUTION · c ‖r‖` meets the
/// tolerances, x is extrapolated and reported as unverified. For ‖H‖/(λ+δ) = 0.3 a free step gains
/// as much as a product does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecycledCg {
    settings: RecycledCgSettings,
    memory: SolverMemory,
    ticket: Ticket,
    state: State,
    rhs_sq: f32,
    /// bᵀx of x so far.
    alignment: f32,
    rayleigh: Rayleigh,
    /// Whether it began with nothing kept.
    fresh: bool,
    /// Whether a direction was dropped since it began: further ones are not conjugate to x.
    dropped: bool,
    products: u16,
}

/// What is awaited, by the part of the solve.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Prediction(Prediction),
    Iteration(Iteration),
    FreeStep(FreeStep),
    Done(Report),
}

/// x with its residual.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Iterate {
    residual_sq: f32,
    solution_sq: f32,
    /// (‖r₀ − A p₀‖/‖p₀‖)² of the first direction, where the solve took one along p₀.
    first_sq: Option<f32>,
}

/// What is expected of a free step, and of the next prediction, is this much worse than what was
/// measured on another direction or right-hand side (`docs/decisions/0008-recycling.md`). A
/// projection that holds all of b is exempt: its residual was not measured on another one.
const CAUTION: f32 = 1.5;

/// ‖p₀‖² below this share of ‖b‖²: what is left of b is mostly rounding, and no direction.
const SPENT: f32 = 1e-6;

impl RecycledCg {
    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    pub fn new(settings: RecycledCgSettings, memory: SolverMemory) -> Self {
        Self {
            settings,
            memory,
            ticket: Ticket::default(),
            state: State::Prediction(Prediction::Coordinates),
            rhs_sq: 0.0,
            alignment: 0.0,
            rayleigh: Rayleigh::default(),
            fresh: memory.count == 0,
            dropped: false,
            products: 0,
        }
    }

    /// What the next solve goes on with once this one has ended; nothing after
    /// [`Termination::NonFinite`], since what was not finite may have entered the bank.
    pub fn memory(&self) -> SolverMemory {
        match self.state {
            State::Done(Report { termination: Termination::NonFinite, .. }) => {
                SolverMemory::default()
            }
            State::Done(Report { termination: Termination::Unverified, .. }) => self.memory,
            _ => SolverMemory { unverified: 0, ..self.memory },
        }
    }

    fn output(&self) -> Option<Report> {
        match self.state {
            State::Done(report) => Some(report),
            _ => None,
        }
    }

    fn advance(&mut self, _: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Prediction(state) => self.on_prediction(state, scalars)?,
            State::Iteration(state) => self.on_iteration(state, scalars)?,
            State::FreeStep(state) => self.on_free_step(state, scalars)?,
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn count(&self) -> usize {
        usize::from(self.memory.count)
    }

    /// Whether this solve has to end with a residual that a product has verified.
    ///
    /// A solve that begins with nothing kept is due at half the count: the matrix is new to it, so
    /// that it is the one whose verification tells most.
    fn is_due(&self) -> bool {
        let limit = self.settings.verify_every - 1;
        self.memory.unverified >= if self.fresh { limit.div_ceil(2) } else { limit }
    }

    /// The end, at an x with this ‖x‖²; ‖r‖² where it is known.
    fn done(&self, termination: Termination, solution_sq: f32, residual_sq: Option<f32>) -> State {
        State::Done(Report {
            termination,
            products: self.products,
            rhs_sq: self.rhs_sq,
            solution_sq,
            residual_sq,
            alignment: self.alignment,
            rayleigh_max: self.rayleigh.max(),
            rayleigh_min: self.rayleigh.min(),
        })
    }

    /// The end after a step without a product, to an x with this ‖x‖² and bᵀx.
    fn unverified(&mut self, solution_sq: f32, alignment: f32) -> State {
        self.alignment = alignment;
        let finite = solution_sq.is_finite() && alignment.is_finite();
        let termination = if finite { Termination::Unverified } else { Termination::NonFinite };
        self.done(termination, solution_sq, None)
    }
}

impl LinearSolver for RecycledCg {
    type Settings = RecycledCgSettings;
    type Memory = SolverMemory;

    fn begin(settings: RecycledCgSettings, memory: SolverMemory) -> Self {
        Self::new(settings, memory)
    }

    fn request(&self) -> Request {
        match self.state {
            State::Prediction(state) => state.request(&self.memory),
            State::Iteration(state) => state.request(&self.memory),
            State::FreeStep(state) => state.request(&self.memory),
            State::Done(_) => iteration::norms(&self.memory),
        }
    }

    fn facts(settings: &RecycledCgSettings) -> SolverFacts {
        SolverFacts {
            basis: settings.capacity,
            basis_products: settings.capacity,
            stops_by_tolerance: true,
            solves_general: true,
            ..SolverFacts::PLAIN
        }
    }

    fn memory(&self) -> SolverMemory {
        self.memory()
    }

    /// How many solves in a row were unverified, but nothing that they relied on.
    fn relinearized(_: &RecycledCgSettings, memory: SolverMemory) -> SolverMemory {
        SolverMemory { unverified: memory.unverified, ..SolverMemory::default() }
    }
}

machine!(RecycledCg => Report);
