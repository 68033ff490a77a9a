//! Laws of the curvature product that need no differences.

use super::probe::{Figure, Probe, apart, ratio, worst};
use super::vectors::{A, B};
use crate::{Evaluation, LowerObjective, Register, UpperObjective};
use Register::{Direction, Product, Residual, Solution};

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// Draws 0 and 1 in `Solution` and `Residual`, batch 0 linearised.
    fn two_vectors(&mut self) -> Figure<(), P::Error> {
        self.draw(0, Solution, Direction)?;
        self.draw(1, Residual, Direction)?;
        self.linearize(0)
    }

    pub(super) fn product_is_symmetric(&mut self) -> Figure<f32, P::Error> {
        let (u, v, hu, hv) = (Solution, Residual, Direction, Product);
        self.two_vectors()?;
        self.product(u, hu)?;
        self.product(v, hv)?;
        let [left, right] = self.dots([(u, hv), (v, hu)])?;
        let size = 0.5 * (self.norm(u)? * self.norm(hv)? + self.norm(v)? * self.norm(hu)?);
        Ok(ratio(left - right, size))
    }

    pub(super) fn product_is_linear(&mut self) -> Figure<f32, P::Error> {
        let (u, v, hu, hv) = (Solution, Residual, Direction, Product);
        self.two_vectors()?;
        self.product(u, hu)?;
        self.product(v, hv)?;
        self.axpby(A, hu, B, hv)?;
        self.axpby(A, u, B, v)?;
        self.product(v, hu)?;
        self.distance(hv, hu)
    }

    pub(super) fn product_repeats(&mut self) -> Figure<f32, P::Error> {
        self.two_vectors()?;
        self.product(Solution, Direction)?;
        self.product(Residual, Product)?;
        self.poison(Residual, Product)?;
        self.product(Solution, Product)?;
        self.distance(Direction, Product)
    }

    pub(super) fn linearize_repeats(&mut self) -> Figure<f32, P::Error> {
        self.two_vectors()?;
        self.product(Solution, Direction)?;
        self.linearize(1)?;
        self.product(Residual, Product)?;
        self.linearize(0)?;
        self.product(Solution, Product)?;
        self.distance(Direction, Product)
    }

    pub(super) fn product_preserves_gradients(&mut self) -> Figure<f32, P::Error> {
        let mut measured = 0.0;
        for at in [Evaluation::Lower, Evaluation::UpperAtLower] {
            let before = self.evaluate(at, 0, Solution)?;
            self.copy(Solution, Residual)?;
            self.linearize(0)?;
            self.product(Residual, Direction)?;
            self.product(Residual, Product)?;
            let after = self.evaluate(at, 0, Residual)?;
            let distance = self.distance(Solution, Residual)?;
            measured = worst(measured, worst(apart(before, after), distance));
        }
        Ok(measured)
    }

    pub(super) fn upper_gradient_preserves_products(&mut self) -> Figure<f32, P::Error> {
        self.two_vectors()?;
        self.product(Solution, Direction)?;
        self.evaluate(Evaluation::UpperAtLower, 1, Residual)?;
        self.product(Solution, Product)?;
        self.distance(Direction, Product)
    }
}
