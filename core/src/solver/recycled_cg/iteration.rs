//! Steps along directions whose products are known.

use super::free_step::FreeStep;
use super::{CAUTION, Iterate, RecycledCg, SPENT, State};
use crate::machine::front;
use crate::report::correction_sq;
use crate::solver::low_rank::negate_after;
use crate::{Bank, Pairs, Register, Request, SolverMemory, Termination, UnexpectedReply};
use Bank::{Basis, BasisProduct};
use Register::{Banked, Direction, Product, Residual, Solution};

/// What is awaited. Without an iterate the direction is p₀ and x is still the projection.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) enum Iteration {
    Product(Option<Iterate>),
    Curvature(Option<Iterate>),
    Solution(Step),
    Residual(Step),
    Keep(Step),
    KeepProduct(Step),
    Norms(Step),
    NextResidual { x: Iterate, free: bool },
    NextDirection { x: Iterate, free: bool },
}

/// One step along a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Step {
    /// Where it begins.
    from: Option<Iterate>,
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

/// ‖p‖² below this share of ‖r‖²: p was orthogonalised only once, so it is conjugate to within a
/// hundred roundings at best, which is not enough for what is built on it.
const CANCELLED: f32 = 1e-4;

impl Iteration {
    pub(super) fn request(self, memory: &SolverMemory) -> Request {
        // The slot of the newest direction.
        let (count, slot) = (memory.count, memory.next);
        match self {
            Self::Product(_) => Request::Apply { src: Direction, dst: Product },
            Self::Curvature(_) => Request::Dots {
                pairs: Pairs::new([
                    (Direction, Product),
                    (Direction, Direction),
                    (Direction, Residual),
                    (Solution, Product),
                ]),
            },
            Self::Solution(Step { alpha, .. }) => {
                Request::Axpby { a: alpha, x: Direction, b: 1.0, y: Solution }
            }
            Self::Residual(Step { alpha, .. }) => {
                Request::Axpby { a: -alpha, x: Product, b: 1.0, y: Residual }
            }
            Self::Keep(Step { curvature, .. }) => {
                let a = 1.0 / libm::sqrtf(curvature);
                Request::Axpby { a, x: Direction, b: 0.0, y: Banked(Basis, slot) }
            }
            Self::KeepProduct(Step { curvature, .. }) => {
                let a = 1.0 / libm::sqrtf(curvature);
                Request::Axpby { a, x: Product, b: 0.0, y: Banked(BasisProduct, slot) }
            }
            Self::Norms(_) => norms(memory),
            Self::NextResidual { .. } => Request::Copy { src: Residual, dst: Direction },
            Self::NextDirection { .. } => {
                Request::Combine { bank: Basis, count, b: 1.0, y: Direction }
            }
        }
    }
}

/// What is measured after a step.
pub(super) fn norms(memory: &SolverMemory) -> Request {
    Request::BasisDots {
        pairs: Pairs::new([
            (Residual, Residual),
            (Solution, Solution),
            (Residual, Product),
            (Product, Product),
        ]),
        bank: BasisProduct,
        count: memory.count,
        x: Residual,
    }
}

impl RecycledCg {
    /// The state after an accepted reply.
    pub(super) fn on_iteration(
        &mut self,
        state: Iteration,
        scalars: &mut [f32],
    ) -> Result<State, UnexpectedReply> {
        Ok(State::Iteration(match state {
            Iteration::Product(from) => Iteration::Curvature(from),
            Iteration::Curvature(from) => return Ok(self.on_curvature(from, front(scalars)?)),
            Iteration::Solution(step) => Iteration::Residual(step),
            Iteration::Residual(step) if !step.kept => Iteration::Norms(step),
            Iteration::Residual(step) => Iteration::Keep(step),
            Iteration::Keep(step) => Iteration::KeepProduct(step),
            Iteration::KeepProduct(step) => {
                self.on_kept();
                Iteration::Norms(step)
            }
            Iteration::Norms(step) => return Ok(self.on_norms(step, front(scalars)?, scalars)),
            Iteration::NextResidual { x, free } => Iteration::NextDirection { x, free },
            Iteration::NextDirection { x, free: true } => {
                return Ok(State::FreeStep(FreeStep::Norms(x)));
            }
            Iteration::NextDirection { x, free: false } => Iteration::Product(Some(x)),
        }))
    }

    /// Takes pᵀAp, ‖p‖², pᵀr and xᵀAp.
    fn on_curvature(
        &mut self,
        from: Option<Iterate>,
        [curvature, direction_sq, slope, solution_product]: [f32; 4],
    ) -> State {
        self.products += 1;
        if direction_sq == 0.0 && from.is_some() {
            // r lies in the span of the bank to the last bit: no product changes x any more.
            return self.stop(Termination::IterationLimit, from);
        }
        // bᵀp = pᵀ(r + A x), whether or not p is conjugate to all that x is made of: directions may
        // have been dropped.
        let alignment = slope + solution_product;
        if !self.rayleigh.see(curvature, direction_sq) || !alignment.is_finite() {
            return self.stop(Termination::NonFinite, from);
        }
        let alpha = match (curvature <= 0.0, from) {
            (false, _) => slope / curvature,
            // A is indefinite along p, not a rounding accident: an epsilon would only hide it.
            (true, None) => 1.0,
            (true, Some(_)) => return self.stop(Termination::NegativeCurvature, from),
        };
        if !alpha.is_finite() {
            return self.stop(Termination::NonFinite, from);
        }
        let rounding = match from {
            None => SPENT * self.rhs_sq,
            Some(x) => CANCELLED * x.residual_sq,
        };
        // The root of a subnormal curvature has too few digits to normalise by.
        let kept = curvature >= f32::MIN_POSITIVE && direction_sq > rounding;
        let step = Step { from, alpha, direction_sq, alignment, curvature, kept };
        State::Iteration(Iteration::Solution(step))
    }

    /// The end without another step.
    fn stop(&self, termination: Termination, x: Option<Iterate>) -> State {
        self.done(termination, x.map_or(0.0, |x| x.solution_sq), x.map(|x| x.residual_sq))
    }

    /// After the newest direction and its product were kept.
    fn on_kept(&mut self) {
        let (capacity, next) = (self.settings.capacity, self.memory.next);
        if self.memory.count < capacity {
            self.memory.count += 1;
        } else {
            self.dropped = true;
        }
        self.memory.next = if next + 1 < capacity { next + 1 } else { 0 };
    }

    /// Takes the norms and (AP)ᵀr; leaves −(AP)ᵀr, the coefficients of the next direction.
    fn on_norms(
        &mut self,
        step: Step,
        [residual_sq, solution_sq, overlap, product_sq]: [f32; 4],
        scalars: &mut [f32],
    ) -> State {
        let stop = self.settings.stop;
        self.alignment += step.alpha * step.alignment;
        let correction_sq = correction_sq(self.rhs_sq, solution_sq, self.alignment);
        if !(residual_sq.is_finite() && solution_sq.is_finite() && self.alignment.is_finite()) {
            return self.done(Termination::NonFinite, solution_sq, Some(residual_sq));
        }
        // The residual of a step of another length is r + (α − length) A p.
        let after_sq = |length: f32| {
            let excess = step.alpha - length;
            residual_sq + 2.0 * excess * overlap + excess * excess * product_sq
        };
        let first_sq = match step.from {
            None => {
                let cautious_sq = CAUTION * CAUTION * after_sq(1.0);
                self.memory.trusted =
                    step.curvature > 0.0 && stop.reached(cautious_sq, solution_sq, correction_sq);
                Some(after_sq(1.0) / step.direction_sq)
            }
            Some(before) => {
                let remaining = |stride| after_sq(stride) / before.residual_sq;
                self.memory.measure(step.alpha, remaining);
                before.first_sq
            }
        };
        let x = Iterate { residual_sq, solution_sq, first_sq };
        if step.curvature <= 0.0 {
            self.stop(Termination::NegativeCurvature, Some(x))
        } else if stop.reached(residual_sq, solution_sq, correction_sq) {
            self.stop(Termination::Converged, Some(x))
        } else if self.products >= stop.iterations_max() {
            self.stop(Termination::IterationLimit, Some(x))
        } else {
            negate_after(4, scalars, self.count());
            let free = self.may_step_freely(x, correction_sq);
            State::Iteration(Iteration::NextResidual { x, free })
        }
    }
}
