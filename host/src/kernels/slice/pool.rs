//! Pooling over `[batch, channels, height, width]`.

use rayon::prelude::*;

use crate::kernels::{PoolShape, Real};

/// Max-pool and, for every output, the position of its maximum in the input plane.
///
/// The first of equal maxima wins, in row-major order; a NaN wins over everything.
pub(crate) fn max_forward<T: Real>(s: &PoolShape, x: &[T]) -> (Vec<T>, Vec<u32>) {
    let (h_out, w_out) = (s.height_out(), s.width_out());
    let mut y = vec![T::zero(); s.planes * h_out * w_out];
    let mut indices = vec![0u32; y.len()];
    y.par_chunks_mut(h_out * w_out)
        .zip(indices.par_chunks_mut(h_out * w_out))
        .zip(x.par_chunks(s.height * s.width))
        .for_each(|((y, indices), plane)| {
            for oy in 0..h_out {
                for ox in 0..w_out {
                    let (value, index) = max_at(s, plane, oy, ox);
                    y[oy * w_out + ox] = value;
                    indices[oy * w_out + ox] = index;
                }
            }
        });
    (y, indices)
}

fn max_at<T: Real>(s: &PoolShape, plane: &[T], oy: usize, ox: usize) -> (T, u32) {
    let span = |o: usize, size: usize| {
        let start = (o * s.stride).saturating_sub(s.padding);
        let end = (o * s.stride + s.kernel).saturating_sub(s.padding).min(size);
        start..end
    };
    let mut best: Option<(T, u32)> = None;
    for iy in span(oy, s.height) {
        for ix in span(ox, s.width) {
            let index = iy * s.width + ix;
            let value = plane[index];
            let wins = best.is_none_or(|(top, _)| value > top || (value.is_nan() && !top.is_nan()));
            if wins {
                best = Some((value, index as u32));
            }
        }
    }
    best.expect("every window overlaps the image: padding is less than the kernel")
}

/// `y[o] = x[indices[o]]` in every plane: the tangent of max-pool.
pub(crate) fn gather<T: Real>(s: &PoolShape, x: &[T], indices: &[u32]) -> Vec<T> {
    let out = s.height_out() * s.width_out();
    let mut y = vec![T::zero(); s.planes * out];
    y.par_chunks_mut(out)
        .zip(indices.par_chunks(out))
        .zip(x.par_chunks(s.height * s.width))
        .for_each(|((y, indices), plane)| {
            for (y, index) in y.iter_mut().zip(indices) {
                *y = plane[*index as usize];
            }
        });
    y
}

/// `dx[indices[o]] += dy[o]` in every plane: the adjoint of [`gather`].
pub(crate) fn scatter<T: Real>(s: &PoolShape, dy: &[T], indices: &[u32]) -> Vec<T> {
    let out = s.height_out() * s.width_out();
    let mut dx = vec![T::zero(); s.planes * s.height * s.width];
    dx.par_chunks_mut(s.height * s.width)
        .zip(indices.par_chunks(out))
        .zip(dy.par_chunks(out))
        .for_each(|((plane, indices), dy)| {
            for (dy, index) in dy.iter().zip(indices) {
                let to = &mut plane[*index as usize];
                *to = *to + *dy;
            }
        });
    dx
}

/// Mean of every plane.
pub(crate) fn mean<T: Real>(plane_len: usize, x: &[T]) -> Vec<T> {
    let scale = T::of(1.0 / plane_len as f64);
    x.par_chunks(plane_len)
        .map(|plane| T::of(plane.iter().map(|v| v.wide()).sum::<f64>()) * scale)
        .collect()
}

/// Spreads one value over every plane, divided by its size: the adjoint of [`mean`].
pub(crate) fn spread<T: Real>(plane_len: usize, dy: &[T]) -> Vec<T> {
    let scale = T::of(1.0 / plane_len as f64);
    let mut dx = vec![T::zero(); dy.len() * plane_len];
    dx.par_chunks_mut(plane_len).zip(dy.par_iter()).for_each(|(plane, dy)| plane.fill(*dy * scale));
    dx
}
