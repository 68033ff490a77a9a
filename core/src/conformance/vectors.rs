//! Laws of the operations that every problem has: zero, copy, axpby, dots.

use super::probe::{Figure, Probe, apart, ratio, worst};
use crate::{LowerObjective, Register, UpperObjective};
use Register::{Direction, Product, Residual, Solution};

/// Arbitrary factors, exact in f32.
pub(super) const A: f32 = 0.75;
pub(super) const B: f32 = -1.25;

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// Whether `dst` now holds NaN everywhere; nothing is measured on a problem that repairs
    /// numbers.
    fn poisoned(&mut self, src: Register, dst: Register) -> Figure<bool, P::Error> {
        self.poison(src, dst)?;
        Ok(self.dot(dst, dst)?.is_nan())
    }

    pub(super) fn zero_overwrites(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Residual, Direction)?;
        if !self.poisoned(Residual, Solution)? {
            return Ok(f32::NAN);
        }
        self.zero(Solution)?;
        let (left, norm) = (self.norm(Solution)?, self.norm(Residual)?);
        Ok(ratio(left, norm))
    }

    pub(super) fn copy_makes_equal(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Residual, Direction)?;
        let before = self.dot(Residual, Residual)?;
        if !self.poisoned(Residual, Solution)? {
            return Ok(f32::NAN);
        }
        self.copy(Residual, Solution)?;
        let after = self.dot(Residual, Residual)?;
        Ok(worst(apart(before, after), self.distance(Residual, Solution)?))
    }

    pub(super) fn axpby_is_linear(&mut self) -> Figure<f32, P::Error> {
        let (x, y, z) = (Residual, Solution, Direction);
        for (number, register) in [(0, x), (1, y), (2, z)] {
            self.draw(number, register, Product)?;
        }
        let [xz, yz, xy] = self.dots([(x, z), (y, z), (x, y)])?;
        let (norm_x, norm_y, norm_z) = (self.norm(x)?, self.norm(y)?, self.norm(z)?);
        self.axpby(A, x, B, y)?;
        let [sum_z, sum_sq, xz_after] = self.dots([(y, z), (y, y), (x, z)])?;
        let size = libm::fabsf(A) * norm_x + libm::fabsf(B) * norm_y;
        let square = A * A * (norm_x * norm_x) + 2.0 * A * B * xy + B * B * (norm_y * norm_y);
        let linear = ratio(sum_z - (A * xz + B * yz), size * norm_z);
        Ok(worst(worst(linear, ratio(sum_sq - square, size * size)), apart(xz, xz_after)))
    }

    pub(super) fn factor_zero_reads_nothing(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Residual, Direction)?;
        if !self.poisoned(Residual, Solution)? {
            return Ok(f32::NAN);
        }
        self.axpby(1.0, Residual, 0.0, Solution)?;
        let by_y = self.distance(Residual, Solution)?;
        self.poison(Residual, Solution)?;
        self.copy(Residual, Direction)?;
        self.axpby(0.0, Solution, 1.0, Direction)?;
        let by_x = self.distance(Residual, Direction)?;
        self.poison(Residual, Direction)?;
        self.axpby(0.0, Solution, 0.0, Direction)?;
        let (left, norm) = (self.norm(Direction)?, self.norm(Residual)?);
        Ok(worst(worst(by_y, by_x), ratio(left, norm)))
    }

    pub(super) fn axpby_of_one_register(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Residual, Direction)?;
        let norm = self.norm(Residual)?;
        let mut measured = 0.0;
        for (a, b) in [(0.5, 0.25), (0.0, 0.5), (0.5, 0.0)] {
            self.copy(Residual, Solution)?;
            self.axpby(a, Solution, b, Solution)?;
            self.axpby(-(a + b), Residual, 1.0, Solution)?;
            measured = worst(measured, ratio(self.norm(Solution)?, norm));
        }
        Ok(measured)
    }

    pub(super) fn dots_are_an_inner_product(&mut self) -> Figure<f32, P::Error> {
        let (x, y) = (Residual, Solution);
        self.draw(0, x, Direction)?;
        self.draw(1, y, Direction)?;
        let [xy, yx] = self.dots([(x, y), (y, x)])?;
        let size = self.norm(x)? * self.norm(y)?;
        let cosine = ratio(xy, size);
        let excess = if cosine <= 1.0 { 0.0 } else { cosine - 1.0 };
        Ok(worst(ratio(xy - yx, size), excess))
    }

    pub(super) fn dots_travel_together(&mut self) -> Figure<f32, P::Error> {
        let (x, y, z) = (Residual, Solution, Direction);
        for (number, register) in [(0, x), (1, y), (2, z)] {
            self.draw(number, register, Product)?;
        }
        let pairs = [(x, y), (x, x), (z, y), (y, y)];
        let together = self.dots(pairs)?;
        // NaN where the vectors are 0.
        let mut measured = ratio(0.0, self.norm(x)?);
        for ((x, y), dot) in pairs.into_iter().zip(together) {
            measured = worst(measured, apart(dot, self.dot(x, y)?));
        }
        Ok(measured)
    }

    pub(super) fn dots_repeat(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Residual, Product)?;
        self.draw(1, Solution, Product)?;
        let first = self.dot(Residual, Solution)?;
        self.copy(Residual, Direction)?;
        self.copy(Solution, Product)?;
        let elsewhere = self.dot(Direction, Product)?;
        let again = self.dot(Residual, Solution)?;
        let measured = worst(apart(first, elsewhere), apart(first, again));
        Ok(worst(measured, ratio(0.0, self.norm(Residual)?)))
    }
}
