//! Long vectors: dots, linear combinations, elementwise maps.

use rayon::prelude::*;

use super::written::written;
use crate::kernels::Real;

/// Elements of one chunk of a long vector.
const CHUNK: usize = 1 << 15;
/// Independent partial sums of a dot, for the processor's vector registers.
const LANES: usize = 8;

/// Σ aᵢ bᵢ in f64: eight interleaved sums over each chunk, chunks added in order.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    if a.len() <= CHUNK {
        return dot_chunk(a, b);
    }
    let parts: Vec<f64> =
        a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)).map(|(a, b)| dot_chunk(a, b)).collect();
    parts.iter().sum()
}

fn dot_chunk<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a.wide() * b.wide();
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a.wide() * b.wide()).sum();
    lanes.iter().sum::<f64>() + rest
}

/// `y ← a x + b y`; a vector whose factor is exactly 0 is not read.
pub(crate) fn axpby<T: Real>(a: T, x: &[T], b: T, y: &mut [T]) {
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        match (a == T::zero(), b == T::zero()) {
            (true, true) => y.fill(T::zero()),
            (true, false) => y.iter_mut().for_each(|y| *y = b * *y),
            (false, true) => y.iter_mut().zip(x).for_each(|(y, x)| *y = a * *x),
            (false, false) => y.iter_mut().zip(x).for_each(|(y, x)| *y = a * *x + b * *y),
        }
    });
}

/// Applies `f` to every element.
pub(crate) fn map<T: Real>(x: &[T], f: impl Fn(T) -> T + Sync) -> Vec<T> {
    // SAFETY: the chunks cover the output, and those of `x` have the same length.
    unsafe {
        written(x.len(), |y| {
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
                for (y, x) in y.iter_mut().zip(x) {
                    y.write(f(*x));
                }
            });
        })
    }
}

/// Applies `f` to every pair of elements.
///
/// # Panics
/// The slices differ in length.
pub(crate) fn zip<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync) -> Vec<T> {
    assert_eq!(a.len(), b.len(), "elements of the operands");
    // SAFETY: the chunks cover the output, and those of `a` and `b` have the same length.
    unsafe {
        written(a.len(), |y| {
            y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK)).for_each(
                |((y, a), b)| {
                    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
                        y.write(f(*a, *b));
                    }
                },
            );
        })
    }
}
