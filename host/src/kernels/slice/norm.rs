//! Batch normalisation over `[batch, channels, pixels]` with batch statistics, in four passes.
//!
//! x̂ = s (x − μ), s = 1/√(σ² + ε), y = γ x̂ + β. With a bar for cotangents and a dot for tangents,
//! ĝ = γ ȳ and means over batch and pixels of a channel:
//!
//! - tangent: x̂̇ = s (ẋ − mean ẋ − x̂ m), m = mean(x̂ ẋ), ṡ = −s² m; ẏ = γ̇ x̂ + γ x̂̇ + β̇
//! - backward: x̄ = s (ĝ − a − x̂ b), a = mean ĝ, b = mean(ĝ x̂); γ̄ = Σ ȳ x̂, β̄ = Σ ȳ
//! - its tangent: x̄̇ = ṡ (ĝ − a − x̂ b) + s (ĝ̇ − ȧ − x̂̇ b − x̂ ḃ),
//!   ĝ̇ = γ̇ ȳ + γ ȳ̇, ȧ = mean ĝ̇, ḃ = mean(ĝ̇ x̂ + ĝ x̂̇); γ̄̇ = Σ (ȳ̇ x̂ + ȳ x̂̇), β̄̇ = Σ ȳ̇

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::written::written;
use crate::kernels::Real;

/// Shape of one batch norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormShape {
    /// Images.
    pub(crate) batch: usize,
    /// Channels.
    pub(crate) channels: usize,
    /// Pixels of a plane.
    pub(crate) pixels: usize,
}

impl NormShape {
    fn image(&self) -> usize {
        self.channels * self.pixels
    }

    fn count(&self) -> f64 {
        (self.batch * self.pixels) as f64
    }

    /// `f(channel)` for all channels, in parallel.
    fn per_channel<R: Send>(&self, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
        (0..self.channels).into_par_iter().map(f).collect()
    }

    /// Sums over a channel of `N` functions of the corresponding elements of `M` arrays.
    fn sums<T: Real, const M: usize, const N: usize>(
        &self,
        channel: usize,
        arrays: [&[T]; M],
        f: impl Fn([T; M]) -> [T; N],
    ) -> [f64; N] {
        let mut total = [0.0f64; N];
        for n in 0..self.batch {
            let start = n * self.image() + channel * self.pixels;
            let planes = arrays.map(|array| &array[start..start + self.pixels]);
            for (total, part) in total.iter_mut().zip(plane_sums(planes, &f)) {
                *total += part;
            }
        }
        total
    }

    /// Fills an output of this shape with `f(channel, corresponding elements of M arrays)`.
    fn fill<T: Real, C: Copy + Send + Sync, const M: usize>(
        &self,
        coefficients: &[C],
        arrays: [&[T]; M],
        f: impl Fn(C, [T; M]) -> T + Sync + Send,
    ) -> Vec<T> {
        assert_eq!(coefficients.len(), self.channels, "coefficients of each channel");
        let images = |(n, image): (usize, &mut [MaybeUninit<T>])| {
            let planes = image.chunks_exact_mut(self.pixels).zip(coefficients).enumerate();
            for (channel, (plane, coefficient)) in planes {
                let start = n * self.image() + channel * self.pixels;
                let inputs = arrays.map(|array| &array[start..start + self.pixels]);
                fill_plane(plane, inputs, &|inputs| f(*coefficient, inputs));
            }
        };
        // SAFETY: the images cover the output, the planes of all channels cover an image, and
        // `fill_plane` writes a whole plane.
        unsafe {
            written(self.batch * self.image(), |out| {
                out.par_chunks_exact_mut(self.image()).enumerate().for_each(images);
            })
        }
    }
}

/// Elements that are handled together, for the processor's vector registers.
const LANES: usize = 8;

/// Applies `f` to the elements at every position of a plane.
fn fill_plane<T: Real, const M: usize>(
    plane: &mut [MaybeUninit<T>],
    inputs: [&[T]; M],
    f: &impl Fn([T; M]) -> T,
) {
    let (blocks, rest) = plane.as_chunks_mut::<LANES>();
    let sources = inputs.map(|input| input.as_chunks::<LANES>());
    for (index, block) in blocks.iter_mut().enumerate() {
        // One bounds check for each block instead of each element: the loop below becomes vector
        // code.
        let values = sources.map(|(blocks, _)| blocks[index]);
        for (lane, to) in block.iter_mut().enumerate() {
            to.write(f(values.map(|values| values[lane])));
        }
    }
    for (index, to) in rest.iter_mut().enumerate() {
        to.write(f(sources.map(|(_, rest)| rest[index])));
    }
}

/// Sums over one plane: blocks of lanes are summed in `T`, then the lanes in f64.
fn plane_sums<T: Real, const M: usize, const N: usize>(
    planes: [&[T]; M],
    f: &impl Fn([T; M]) -> [T; N],
) -> [f64; N] {
    let mut lanes = [[T::zero(); LANES]; N];
    let sources = planes.map(|plane| plane.as_chunks::<LANES>());
    let [(blocks, rest), ..] = &sources[..] else { return [0.0; N] };
    for index in 0..blocks.len() {
        let values = sources.map(|(blocks, _)| blocks[index]);
        for lane in 0..LANES {
            let terms = f(values.map(|values| values[lane]));
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] = lanes[lane] + term;
            }
        }
    }
    let mut total = lanes.map(|lanes| lanes.iter().map(|v| v.wide()).sum::<f64>());
    for index in 0..rest.len() {
        let terms = f(sources.map(|(_, rest)| rest[index]));
        for (total, term) in total.iter_mut().zip(terms) {
            *total += term.wide();
        }
    }
    total
}

/// Result of [`forward`].
#[derive(Debug)]
pub(crate) struct Forward<T> {
    /// γ x̂ + β.
    pub(crate) y: Vec<T>,
    /// x̂.
    pub(crate) normalized: Vec<T>,
    /// s, per channel.
    pub(crate) inv_std: Vec<T>,
    /// μ, per channel.
    pub(crate) mean: Vec<T>,
    /// σ² (biased), per channel.
    pub(crate) variance: Vec<T>,
}

/// Normalises by batch statistics.
pub(crate) fn forward<T: Real>(
    s: &NormShape,
    x: &[T],
    gamma: &[T],
    beta: &[T],
    eps: f64,
) -> Forward<T> {
    let count = s.count();
    let statistics = s.per_channel(|c| {
        // Two passes: the one-pass formula loses digits when the mean is large.
        let [sum] = s.sums(c, [x], |[x]| [x]);
        let mean = T::of(sum / count);
        let [square] = s.sums(c, [x], |[x]| [(x - mean) * (x - mean)]);
        let variance = square / count;
        (mean, T::of(variance), T::of(1.0 / (variance + eps).sqrt()))
    });
    let affine: Vec<(T, T)> = statistics.iter().map(|(mean, _, inv)| (*mean, *inv)).collect();
    let normalized = s.fill(&affine, [x], |(mean, inv), [x]| (x - mean) * inv);
    let affine: Vec<(T, T)> = gamma.iter().copied().zip(beta.iter().copied()).collect();
    let y = s.fill(&affine, [&normalized], |(gamma, beta), [xh]| gamma * xh + beta);
    Forward {
        y,
        normalized,
        inv_std: statistics.iter().map(|s| s.2).collect(),
        mean: statistics.iter().map(|s| s.0).collect(),
        variance: statistics.iter().map(|s| s.1).collect(),
    }
}

/// γ, and what [`forward`] saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a, T> {
    /// γ.
    pub(crate) gamma: &'a [T],
    /// x̂.
    pub(crate) normalized: &'a [T],
    /// s.
    pub(crate) inv_std: &'a [T],
}

/// ẏ from ẋ, γ̇, β̇.
pub(crate) fn tangent<T: Real>(
    s: &NormShape,
    saved: Saved<'_, T>,
    x_dot: &[T],
    gamma_dot: &[T],
    beta_dot: &[T],
) -> Vec<T> {
    let count = s.count();
    let coefficients = s.per_channel(|c| {
        let [sum, cross] = s.sums(c, [x_dot, saved.normalized], |[d, xh]| [d, d * xh]);
        let scale = saved.gamma[c] * saved.inv_std[c];
        // ẏ = scale ẋ + (γ̇ − scale·m) x̂ + (β̇ − scale·mean ẋ)
        let (mean, m) = (T::of(sum / count), T::of(cross / count));
        (scale, gamma_dot[c] - scale * m, beta_dot[c] - scale * mean)
    });
    s.fill(&coefficients, [x_dot, saved.normalized], |(p, q, r), [d, xh]| p * d + q * xh + r)
}

/// (x̄, γ̄, β̄) from ȳ.
pub(crate) fn backward<T: Real>(
    s: &NormShape,
    saved: Saved<'_, T>,
    y_bar: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let count = s.count();
    let sums = s.per_channel(|c| s.sums(c, [y_bar, saved.normalized], |[g, xh]| [g, g * xh]));
    let coefficients: Vec<(T, T, T)> = sums
        .iter()
        .enumerate()
        .map(|(c, [sum, cross])| {
            let scale = saved.gamma[c] * saved.inv_std[c];
            (scale, scale * T::of(cross / count), scale * T::of(sum / count))
        })
        .collect();
    let x_bar =
        s.fill(&coefficients, [y_bar, saved.normalized], |(p, q, r), [g, xh]| p * g - q * xh - r);
    let gamma_bar = sums.iter().map(|[_, cross]| T::of(*cross)).collect();
    let beta_bar = sums.iter().map(|[sum, _]| T::of(*sum)).collect();
    (x_bar, gamma_bar, beta_bar)
}

/// (x̄̇, γ̄̇, β̄̇) from ẋ, γ̇, ȳ, ȳ̇.
pub(crate) fn backward_tangent<T: Real>(
    s: &NormShape,
    saved: Saved<'_, T>,
    x_dot: &[T],
    gamma_dot: &[T],
    y_bar: &[T],
    y_bar_dot: &[T],
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let count = s.count();
    let xh = saved.normalized;
    let channels = s.per_channel(|c| {
        let first = s.sums(c, [x_dot, xh, y_bar, y_bar_dot], |[d, xh, g, h]| {
            [d, d * xh, g, g * xh, h, h * xh, g * d]
        });
        let [sum_d, sum_dx, sum_g, sum_gx, sum_h, sum_hx, sum_gd] = first;
        let (gamma, gamma_dot) = (saved.gamma[c].wide(), gamma_dot[c].wide());
        let inv = saved.inv_std[c].wide();
        let (mean, m) = (sum_d / count, sum_dx / count);
        // Σ ȳ x̂̇ with x̂̇ = s (ẋ − mean − x̂ m)
        let sum_g_xhdot = inv * (sum_gd - mean * sum_g - m * sum_gx);
        let (a, b) = (gamma * sum_g / count, gamma * sum_gx / count);
        let a_dot = (gamma_dot * sum_g + gamma * sum_h) / count;
        let b_dot = (gamma_dot * sum_gx + gamma * sum_hx + gamma * sum_g_xhdot) / count;
        let inv_dot = -inv * inv * m;
        // x̄̇ = k_g ȳ + k_h ȳ̇ + k_d ẋ + k_x x̂ + k_1, collecting the terms of the formula above.
        let k_g = inv_dot * gamma + inv * gamma_dot;
        let k_h = inv * gamma;
        let k_d = -inv * inv * b;
        let k_x = -inv_dot * b + inv * inv * b * m - inv * b_dot;
        let k_1 = -inv_dot * a - inv * a_dot + inv * inv * b * mean;
        let coefficients = [k_g, k_h, k_d, k_x, k_1].map(T::of);
        (coefficients, T::of(sum_hx + sum_g_xhdot), T::of(sum_h))
    });
    let coefficients: Vec<[T; 5]> = channels.iter().map(|c| c.0).collect();
    let x_bar_dot = s.fill(
        &coefficients,
        [y_bar, y_bar_dot, x_dot, xh],
        |[k_g, k_h, k_d, k_x, k_1], [g, h, d, xh]| k_g * g + k_h * h + k_d * d + k_x * xh + k_1,
    );
    let gamma_bar_dot = channels.iter().map(|c| c.1).collect();
    let beta_bar_dot = channels.iter().map(|c| c.2).collect();
    (x_bar_dot, gamma_bar_dot, beta_bar_dot)
}
