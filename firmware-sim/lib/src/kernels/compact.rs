//! Plain loops, for devices with little flash.

use super::{Kernels, Matrix, MatrixMut};
use crate::Real;

/// The shortest code: one product at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compact;

impl<T: Real> Kernels<T> for Compact {
    fn multiply_transposed(&mut self, x: Matrix<'_, T>, w: Matrix<'_, T>, mut y: MatrixMut<'_, T>) {
        for r in 0..y.rows() {
            let (Some(x), Some(y)) = (x.row(r), y.row(r)) else { return };
            for (o, y) in y.iter_mut().enumerate() {
                let Some(w) = w.row(o) else { return };
                let mut sum = *y;
                for (x, w) in x.iter().zip(w) {
                    sum += *x * *w;
                }
                *y = sum;
            }
        }
    }

    fn multiply(&mut self, y: Matrix<'_, T>, w: Matrix<'_, T>, mut x: MatrixMut<'_, T>) {
        for r in 0..y.rows() {
            let (Some(y), Some(x)) = (y.row(r), x.row(r)) else { return };
            for (o, y) in y.iter().enumerate() {
                let Some(w) = w.row(o) else { return };
                accumulate(*y, w, x);
            }
        }
    }

    fn outer(&mut self, y: Matrix<'_, T>, x: Matrix<'_, T>, mut w: MatrixMut<'_, T>) {
        for r in 0..y.rows() {
            let (Some(y), Some(x)) = (y.row(r), x.row(r)) else { return };
            for (o, y) in y.iter().enumerate() {
                let Some(w) = w.row(o) else { return };
                accumulate(*y, x, w);
            }
        }
    }
}

/// `y ← y + a x`.
fn accumulate<T: Real>(a: T, x: &[T], y: &mut [T]) {
    for (x, y) in x.iter().zip(y) {
        *y += a * *x;
    }
}
