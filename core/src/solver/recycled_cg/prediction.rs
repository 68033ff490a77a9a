//! From b to the prediction: everything before the first product.

use super::iteration::Iteration;
use super::{Iterate, RecycledCg, SPENT, State};
use crate::machine::{front, move_to_front};
use crate::report::correction_sq;
use crate::solver::low_rank::negate_after;
use crate::{Bank, Pairs, Register, Request, SolverMemory, Termination, UnexpectedReply};
use Bank::{Basis, BasisProduct};
use Register::{Direction, Residual, Solution};

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) enum Prediction {
    Coordinates,
    Projection,
    RightHandSide,
    ProjectedResidual,
    Products,
    FirstDirection,
    Leakage,
    Correction,
    ProjectedNorms,
    Step,
    Norms,
}

impl Prediction {
    pub(super) fn request(self, memory: &SolverMemory) -> Request {
        let count = memory.count;
        match self {
            Self::Coordinates => {
                let pairs = Pairs::new([(Residual, Residual)]);
                Request::BasisDots { pairs, bank: Basis, count, x: Residual }
            }
            Self::Projection => Request::Combine { bank: Basis, count, b: 0.0, y: Solution },
            Self::RightHandSide => Request::Copy { src: Residual, dst: Direction },
            Self::ProjectedResidual => {
                Request::Combine { bank: BasisProduct, count, b: 1.0, y: Residual }
            }
            Self::Products => {
                let pairs = Pairs::NONE;
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Direction }
            }
            Self::FirstDirection | Self::Correction => {
                Request::Combine { bank: Basis, count, b: 1.0, y: Direction }
            }
            Self::Leakage => {
                let pairs = Pairs::new([(Direction, Direction)]);
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Direction }
            }
            Self::ProjectedNorms => {
                let pairs = Pairs::new([(Residual, Residual), (Solution, Solution)]);
                Request::BasisDots { pairs, bank: BasisProduct, count, x: Residual }
            }
            Self::Step => Request::Axpby { a: 1.0, x: Direction, b: 1.0, y: Solution },
            Self::Norms => {
                Request::Dots { pairs: Pairs::new([(Solution, Solution), (Direction, Residual)]) }
            }
        }
    }
}

impl RecycledCg {
    /// The state after an accepted reply.
    pub(super) fn on_prediction(
        &mut self,
        state: Prediction,
        scalars: &mut [f32],
    ) -> Result<State, UnexpectedReply> {
        Ok(State::Prediction(match state {
            Prediction::Coordinates => return Ok(self.on_coordinates(front(scalars)?, scalars)),
            Prediction::Projection if self.rhs_sq == 0.0 => {
                return Ok(self.done(Termination::Converged, 0.0, Some(0.0)));
            }
            Prediction::Projection => Prediction::RightHandSide,
            Prediction::RightHandSide => {
                negate_after(0, scalars, self.count());
                Prediction::ProjectedResidual
            }
            Prediction::ProjectedResidual => Prediction::Products,
            Prediction::Products => {
                negate_after(0, scalars, self.count());
                Prediction::FirstDirection
            }
            Prediction::FirstDirection if self.count() > 0 => Prediction::Leakage,
            Prediction::Leakage => return Ok(self.on_leakage(front(scalars)?, scalars)),
            Prediction::FirstDirection | Prediction::Correction if self.trusts() => {
                Prediction::Step
            }
            Prediction::FirstDirection | Prediction::Correction => {
                return Ok(State::Iteration(Iteration::Product(None)));
            }
            Prediction::ProjectedNorms => {
                return Ok(self.on_projected_norms(front(scalars)?, scalars));
            }
            Prediction::Step => Prediction::Norms,
            Prediction::Norms => return Ok(self.on_predicted_norms(front(scalars)?)),
        }))
    }

    /// Takes ‖b‖² and Pᵀb; leaves Pᵀb, the coefficients of the projection.
    fn on_coordinates(&mut self, [rhs_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        let count = self.count();
        self.rhs_sq = rhs_sq;
        self.alignment = scalars.iter().skip(1).take(count).map(|y| y * y).sum();
        if !(self.rhs_sq.is_finite() && self.alignment.is_finite()) {
            return self.done(Termination::NonFinite, 0.0, None);
        }
        move_to_front(scalars, 1, count);
        State::Prediction(Prediction::Projection)
    }

    /// Takes ‖p₀‖² and (AP)ᵀp₀; leaves −(AP)ᵀp₀, the coefficients of the correction.
    fn on_leakage(&mut self, [direction_sq]: [f32; 1], scalars: &mut [f32]) -> State {
        if !direction_sq.is_finite() {
            return self.done(Termination::NonFinite, 0.0, None);
        }
        if direction_sq <= SPENT * self.rhs_sq {
            // A product with it would teach nothing, and the same b again would never get beyond
            // its projection.
            return State::Prediction(Prediction::ProjectedNorms);
        }
        negate_after(1, scalars, self.count());
        State::Prediction(Prediction::Correction)
    }

    /// Takes the norms and (AP)ᵀr of the projection; leaves −(AP)ᵀr.
    fn on_projected_norms(
        &mut self,
        [residual_sq, solution_sq]: [f32; 2],
        scalars: &mut [f32],
    ) -> State {
        if !(residual_sq.is_finite() && solution_sq.is_finite()) {
            return self.done(Termination::NonFinite, solution_sq, None);
        }
        let trusts = self.trusts();
        if trusts {
            self.memory.unverified += 1;
        }
        if trusts || residual_sq == 0.0 {
            // Without a residual there is no direction along which a product could tell more.
            return self.done(Termination::Unverified, solution_sq, None);
        }
        let correction_sq = correction_sq(self.rhs_sq, solution_sq, self.alignment);
        self.memory.trusted = self.settings.stop.reached(residual_sq, solution_sq, correction_sq);
        negate_after(2, scalars, self.count());
        let x = Iterate { residual_sq, solution_sq, first_sq: None };
        State::Iteration(Iteration::NextResidual { x, free: false })
    }

    /// Takes ‖x‖², and p₀ᵀr from before the prediction's step.
    fn on_predicted_norms(&mut self, [solution_sq, slope]: [f32; 2]) -> State {
        self.memory.unverified += 1;
        self.unverified(solution_sq, self.alignment + slope)
    }

    /// Whether this solve takes its prediction without a product.
    fn trusts(&self) -> bool {
        self.memory.trusted && !self.is_due()
    }
}
