//! The linear maps of one layer and their transposes; `sequence` applies the activations.

use super::geometry::{Part, products};
use crate::kernels::{Matrix, MatrixMut};
use crate::model::Layer;
use crate::{Kernels, Real};

fn matrix<T>(data: &[T], part: Part) -> Option<Matrix<'_, T>> {
    Some(Matrix::new(data.get(part.start..)?, part.rows, part.columns, part.stride))
}

fn matrix_mut<T>(data: &mut [T], part: Part) -> Option<MatrixMut<'_, T>> {
    let data = data.get_mut(part.start..)?;
    Some(MatrixMut::new(data, part.rows, part.columns, part.stride))
}

/// Sets every position of every sample to the bias, or to 0 without one.
pub(super) fn fill<T: Real>(bias: Option<&[T]>, y: &mut [T]) {
    y.fill(T::BLANK);
    let Some(bias) = bias.filter(|bias| !bias.is_empty()) else { return };
    for position in y.chunks_mut(at_least_one(bias.len())) {
        for (value, bias) in position.iter_mut().zip(bias) {
            *value = *bias;
        }
    }
}

/// `b ← b + Σ over positions`.
pub(super) fn sum_positions<T: Real>(y: &[T], bias: &mut [T]) {
    for position in y.chunks(at_least_one(bias.len())) {
        for (bias, value) in bias.iter_mut().zip(position) {
            *bias += *value;
        }
    }
}

/// Tells the compiler that a chunk is never empty.
#[inline(always)]
pub(crate) fn at_least_one(count: usize) -> usize {
    if count == 0 { 1 } else { count }
}

/// `y ← y + f(x, W)`: the linear map without bias.
pub(super) fn apply<T: Real, K: Kernels<T>>(
    kernels: &mut K,
    layer: &Layer,
    rows: usize,
    w: &[T],
    x: &[T],
    y: &mut [T],
) -> Option<()> {
    if let Layer::AveragePool { channels, positions } = layer {
        mean(usize::from(*channels), usize::from(*positions), x, y);
        return Some(());
    }
    products(layer, rows, &mut |part| {
        let y = matrix_mut(y, part.y)?;
        kernels.multiply_transposed(matrix(x, part.x)?, matrix(w, part.w)?, y);
        Some(())
    })
}

/// `x ← x + f_xᵀ y`.
pub(super) fn apply_transposed<T: Real, K: Kernels<T>>(
    kernels: &mut K,
    layer: &Layer,
    rows: usize,
    w: &[T],
    y: &[T],
    x: &mut [T],
) -> Option<()> {
    if let Layer::AveragePool { channels, positions } = layer {
        spread(usize::from(*channels), usize::from(*positions), y, x);
        return Some(());
    }
    products(layer, rows, &mut |part| {
        let x = matrix_mut(x, part.x)?;
        kernels.multiply(matrix(y, part.y)?, matrix(w, part.w)?, x);
        Some(())
    })
}

/// `W ← W + f_Wᵀ y`.
pub(super) fn weight_gradient<T: Real, K: Kernels<T>>(
    kernels: &mut K,
    layer: &Layer,
    rows: usize,
    y: &[T],
    x: &[T],
    w: &mut [T],
) -> Option<()> {
    products(layer, rows, &mut |part| {
        let w = matrix_mut(w, part.w)?;
        kernels.outer(matrix(y, part.y)?, matrix(x, part.x)?, w);
        Some(())
    })
}

/// `y ← y + mean over positions`.
fn mean<T: Real>(channels: usize, positions: usize, x: &[T], y: &mut [T]) {
    let count = T::from_f32(positions as f32);
    let samples = x.chunks(at_least_one(channels * positions));
    for (x, y) in samples.zip(y.chunks_mut(at_least_one(channels))) {
        for (channel, y) in y.iter_mut().enumerate() {
            let mut sum = T::BLANK;
            for position in x.chunks(at_least_one(channels)) {
                sum += position.get(channel).copied().unwrap_or(T::BLANK);
            }
            *y += sum / count;
        }
    }
}

/// `x ← x + y/positions` at every position.
fn spread<T: Real>(channels: usize, positions: usize, y: &[T], x: &mut [T]) {
    let count = T::from_f32(positions as f32);
    let samples = x.chunks_mut(at_least_one(channels * positions));
    for (x, y) in samples.zip(y.chunks(at_least_one(channels))) {
        for position in x.chunks_mut(at_least_one(channels)) {
            for (x, y) in position.iter_mut().zip(y) {
                *x += *y / count;
            }
        }
    }
}
