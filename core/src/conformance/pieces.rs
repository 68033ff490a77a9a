//! Laws of the operations that only some solvers and optimisers ask for: segments, banks, sketches.

use super::probe::{Figure, Probe, Stop, optional, ratio, worst};
use super::vectors::{A, B};
use crate::{Bank, DriveError, LowerObjective, Register, UpperObjective};
use Register::{Banked, Direction, Product, Residual, Solution};

/// Factor of segment `s`: neighbours differ.
fn factor(s: usize) -> f32 {
    0.5 + 0.25 * (s & 3) as f32
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// Dots over the segments, at the front of the workspace; how many segments there are.
    fn segments(&mut self, pairs: &[(Register, Register)]) -> Figure<usize, P::Error> {
        let count = optional(self.problem.segment_dots(pairs, self.scalars))? as usize;
        let found = self.scalars.len();
        let needed = count.saturating_mul(pairs.len());
        if count == 0 || needed > found {
            let needed = if count == 0 { found.saturating_add(1) } else { needed };
            return Err(Stop::Failed(DriveError::ShortWorkspace { needed, found }));
        }
        Ok(count)
    }

    /// The workspace's part of pair `pair`.
    fn part(&self, pair: usize, count: usize) -> &[f32] {
        let start = pair.saturating_mul(count);
        self.scalars.get(start..start.saturating_add(count)).unwrap_or(&[])
    }

    /// `y ← factorₛ x + b y` with the factors of `factor`.
    fn scale_segments(
        &mut self,
        count: usize,
        factor: impl Fn(usize) -> f32,
        (x, b, y): (Register, f32, Register),
    ) -> Figure<(), P::Error> {
        let factors = self.scalars.get_mut(..count).unwrap_or(&mut []);
        for (s, scalar) in factors.iter_mut().enumerate() {
            *scalar = factor(s);
        }
        optional(self.problem.segment_axpby(factors, x, b, y))
    }

    pub(super) fn segments_add_up(&mut self) -> Figure<f32, P::Error> {
        let (x, y) = (Residual, Solution);
        self.draw(0, x, Direction)?;
        self.draw(1, y, Direction)?;
        let [xy, xx, yy] = self.dots([(x, y), (x, x), (y, y)])?;
        let count = self.segments(&[(x, y), (x, x)])?;
        let sum = |part: &[f32]| part.iter().fold(0.0, |sum, dot| sum + dot);
        let mixed = ratio(sum(self.part(0, count)) - xy, libm::sqrtf(xx) * libm::sqrtf(yy));
        Ok(worst(mixed, ratio(sum(self.part(1, count)) - xx, xx)))
    }

    pub(super) fn segments_have_factors(&mut self) -> Figure<f32, P::Error> {
        let (x, y, expected, found) = (Residual, Solution, Direction, Product);
        self.draw(0, x, y)?;
        self.draw(1, expected, y)?;
        let count = self.segments(&[(x, x)])?;
        self.poison(x, y)?;
        self.scale_segments(count, factor, (x, 0.0, y))?;
        self.segments(&[(y, x), (x, x)])?;
        let xx = self.part(1, count).iter().fold(0.0, |sum, dot| sum + dot);
        let mut measured = 0.0;
        let dots = self.part(0, count).iter().zip(self.part(1, count));
        for (s, (scaled, own)) in dots.enumerate() {
            measured = worst(measured, ratio(scaled - factor(s) * own, xx));
        }
        self.copy(expected, found)?;
        self.scale_segments(count, |_| A, (x, B, found))?;
        self.axpby(A, x, B, expected)?;
        Ok(worst(measured, self.distance(expected, found)?))
    }

    /// Draws 0 and 1 in `Residual` and `Solution` and in the bank, draw 2 in `Direction`.
    fn fill_bank(&mut self) -> Figure<(), P::Error> {
        for (number, register) in [(0, Residual), (1, Solution), (2, Direction)] {
            self.draw(number, register, Product)?;
        }
        self.copy(Residual, Banked(Bank::Basis, 0))?;
        self.copy(Solution, Banked(Bank::Basis, 1))
    }

    pub(super) fn bank_dots(&mut self) -> Figure<f32, P::Error> {
        self.fill_bank()?;
        let mut found = [f32::NAN; 3];
        let pair = [(Solution, Direction)];
        optional(self.problem.basis_dots(&pair, Bank::Basis, Residual, &mut found))?;
        let alone =
            self.dots([(Solution, Direction), (Residual, Residual), (Solution, Residual)])?;
        let (r, s) = (self.norm(Residual)?, self.norm(Solution)?);
        let sizes = [s * self.norm(Direction)?, r * r, s * r];
        let mut measured = 0.0;
        for ((found, alone), size) in found.into_iter().zip(alone).zip(sizes) {
            measured = worst(measured, ratio(found - alone, size));
        }
        Ok(measured)
    }

    pub(super) fn bank_combines(&mut self) -> Figure<f32, P::Error> {
        self.fill_bank()?;
        self.copy(Direction, Product)?;
        optional(self.problem.combine(Bank::Basis, &[A, B], 0.5, Product))?;
        self.axpby(A, Residual, 0.5, Direction)?;
        self.axpby(B, Solution, 1.0, Direction)?;
        let added = self.distance(Direction, Product)?;
        self.poison(Residual, Product)?;
        optional(self.problem.combine(Bank::Basis, &[A, B], 0.0, Product))?;
        self.axpby(A, Residual, B, Solution)?;
        Ok(worst(added, self.distance(Solution, Product)?))
    }

    fn sketch(&mut self, dst: Register, number: u32) -> Figure<(), P::Error> {
        optional(self.problem.sketch(dst, self.settings.sketch.wrapping_add(number)))
    }

    pub(super) fn sketch_repeats(&mut self) -> Figure<f32, P::Error> {
        self.sketch(Solution, 0)?;
        self.sketch(Residual, 1)?;
        self.poison(Solution, Residual)?;
        self.sketch(Residual, 0)?;
        self.distance(Solution, Residual)
    }

    pub(super) fn sketch_varies(&mut self) -> Figure<f32, P::Error> {
        self.sketch(Solution, 0)?;
        self.sketch(Residual, 1)?;
        let size = self.norm(Solution)? * self.norm(Residual)?;
        Ok(ratio(self.dot(Solution, Residual)?, size))
    }
}
