//! The free step: one more direction, without its product.

use super::iteration::Iteration;
use super::{CAUTION, Iterate, RecycledCg, State};
use crate::machine::front;
use crate::report::correction_sq;
use crate::{Pairs, Register, Request, SolverMemory, UnexpectedReply};
use Register::{Direction, Residual, Solution};

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) enum FreeStep {
    Norms(Iterate),
    /// With ‖x‖² and bᵀx after the step.
    Step {
        solution_sq: f32,
        alignment: f32,
    },
}

/// A residual contains more of the steep directions than the right-hand side that it is left over
/// from. Until a product has measured it, H is assumed to be larger on the residual by this factor,
/// times `CAUTION` (`docs/decisions/0008-recycling.md`).
const PRIOR: f32 = 2.5;

impl FreeStep {
    pub(super) fn request(self, memory: &SolverMemory) -> Request {
        match self {
            Self::Norms(_) => Request::Dots {
                pairs: Pairs::new([
                    (Direction, Direction),
                    (Direction, Residual),
                    (Solution, Direction),
                ]),
            },
            Self::Step { .. } => {
                Request::Axpby { a: memory.stride, x: Direction, b: 1.0, y: Solution }
            }
        }
    }
}

impl RecycledCg {
    /// The state after an accepted reply.
    pub(super) fn on_free_step(
        &mut self,
        state: FreeStep,
        scalars: &[f32],
    ) -> Result<State, UnexpectedReply> {
        Ok(match state {
            FreeStep::Norms(x) => self.on_free_norms(x, front(scalars)?),
            FreeStep::Step { solution_sq, alignment } => self.unverified(solution_sq, alignment),
        })
    }

    /// Whether a free step from x, with this ‖x − b‖², may be good enough. The next direction is
    /// not known yet; it is about as long as r.
    pub(super) fn may_step_freely(&self, x: Iterate, correction_sq: f32) -> bool {
        let stride = self.memory.stride;
        let correction_sq = 2.0 * (correction_sq + stride * stride * x.residual_sq);
        self.meets_tolerance(x, x.solution_sq, correction_sq)
    }

    /// Takes ‖p‖², pᵀr and xᵀp of the next direction: whether to step along it without a product.
    ///
    /// The correction is that of the x to be: one product along b itself leaves x nearly parallel
    /// to b, and it is the free step that adds the rest.
    fn on_free_norms(&mut self, x: Iterate, [direction_sq, slope, overlap]: [f32; 3]) -> State {
        let stride = self.memory.stride;
        let solution_sq = x.solution_sq + stride * (2.0 * overlap + stride * direction_sq);
        // bᵀp = pᵀ(r + A x), and p is conjugate to x.
        let alignment = self.alignment + stride * slope;
        let correction_sq = correction_sq(self.rhs_sq, x.solution_sq, self.alignment)
            + stride * (2.0 * (overlap - slope) + stride * direction_sq);
        if self.meets_tolerance(x, solution_sq, correction_sq) {
            self.memory.unverified += 1;
            State::FreeStep(FreeStep::Step { solution_sq, alignment })
        } else {
            State::Iteration(Iteration::Product(Some(x)))
        }
    }

    /// Whether a free step from x may be taken and is expected to meet the tolerances where it
    /// leads to this ‖x‖² and ‖x − b‖².
    fn meets_tolerance(&self, x: Iterate, solution_sq: f32, correction_sq: f32) -> bool {
        if !self.settings.extrapolates || self.dropped || self.is_due() {
            return false;
        }
        let first_sq = x.first_sq.filter(|first_sq| *first_sq >= 0.0);
        let assumed = || first_sq.map(|first_sq| PRIOR * PRIOR * first_sq);
        let Some(contraction_sq) = self.memory.contraction_sq.or_else(assumed) else {
            return false;
        };
        let expected_sq = CAUTION * CAUTION * contraction_sq * x.residual_sq;
        self.settings.stop.reached(expected_sq, solution_sq, correction_sq)
    }
}
