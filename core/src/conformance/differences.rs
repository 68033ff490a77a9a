//! Laws that compare a derivative with central differences.

use super::probe::{Figure, Probe, head, inverse, optional, ratio, worst};
use crate::{Evaluation, Group, LowerObjective, Register, UpperObjective};
use Register::{
    DirectGradient, Direction, Hypergradient, Momentum, Parameter, Product, Residual, Solution,
};

/// A function's argument, a register of its length, and its gradient.
struct Place {
    parameter: Register,
    kept: Register,
    gradient: Register,
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// The longest step: a share of the size of what is moved.
    fn longest(&self, norm: f32) -> f32 {
        self.settings.step * if norm == 0.0 { 1.0 } else { norm }
    }

    /// A second direction in `place.parameter`, which it overwrites: draw `number` where there are
    /// draws, else the parameters themselves. Whether it was drawn.
    fn direction(&mut self, place: &Place, number: u32) -> Figure<bool, P::Error> {
        let number = self.settings.sketch.wrapping_add(number);
        if self.problem.sketch(place.parameter, number).is_ok() {
            return Ok(true);
        }
        self.copy(place.kept, place.parameter)?;
        Ok(false)
    }

    /// The worst [`slope`](Self::slope) over several draws; there is one where the problem has no
    /// sketch.
    fn slopes(
        &mut self,
        place: &Place,
        mut function: impl FnMut(&mut Self) -> Figure<f32, P::Error>,
    ) -> Figure<f32, P::Error> {
        self.keeping(place.parameter, place.kept, |probe| {
            let mut measured = f32::NAN;
            for number in 0..u32::from(probe.settings.directions) {
                let (figure, drawn) = probe.slope(place, number, &mut function)?;
                measured = if number == 0 { figure } else { worst(measured, figure) };
                if !drawn {
                    break;
                }
            }
            Ok(measured)
        })
    }

    /// |slope of `function` − gradient · v|/‖gradient‖ along v, the sum of the gradient's direction
    /// and another one, each of length 1; whether the other one was drawn.
    ///
    /// The step is chosen without looking at the gradient: where two neighbouring steps agree best.
    /// `function` returns the value at `place.parameter`, of which `place.kept` has a copy, and
    /// writes the gradient.
    fn slope(
        &mut self,
        place: &Place,
        number: u32,
        mut function: impl FnMut(&mut Self) -> Figure<f32, P::Error>,
    ) -> Figure<(f32, bool), P::Error> {
        let Place { parameter, kept, gradient } = *place;
        self.copy(kept, parameter)?;
        function(self)?;
        let norm = self.norm(gradient)?;
        let mut step = self.norm(kept)?;
        step = self.longest(step);
        let drawn = self.direction(place, number)?;
        let along = self.dot(gradient, parameter)?;
        let by_gradient = inverse(norm);
        let by_other = inverse(self.norm(parameter)?);
        let claimed = by_gradient * norm * norm + by_other * along;
        let (mut gap, mut slope, mut last) = (f32::INFINITY, f32::NAN, f32::NAN);
        for _ in 0..self.settings.steps {
            let mut values = [0.0; 2];
            for (value, step) in values.iter_mut().zip([step, -step]) {
                // The gradient's register has been overwritten: once more, where it belongs.
                self.copy(kept, parameter)?;
                function(self)?;
                self.direction(place, number)?;
                self.axpby(1.0, kept, step * by_other, parameter)?;
                self.axpby(step * by_gradient, gradient, 1.0, parameter)?;
                *value = function(self)?;
            }
            let [above, below] = values;
            let difference = (above - below) / (2.0 * step);
            if libm::fabsf(difference - last) < gap {
                (gap, slope) = (libm::fabsf(difference - last), difference);
            }
            last = difference;
            step *= 0.25;
        }
        Ok((ratio(slope - claimed, norm), drawn))
    }

    pub(super) fn backbone_slope(&mut self, at: Evaluation) -> Figure<f32, P::Error> {
        let group = match at {
            Evaluation::UpperAtUpper => Group::UpperBackbone,
            _ => Group::LowerBackbone,
        };
        let place = Place { parameter: Parameter(group), kept: Solution, gradient: Residual };
        self.slopes(&place, |probe| probe.evaluate(at, 0, Residual))
    }

    pub(super) fn head_slope(&mut self, at: Evaluation) -> Figure<f32, P::Error> {
        let (group, gradient) = head(at);
        let place = Place { parameter: Parameter(group), kept: Momentum(group), gradient };
        let figure = self.slopes(&place, |probe| probe.evaluate(at, 0, Residual));
        // As a stage would find it; it was the only other register of this length.
        self.zero(Momentum(group))?;
        figure
    }

    pub(super) fn cross_product_differences(&mut self) -> Figure<f32, P::Error> {
        let place = Place {
            parameter: Parameter(Group::UpperBackbone),
            kept: DirectGradient,
            gradient: Hypergradient,
        };
        self.draw(0, Residual, Direction)?;
        self.slopes(&place, |probe| {
            probe.evaluate_linearized(0, Direction)?;
            let value = -probe.dot(Residual, Direction)?;
            probe.linearize(0)?;
            optional(probe.problem.cross_product(Residual, Hypergradient))?;
            Ok(value)
        })
    }

    /// ‖d − Hv‖ over the mean of ‖d‖ and ‖Hv‖, d the difference of two gradients; of the best step.
    /// All coordinates are compared, so no step makes a wrong product look right.
    pub(super) fn product_differences(&mut self) -> Figure<f32, P::Error> {
        let theta = Parameter(Group::LowerBackbone);
        let (kept, v, hv, found) = (Solution, Residual, Direction, Product);
        self.draw(0, v, hv)?;
        self.linearize(0)?;
        self.product(v, hv)?;
        let hv_norm = self.norm(hv)?;
        let step = self.norm(theta)?;
        let mut step = self.longest(step) * inverse(self.norm(v)?);
        let mut best = f32::NAN;
        for _ in 0..self.settings.steps {
            self.keeping(theta, kept, |probe| {
                probe.axpby(step, v, 1.0, theta)?;
                probe.evaluate_linearized(0, found)?;
                probe.copy(kept, theta)?;
                probe.axpby(-step, v, 1.0, theta)?;
                // The last use of v, whose register takes the other gradient.
                probe.evaluate_linearized(0, v)?;
                let scale = 0.5 / step;
                probe.axpby(-scale, v, scale, found)
            })?;
            let size = 0.5 * (self.norm(found)? + hv_norm);
            self.axpby(-1.0, hv, 1.0, found)?;
            let figure = ratio(self.norm(found)?, size);
            if best.is_nan() || figure < best {
                best = figure;
            }
            step *= 0.25;
            self.draw(0, v, found)?;
        }
        Ok(best)
    }
}
