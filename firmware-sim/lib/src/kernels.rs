//! The arithmetic on big arrays: what an accelerator port replaces.

use crate::Real;

/// One feature vector a sample: `[sample][feature]`.
pub type Rows<T, const R: usize, const N: usize> = [[T; N]; R];

/// Matrix products and elementwise operations.
///
/// *The order of every sum is part of the contract*: a port that sums in another order computes other
/// bits, and its state hash no longer equals that of the other devices. Each method states its order.
/// No product is fused with a sum.
pub trait Kernels<T: Real> {
    /// `y ← y + x wᵀ`: to each element its products are added with the feature index rising.
    fn multiply_transposed<const R: usize, const I: usize, const O: usize>(
        &mut self,
        x: &Rows<T, R, I>,
        w: &Rows<T, O, I>,
        y: &mut Rows<T, R, O>,
    );

    /// `x ← x + y w`: to each element its products are added with `w`'s row index rising.
    fn multiply<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<T, R, O>,
        w: &Rows<T, O, I>,
        x: &mut Rows<T, R, I>,
    );

    /// `w ← w + yᵀ x`: to each element its products are added with the sample index rising.
    fn outer<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<T, R, O>,
        x: &Rows<T, R, I>,
        w: &mut Rows<T, O, I>,
    );

    /// `y ← 0` where `y < 0`; NaN and zeros of either sign stay.
    fn relu(&mut self, y: &mut [T]);

    /// `v ← 0` where not `y > 0`. The slices have one length.
    fn relu_mask(&mut self, y: &[T], v: &mut [T]);

    /// `y ← a x + b y`; a factor of exactly 0 means that its vector is not read.
    fn axpby(&mut self, a: T, x: &[T], b: T, y: &mut [T]);

    /// `x · y`, added up from the first element to the last.
    fn dot(&mut self, x: &[T], y: &[T]) -> T;
}

/// Plain loops, for any processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Portable;

impl<T: Real> Kernels<T> for Portable {
    fn multiply_transposed<const R: usize, const I: usize, const O: usize>(
        &mut self,
        x: &Rows<T, R, I>,
        w: &Rows<T, O, I>,
        y: &mut Rows<T, R, O>,
    ) {
        for (x, y) in x.iter().zip(y) {
            for (w, y) in w.iter().zip(y) {
                let mut sum = *y;
                for (x, w) in x.iter().zip(w) {
                    sum += *x * *w;
                }
                *y = sum;
            }
        }
    }

    fn multiply<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<T, R, O>,
        w: &Rows<T, O, I>,
        x: &mut Rows<T, R, I>,
    ) {
        for (y, x) in y.iter().zip(x) {
            for (y, w) in y.iter().zip(w) {
                accumulate(*y, w, x);
            }
        }
    }

    fn outer<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<T, R, O>,
        x: &Rows<T, R, I>,
        w: &mut Rows<T, O, I>,
    ) {
        for (y, x) in y.iter().zip(x) {
            for (y, w) in y.iter().zip(w.iter_mut()) {
                accumulate(*y, x, w);
            }
        }
    }

    fn relu(&mut self, y: &mut [T]) {
        for y in y {
            // Written so that a NaN passes: a fault must stay visible in the loss.
            if *y < T::BLANK {
                *y = T::BLANK;
            }
        }
    }

    fn relu_mask(&mut self, y: &[T], v: &mut [T]) {
        for (y, v) in y.iter().zip(v) {
            *v = if *y > T::BLANK { *v } else { T::BLANK };
        }
    }

    fn axpby(&mut self, a: T, x: &[T], b: T, y: &mut [T]) {
        let pairs = x.iter().zip(y);
        match (a == T::BLANK, b == T::BLANK) {
            (true, true) => pairs.for_each(|(_, y)| *y = T::BLANK),
            (true, false) => pairs.for_each(|(_, y)| *y = b * *y),
            (false, true) => pairs.for_each(|(x, y)| *y = a * *x),
            (false, false) => pairs.for_each(|(x, y)| *y = a * *x + b * *y),
        }
    }

    fn dot(&mut self, x: &[T], y: &[T]) -> T {
        let mut sum = T::BLANK;
        for (x, y) in x.iter().zip(y) {
            sum += *x * *y;
        }
        sum
    }
}

/// `y ← y + a x`.
fn accumulate<T: Real, const N: usize>(a: T, x: &[T; N], y: &mut [T; N]) {
    for (x, y) in x.iter().zip(y) {
        *y += a * *x;
    }
}
