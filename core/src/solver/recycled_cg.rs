//! Conjugate gradients that go on with the directions of earlier solves with the same matrix.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::protocol::{accept, front, move_to_front};
use crate::report::{Rayleigh, correction_sq};
use crate::{
    Bank, CgSettings, ConfigError, LinearSolver, Machine, Pairs, Pending, Register, Reply, Report,
    Request, SolverFacts, SolverMemory, Termination, Ticket, UnexpectedReply,
};
use Bank::{Basis, BasisProduct};
use Register::{Banked, Direction, Product, Residual, Solution};

/// When recycled conjugate gradients stop, and what they keep.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
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
    /// `verify_every` ≥ 1: where the last verified prediction was well within the tolerances, the next
    /// solves take theirs without a product. Of `verify_every` solves in a row at least one is verified;
    /// the first with a new matrix is, where half of them were not; 1 verifies every solve.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub fn new(stop: CgSettings, capacity: u8, verify_every: u8) -> Result<Self, ConfigError> {
        for (name, count) in [("capacity", capacity), ("verify_every", verify_every)] {
            if count == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        Ok(Self { stop, capacity, verify_every, extrapolates: false })
    }

    /// The same, ending where one more step *without* its product is expected to meet the tolerances.
    ///
    /// The step and what it gains are those that products have measured on earlier directions, or, before
    /// the first, what this solve's own product lets expect. Of `verify_every` solves in a row at least
    /// one ends with a residual that a product has verified.
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
/// The bank holds A-orthonormal directions P (pᵢᵀApⱼ = δᵢⱼ) and their products AP. A solve starts from
/// the projection `P Pᵀb`, whose residual is known without a product, and its first direction is the
/// rest of the identity's answer, `p₀ = b − P (AP)ᵀb`: a unit step along it gives
/// `x₀ = b + P (Pᵀb − (AP)ᵀb)`, the *prediction* (`docs/method.md`). Every further direction is the
/// residual made A-orthogonal to all that is kept (Erhel, Guyomarc'h 2000; Saad et al. 2000), the steps
/// are exact line searches, so the A-norm of the error falls with every product. With an empty bank and
/// room for all directions it is conjugate gradients with full orthogonalisation.
///
/// `Residual` holds b on entry and is consumed; `Solution` holds x at the end. One product and two
/// replies with scalars an iteration, at most four before the first, and a third where a free step may
/// be taken; a prediction alone takes four.
///
/// Departures from the literature: (1) the first direction is the rest of b and not the projected
/// residual: A is a perturbed identity, so the unit step is nearly exact; (2) a direction with
/// pᵀAp ≤ 0 ends the solve before its step, and before the first step the solve returns the prediction;
/// it is never kept; (3) a solve whose prediction is trusted takes it without a product and says so;
/// (4) where the span already holds b, so that p₀ is little but rounding, the projection is the
/// prediction and the first direction the residual, as in the literature; (5) p₀ is orthogonalised twice:
/// b hardly changes from solve to solve, most of it cancels, and the errors of the kept directions
/// would be magnified from each solve to the next; (6) after the last product a solve may take the
/// *free step*: the next direction p is known without a product, and along it A is nearly the identity,
/// so `x + σ p` with the step length σ of the direction before leaves the residual
/// `‖r − σ A p‖ = c ‖r‖`. σ and the contraction c are measured by every product with a residual's
/// direction; until the first one, σ is 1 and c is taken for `PRIOR` times what this solve's first product
/// has shown, `‖r₀ − A p₀‖/‖p₀‖`. Where `CAUTION · c ‖r‖` meets the tolerances, x is extrapolated and
/// reported as unverified. For ‖H‖/(λ+δ) = 0.3 a free step gains as much as a product does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RecycledCg {
    settings: RecycledCgSettings,
    memory: SolverMemory,
    ticket: Ticket,
    state: State,
    rhs_sq: f32,
    residual_sq: Option<f32>,
    solution_sq: f32,
    alignment: f32,
    rayleigh: Rayleigh,
    /// (‖r₀ − A p₀‖/‖p₀‖)² of the first direction, once a product has told it.
    first_sq: Option<f32>,
    /// Whether it began with nothing kept.
    fresh: bool,
    /// Whether a direction was dropped since it began: further ones are not conjugate to x.
    dropped: bool,
    products: u16,
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Coordinates,
    Projection,
    ProjectedResidual,
    RightHandSide,
    Products,
    FirstDirection,
    Leakage,
    Correction,
    ProjectedNorms,
    Prediction,
    PredictedNorms,
    Product,
    Curvature,
    Solution(Step),
    Residual(Step),
    Keep(Step),
    KeepProduct(Step),
    Norms(Step),
    NextResidual { free: bool },
    NextDirection { free: bool },
    FreeNorms,
    FreeStep,
    Done(Termination),
}

/// One step along a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Step {
    /// Its length.
    alpha: f32,
    /// ‖p‖².
    direction_sq: f32,
    /// bᵀp.
    alignment: f32,
    /// pᵀAp; below 0 only where the step is the prediction's.
    curvature: f32,
    /// Whether the direction joins the bank.
    kept: bool,
}

/// What is expected of a free step, and of the next prediction, is this much worse than what was measured
/// on another direction or right-hand side (`docs/decisions/0008-recycling.md`). A projection that holds
/// all of b is exempt: its residual was not measured on another one.
const CAUTION: f32 = 1.5;

/// A residual has more of the steep directions than the right-hand side that it is left of: by this much,
/// times `CAUTION`, is H assumed to be larger on it while no product has measured that
/// (`docs/decisions/0008-recycling.md`).
const PRIOR: f32 = 2.5;

/// ‖p₀‖² below this share of ‖b‖²: what is left of b is mostly rounding, and no direction.
const SPENT: f32 = 1e-6;

/// ‖p‖² below this share of ‖r‖²: orthogonalised only once, p is conjugate to a hundred times rounding
/// or worse, too little for what is built upon it.
const CANCELLED: f32 = 1e-4;

impl RecycledCg {
    /// A solve that has not begun; `memory` is that of the solve before, with the same A.
    pub fn new(settings: RecycledCgSettings, memory: SolverMemory) -> Self {
        Self {
            settings,
            memory,
            ticket: Ticket::default(),
            state: State::Coordinates,
            rhs_sq: 0.0,
            residual_sq: None,
            solution_sq: 0.0,
            alignment: 0.0,
            rayleigh: Rayleigh::default(),
            first_sq: None,
            fresh: memory.count == 0,
            dropped: false,
            products: 0,
        }
    }

    /// What the next solve goes on with once this one has ended; nothing after [`Termination::NonFinite`], since what was not
    /// finite may have entered the bank.
    pub fn memory(&self) -> SolverMemory {
        match self.state {
            State::Done(Termination::NonFinite) => SolverMemory::default(),
            State::Done(Termination::Unverified) => self.memory,
            _ => SolverMemory { unverified: 0, ..self.memory },
        }
    }

    fn count(&self) -> usize {
        usize::from(self.memory.count)
    }

    /// Slot of the newest direction.
    fn slot(&self) -> u8 {
        self.memory.next
    }

    fn report(&self, termination: Termination) -> Report {
        Report {
            termination,
            products: self.products,
            rhs_sq: self.rhs_sq,
            solution_sq: self.solution_sq,
            residual_sq: self.residual_sq,
            alignment: self.alignment,
            rayleigh_max: self.rayleigh.max(),
            rayleigh_min: self.rayleigh.min(),
        }
    }

    /// Takes ‖b‖² and Pᵀb; leaves Pᵀb, the coefficients of the projection.
    fn on_coordinates(&mut self, [rhs_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        let count = self.count();
        self.rhs_sq = rhs_sq;
        self.alignment = scalars.iter().skip(1).take(count).map(|y| y * y).sum();
        if !(self.rhs_sq.is_finite() && self.alignment.is_finite()) {
            return State::Done(Termination::NonFinite);
        }
        move_to_front(scalars, 1, count);
        State::Projection
    }

    /// Takes ‖p₀‖² and (AP)ᵀp₀; leaves −(AP)ᵀp₀, the coefficients of the correction.
    fn on_leakage(&mut self, [direction_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        let count = self.count();
        if !direction_sq.is_finite() {
            return State::Done(Termination::NonFinite);
        }
        if direction_sq <= SPENT * self.rhs_sq {
            // A product with it would teach nothing, and the same b again would never get beyond its
            // projection.
            return State::ProjectedNorms;
        }
        move_to_front(scalars, 1, count);
        negate(scalars, count);
        State::Correction
    }

    /// Takes the norms and (AP)ᵀr of the projection; leaves −(AP)ᵀr.
    fn on_projected_norms(
        &mut self,
        [residual_sq, solution_sq]: [f32; 2],
        scalars: &mut [f32],
    ) -> State {
        let count = self.count();
        self.solution_sq = solution_sq;
        if !(residual_sq.is_finite() && solution_sq.is_finite()) {
            return State::Done(Termination::NonFinite);
        }
        let trusts = self.trusts();
        if trusts {
            self.memory.unverified += 1;
        }
        if trusts || residual_sq == 0.0 {
            // Without a residual there is no direction along which a product could tell more.
            return State::Done(Termination::Unverified);
        }
        self.residual_sq = Some(residual_sq);
        let correction_sq = correction_sq(self.rhs_sq, solution_sq, self.alignment);
        self.memory.trusted = self.settings.stop.reached(residual_sq, solution_sq, correction_sq);
        move_to_front(scalars, 2, count);
        negate(scalars, count);
        State::NextResidual { free: false }
    }

    /// Whether this solve has to end with a residual that a product has verified.
    ///
    /// A solve that begins with nothing kept is due at half the count: the matrix is new to it, so that it
    /// is the one whose verification tells most.
    fn is_due(&self) -> bool {
        let limit = self.settings.verify_every - 1;
        self.memory.unverified >= if self.fresh { limit.div_ceil(2) } else { limit }
    }

    /// Whether this solve takes its prediction without a product.
    fn trusts(&self) -> bool {
        self.memory.trusted && !self.is_due()
    }

    /// After the prediction's step.
    fn on_predicted_norms(&mut self, [solution_sq, slope]: [f32; 2]) -> State {
        self.memory.unverified += 1;
        self.unverified(solution_sq, self.alignment + slope)
    }

    /// x has moved without a product: its new ‖x‖² and bᵀx.
    fn unverified(&mut self, solution_sq: f32, alignment: f32) -> State {
        self.solution_sq = solution_sq;
        self.alignment = alignment;
        self.residual_sq = None;
        State::Done(if solution_sq.is_finite() && self.alignment.is_finite() {
            Termination::Unverified
        } else {
            Termination::NonFinite
        })
    }

    /// Takes ‖p‖², pᵀr and xᵀp of the next direction: whether to step along it without a product.
    ///
    /// The correction is that of the x to be: one product along b itself leaves x nearly parallel to b,
    /// and it is the free step that adds the rest.
    fn on_free_norms(&mut self, [direction_sq, slope, overlap]: [f32; 3]) -> State {
        let stride = self.memory.stride;
        let solution_sq = self.solution_sq + stride * (2.0 * overlap + stride * direction_sq);
        // bᵀp = pᵀ(r + A x), and p is conjugate to x.
        let alignment = self.alignment + stride * slope;
        let correction_sq = correction_sq(self.rhs_sq, self.solution_sq, self.alignment)
            + stride * (2.0 * (overlap - slope) + stride * direction_sq);
        if self.meets_tolerance(solution_sq, correction_sq) {
            self.memory.unverified += 1;
            self.solution_sq = solution_sq;
            self.alignment = alignment;
            State::FreeStep
        } else {
            State::Product
        }
    }

    fn on_curvature(
        &mut self,
        [curvature, direction_sq, slope, solution_product]: [f32; 4],
    ) -> State {
        self.products += 1;
        if direction_sq == 0.0 && self.residual_sq.is_some() {
            // r lies in the span of the bank to the last bit: no product changes x any more.
            return State::Done(Termination::IterationLimit);
        }
        // bᵀp = pᵀ(r + A x), whether or not p is conjugate to all that x is made of: directions may
        // have been dropped.
        let alignment = slope + solution_product;
        if !self.rayleigh.see(curvature, direction_sq) || !alignment.is_finite() {
            return State::Done(Termination::NonFinite);
        }
        let alpha = match (curvature <= 0.0, self.residual_sq) {
            (false, _) => slope / curvature,
            // A is indefinite along p, not a rounding accident: an epsilon would only hide it.
            (true, None) => 1.0,
            (true, Some(_)) => return State::Done(Termination::NegativeCurvature),
        };
        let rounding = match self.residual_sq {
            None => SPENT * self.rhs_sq,
            Some(residual_sq) => CANCELLED * residual_sq,
        };
        // The root of a subnormal curvature has too few digits to normalise by.
        let kept = curvature >= f32::MIN_POSITIVE && direction_sq > rounding;
        if alpha.is_finite() {
            State::Solution(Step { alpha, direction_sq, alignment, curvature, kept })
        } else {
            State::Done(Termination::NonFinite)
        }
    }

    /// After the products of the newest direction were kept.
    fn on_kept(&mut self, step: Step) -> State {
        let capacity = self.settings.capacity;
        if self.memory.count < capacity {
            self.memory.count += 1;
        } else {
            self.dropped = true;
        }
        self.memory.next = if self.slot() + 1 < capacity { self.slot() + 1 } else { 0 };
        State::Norms(step)
    }

    /// Takes the norms and (AP)ᵀr; leaves −(AP)ᵀr, the coefficients of the next direction.
    fn on_norms(
        &mut self,
        step: Step,
        [residual_sq, solution_sq, overlap, product_sq]: [f32; 4],
        scalars: &mut [f32],
    ) -> State {
        let (count, settings) = (self.count(), self.settings);
        let before_sq = self.residual_sq.replace(residual_sq);
        self.solution_sq = solution_sq;
        self.alignment += step.alpha * step.alignment;
        let correction_sq = correction_sq(self.rhs_sq, solution_sq, self.alignment);
        if !(residual_sq.is_finite() && solution_sq.is_finite() && self.alignment.is_finite()) {
            return State::Done(Termination::NonFinite);
        }
        // The residual of a step of another length is r + (α − length) A p.
        let after_sq = |length: f32| {
            let excess = step.alpha - length;
            residual_sq + 2.0 * excess * overlap + excess * excess * product_sq
        };
        match before_sq {
            None => {
                self.first_sq = Some(after_sq(1.0) / step.direction_sq);
                self.memory.trusted = step.curvature > 0.0
                    && settings.stop.reached(
                        CAUTION * CAUTION * after_sq(1.0),
                        solution_sq,
                        correction_sq,
                    );
            }
            Some(before_sq) => {
                self.memory.measure(step.alpha, |stride| after_sq(stride) / before_sq)
            }
        }
        if step.curvature <= 0.0 {
            State::Done(Termination::NegativeCurvature)
        } else if settings.stop.reached(residual_sq, solution_sq, correction_sq) {
            State::Done(Termination::Converged)
        } else if self.products >= settings.stop.iterations_max() {
            State::Done(Termination::IterationLimit)
        } else {
            move_to_front(scalars, 4, count);
            negate(scalars, count);
            // Before the next direction is known: it is about as long as r.
            let stride = self.memory.stride;
            let correction_sq = 2.0 * (correction_sq + stride * stride * residual_sq);
            State::NextResidual { free: self.meets_tolerance(solution_sq, correction_sq) }
        }
    }

    /// Whether a free step may be taken and is expected to meet the tolerances at an x of this ‖x‖² and
    /// ‖x − b‖².
    fn meets_tolerance(&self, solution_sq: f32, correction_sq: f32) -> bool {
        if !self.settings.extrapolates || self.dropped || self.is_due() {
            return false;
        }
        let first_sq = self.first_sq.filter(|first_sq| *first_sq >= 0.0);
        let assumed = || first_sq.map(|first_sq| PRIOR * PRIOR * first_sq);
        let contraction_sq = self.memory.contraction_sq.or_else(assumed);
        let (Some(contraction_sq), Some(residual_sq)) = (contraction_sq, self.residual_sq) else {
            return false;
        };
        let expected_sq = CAUTION * CAUTION * contraction_sq * residual_sq;
        self.settings.stop.reached(expected_sq, solution_sq, correction_sq)
    }
}

fn negate(scalars: &mut [f32], count: usize) {
    scalars.iter_mut().take(count).for_each(|scalar| *scalar = -*scalar);
}

impl LinearSolver for RecycledCg {
    type Settings = RecycledCgSettings;
    type Memory = SolverMemory;

    fn begin(settings: RecycledCgSettings, memory: SolverMemory) -> Self {
        Self::new(settings, memory)
    }

    fn request(&self) -> Request {
        let count = self.memory.count;
        match self.state {
            State::Coordinates => {
                let pairs = Pairs::new([(Residual, Residual)]);
                Request::BasisDots { pairs, bank: Basis, count, x: Residual }
            }
            State::Projection => Request::Combine { bank: Basis, count, b: 0.0, y: Solution },
            State::RightHandSide => Request::Copy { src: Residual, dst: Direction },
            State::ProjectedResidual => {
                Request::Combine { bank: BasisProduct, count, b: 1.0, y: Residual }
            }
            State::Products => {
                let pairs = Pairs::NONE;
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Direction }
            }
            State::ProjectedNorms => {
                let pairs = Pairs::new([(Residual, Residual), (Solution, Solution)]);
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Residual }
            }
            State::Leakage => {
                let pairs = Pairs::new([(Direction, Direction)]);
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Direction }
            }
            State::FirstDirection | State::Correction | State::NextDirection { .. } => {
                Request::Combine { bank: Basis, count, b: 1.0, y: Direction }
            }
            State::Prediction => Request::Axpby { a: 1.0, x: Direction, b: 1.0, y: Solution },
            State::FreeStep => {
                Request::Axpby { a: self.memory.stride, x: Direction, b: 1.0, y: Solution }
            }
            State::FreeNorms => Request::Dots {
                pairs: Pairs::new([
                    (Direction, Direction),
                    (Direction, Residual),
                    (Solution, Direction),
                ]),
            },
            State::PredictedNorms => {
                Request::Dots { pairs: Pairs::new([(Solution, Solution), (Direction, Residual)]) }
            }
            State::Product => Request::Apply { src: Direction, dst: Product },
            State::Curvature => Request::Dots {
                pairs: Pairs::new([
                    (Direction, Product),
                    (Direction, Direction),
                    (Direction, Residual),
                    (Solution, Product),
                ]),
            },
            State::Solution(Step { alpha, .. }) => {
                Request::Axpby { a: alpha, x: Direction, b: 1.0, y: Solution }
            }
            State::Residual(Step { alpha, .. }) => {
                Request::Axpby { a: -alpha, x: Product, b: 1.0, y: Residual }
            }
            State::Keep(Step { curvature, .. }) => Request::Axpby {
                a: 1.0 / libm::sqrtf(curvature),
                x: Direction,
                b: 0.0,
                y: Banked(Basis, self.slot()),
            },
            State::KeepProduct(Step { curvature, .. }) => Request::Axpby {
                a: 1.0 / libm::sqrtf(curvature),
                x: Product,
                b: 0.0,
                y: Banked(BasisProduct, self.slot()),
            },
            State::Norms(_) | State::Done(_) => Request::BasisDots {
                pairs: Pairs::new([
                    (Residual, Residual),
                    (Solution, Solution),
                    (Residual, Product),
                    (Product, Product),
                ]),
                bank: BasisProduct,
                count,
                x: Residual,
            },
            State::NextResidual { .. } => Request::Copy { src: Residual, dst: Direction },
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

impl Machine for RecycledCg {
    type Output = Report;

    fn pending(&self) -> Pending<Report> {
        match self.state {
            State::Done(termination) => Pending::Done(self.report(termination)),
            _ => Pending::Request(self.ticket, self.request()),
        }
    }

    fn step(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        scalars: &mut [f32],
    ) -> Result<(), UnexpectedReply> {
        accept(self.pending(), ticket, reply, scalars)?;
        self.state = match self.state {
            State::Coordinates => self.on_coordinates(front(scalars)?, scalars),
            State::Projection if self.rhs_sq == 0.0 => {
                self.residual_sq = Some(0.0);
                State::Done(Termination::Converged)
            }
            State::Projection => State::RightHandSide,
            State::RightHandSide => {
                negate(scalars, self.count());
                State::ProjectedResidual
            }
            State::ProjectedResidual => State::Products,
            State::Products => {
                negate(scalars, self.count());
                State::FirstDirection
            }
            State::FirstDirection if self.count() > 0 => State::Leakage,
            State::Leakage => self.on_leakage(front(scalars)?, scalars),
            State::FirstDirection | State::Correction if self.trusts() => State::Prediction,
            State::FirstDirection | State::Correction => State::Product,
            State::ProjectedNorms => self.on_projected_norms(front(scalars)?, scalars),
            State::Prediction => State::PredictedNorms,
            State::PredictedNorms => self.on_predicted_norms(front(scalars)?),
            State::Product => State::Curvature,
            State::Curvature => self.on_curvature(front(scalars)?),
            State::Solution(step) => State::Residual(step),
            State::Residual(step) if !step.kept => State::Norms(step),
            State::Residual(step) => State::Keep(step),
            State::Keep(step) => State::KeepProduct(step),
            State::KeepProduct(step) => self.on_kept(step),
            State::Norms(step) => self.on_norms(step, front(scalars)?, scalars),
            State::NextResidual { free } => State::NextDirection { free },
            State::NextDirection { free: true } => State::FreeNorms,
            State::NextDirection { free: false } => State::Product,
            State::FreeNorms => self.on_free_norms(front(scalars)?),
            State::FreeStep => self.unverified(self.solution_sq, self.alignment),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        self.ticket = self.ticket.next();
        Ok(())
    }
}
