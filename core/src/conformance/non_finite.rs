//! The law that no number is repaired on its way through the problem.

use super::probe::{Figure, Probe, optional};
use crate::{Evaluation, Group, LowerObjective, Register, UpperObjective};
use Register::{Direction, Parameter, Product, Residual, Solution};

/// 1 for what hides a NaN.
fn hides(finite: bool) -> f32 {
    if finite { 1.0 } else { 0.0 }
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// Overwrites the first segment of θ_P, a copy of which is in `Solution`, with NaN: what is
    /// computed from it passes through every layer. The whole of θ_P where there are no segments.
    fn poison_first_segment(&mut self) -> Figure<(), P::Error> {
        let theta = Parameter(Group::LowerBackbone);
        let segments = self.problem.segment_dots(&[(theta, theta)], self.scalars).unwrap_or(0);
        let Some(factors) = self.scalars.get_mut(..segments as usize).filter(|s| !s.is_empty())
        else {
            return self.poison(Solution, theta);
        };
        factors.fill(1.0);
        factors[0] = f32::NAN;
        optional(self.problem.segment_axpby(factors, Solution, 0.0, theta))
    }

    /// How many of losses, gradients and products are finite at parameters that are not.
    ///
    /// A problem that refuses such parameters with an error does not hide them: the law is then
    /// not measured.
    pub(super) fn nan_travels(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Direction, Product)?;
        let theta = Parameter(Group::LowerBackbone);
        self.keeping(theta, Solution, |probe| {
            probe.poison_first_segment()?;
            if !probe.dot(theta, theta)?.is_nan() {
                return Ok(f32::NAN);
            }
            let mut hidden = 0.0;
            for at in [Evaluation::Lower, Evaluation::UpperAtLower] {
                let loss = optional(probe.ask(at, 0, Some(Residual)))?;
                let gradient = probe.norm(Residual)?;
                hidden += hides(loss.is_finite()) + hides(gradient.is_finite());
            }
            let index = probe.index(0);
            optional(probe.problem.linearize(index))?;
            optional(probe.problem.product(Direction, Product))?;
            hidden += hides(probe.norm(Product)?.is_finite());
            Ok(hidden)
        })
    }
}
