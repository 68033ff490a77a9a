//! The arithmetic on big arrays: what a port to an accelerator replaces.

mod blocked;
mod compact;
mod matrix;
mod tile;

pub use blocked::Blocked;
pub use compact::Compact;
pub use matrix::{Matrix, MatrixMut};

use crate::Real;

/// Matrix products and elementwise operations.
///
/// *The order of every sum is part of the contract*: a port that sums in another order computes
/// other bits, and its state hash no longer equals that of the other devices. Each method states
/// its order. No multiplication is fused with an addition. Matrices of sizes that do not fit are
/// the caller's mistake; the part that fits is computed.
pub trait Kernels<T: Real> {
    /// `y ← y + x wᵀ`: the terms of each element are added in rising order of the column index of x
    /// and w.
    fn multiply_transposed(&mut self, x: Matrix<'_, T>, w: Matrix<'_, T>, y: MatrixMut<'_, T>);

    /// `x ← x + y w`: the terms of each element are added row of x by row of x, and within a row in
    /// rising order of w's row index. Rows of x may overlap.
    fn multiply(&mut self, y: Matrix<'_, T>, w: Matrix<'_, T>, x: MatrixMut<'_, T>);

    /// `w ← w + yᵀ x`: the terms of each element are added in rising order of the row index of y
    /// and x.
    fn outer(&mut self, y: Matrix<'_, T>, x: Matrix<'_, T>, w: MatrixMut<'_, T>);

    /// `y ← 0` where `y < 0`; NaN and zeros of either sign are kept.
    fn relu(&mut self, y: &mut [T]) {
        for y in y {
            // Written so that a NaN passes: a fault must stay visible in the loss.
            if *y < T::BLANK {
                *y = T::BLANK;
            }
        }
    }

    /// `v ← 0` unless `y > 0`. The slices have one length.
    fn relu_mask(&mut self, y: &[T], v: &mut [T]) {
        for (y, v) in y.iter().zip(v) {
            *v = if *y > T::BLANK { *v } else { T::BLANK };
        }
    }

    /// `y ← a x + b y`; a vector whose factor is exactly 0 is not read.
    fn axpby(&mut self, a: T, x: &[T], b: T, y: &mut [T]) {
        let pairs = x.iter().zip(y);
        match (a == T::BLANK, b == T::BLANK) {
            (true, true) => pairs.for_each(|(_, y)| *y = T::BLANK),
            (true, false) => pairs.for_each(|(_, y)| *y = b * *y),
            (false, true) => pairs.for_each(|(x, y)| *y = a * *x),
            (false, false) => pairs.for_each(|(x, y)| *y = a * *x + b * *y),
        }
    }

    /// `x · y`, summed from the first element to the last.
    fn dot(&mut self, x: &[T], y: &[T]) -> T {
        let mut sum = T::BLANK;
        for (x, y) in x.iter().zip(y) {
            sum += *x * *y;
        }
        sum
    }
}
