//! The same arithmetic by a backend's own operations, for devices.
//!
//! Formulas as in [`slice::norm`](super::slice::norm). Generic over the backend, so that a CPU backend
//! can be held against the slice kernels where there is no device.

use bissl_core::AdamCoefficients;
use burn_backend::Backend;
use burn_backend::ops::ConvOptions;
use burn_tensor::{Int, Tensor, TensorPrimitive};

use super::{
    BatchStatistics, ConvShape, NormCotangents, Normalized, Pair, PoolShape, Transpose, read,
};

fn options(s: &ConvShape) -> ConvOptions<2> {
    ConvOptions::new(s.stride, [s.padding; 2], [1, 1], 1)
}

fn primitive<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> B::FloatTensorPrimitive {
    tensor.clone().into_primitive().tensor()
}

fn float<B: Backend, const D: usize>(primitive: B::FloatTensorPrimitive) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The sum of what `f` makes of each term.
fn summed<B: Backend>(
    terms: &[Pair<'_, B>],
    f: impl FnMut(&Pair<'_, B>) -> Tensor<B, 4>,
) -> Tensor<B, 4> {
    terms.iter().map(f).reduce(|a, b| a + b).expect("a sum has a term")
}

/// See [`Kernels::conv`](super::Kernels::conv).
pub fn conv<B: Backend>(s: &ConvShape, terms: &[Pair<'_, B>]) -> Tensor<B, 4> {
    summed(terms, |(x, w)| float(B::conv2d(primitive(x), primitive(w), None, options(s))))
}

/// See [`Kernels::conv_input`](super::Kernels::conv_input).
pub fn conv_input<B: Backend>(s: &ConvShape, terms: &[Pair<'_, B>]) -> Tensor<B, 4> {
    summed(terms, |(w, y_bar)| {
        // The operation reads no more than the shape of its first argument.
        let shape = [s.batch, s.channels_in, s.height, s.width];
        let x = Tensor::<B, 4>::zeros(shape, &y_bar.device());
        float(B::conv2d_x_backward(primitive(&x), primitive(w), primitive(y_bar), options(s)))
    })
}

/// See [`Kernels::conv_weight`](super::Kernels::conv_weight).
pub fn conv_weight<B: Backend>(s: &ConvShape, terms: &[Pair<'_, B>]) -> Tensor<B, 4> {
    summed(terms, |(x, y_bar)| {
        let shape = [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]];
        let w = Tensor::<B, 4>::zeros(shape, &y_bar.device());
        float(B::conv2d_weight_backward(primitive(x), primitive(&w), primitive(y_bar), options(s)))
    })
}

/// `[channels]` to `[1, channels, 1, 1]`.
fn spread<B: Backend>(per_channel: Tensor<B, 1>) -> Tensor<B, 4> {
    let [channels] = per_channel.dims();
    per_channel.reshape([1, channels, 1, 1])
}

/// Sum over batch and pixels: `[channels]`.
fn channel_sum<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 1> {
    let [_, channels, _, _] = x.dims();
    x.sum_dim(0).sum_dim(2).sum_dim(3).reshape([channels])
}

/// Mean over batch and pixels: `[channels]`.
fn channel_mean<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 1> {
    let [batch, _, height, width] = x.dims();
    channel_sum(x) / (batch * height * width) as f64
}

/// See [`Kernels::norm`](super::Kernels::norm).
pub fn norm<B: Backend>(
    x: &Tensor<B, 4>,
    gamma: &Tensor<B, 1>,
    beta: &Tensor<B, 1>,
    eps: f64,
) -> (Tensor<B, 4>, Normalized<B>, BatchStatistics<B>) {
    let mean = channel_mean(x.clone());
    let centred = x.clone() - spread(mean.clone());
    let variance = channel_mean(centred.clone() * centred.clone());
    let inv_std = (variance.clone() + eps).sqrt().recip();
    let normalized = centred * spread(inv_std.clone());
    let y = normalized.clone() * spread(gamma.clone()) + spread(beta.clone());
    (y, Normalized { normalized, inv_std }, BatchStatistics { mean, variance })
}

/// x̂̇, and m = mean(x̂ ẋ).
fn normalized_tangent<B: Backend>(
    saved: &Normalized<B>,
    x_dot: &Tensor<B, 4>,
) -> (Tensor<B, 4>, Tensor<B, 1>) {
    let normalized = saved.normalized.clone();
    let m = channel_mean(normalized.clone() * x_dot.clone());
    let centred = x_dot.clone() - spread(channel_mean(x_dot.clone()));
    ((centred - normalized * spread(m.clone())) * spread(saved.inv_std.clone()), m)
}

/// See [`Kernels::norm_tangent`](super::Kernels::norm_tangent).
pub fn norm_tangent<B: Backend>(
    saved: &Normalized<B>,
    gamma: &Tensor<B, 1>,
    x_dot: &Tensor<B, 4>,
    gamma_dot: &Tensor<B, 1>,
    beta_dot: &Tensor<B, 1>,
) -> Tensor<B, 4> {
    let (normalized_dot, _) = normalized_tangent(saved, x_dot);
    saved.normalized.clone() * spread(gamma_dot.clone())
        + normalized_dot * spread(gamma.clone())
        + spread(beta_dot.clone())
}

/// See [`Kernels::norm_backward`](super::Kernels::norm_backward).
pub fn norm_backward<B: Backend>(
    saved: &Normalized<B>,
    gamma: &Tensor<B, 1>,
    y_bar: &Tensor<B, 4>,
) -> NormCotangents<B> {
    let normalized = saved.normalized.clone();
    let g = y_bar.clone() * spread(gamma.clone());
    let a = spread(channel_mean(g.clone()));
    let b = spread(channel_mean(g.clone() * normalized.clone()));
    let x_bar = (g - a - normalized.clone() * b) * spread(saved.inv_std.clone());
    (x_bar, channel_sum(y_bar.clone() * normalized), channel_sum(y_bar.clone()))
}

/// See [`Kernels::norm_backward_tangent`](super::Kernels::norm_backward_tangent).
pub fn norm_backward_tangent<B: Backend>(
    saved: &Normalized<B>,
    gamma: &Tensor<B, 1>,
    (x_dot, gamma_dot): (&Tensor<B, 4>, &Tensor<B, 1>),
    (y_bar, y_bar_dot): (&Tensor<B, 4>, &Tensor<B, 4>),
) -> NormCotangents<B> {
    let normalized = saved.normalized.clone();
    let (normalized_dot, m) = normalized_tangent(saved, x_dot);
    let inv_std = saved.inv_std.clone();
    let inv_std_dot = inv_std.clone() * inv_std.clone() * m.neg();
    let g = y_bar.clone() * spread(gamma.clone());
    let g_dot =
        y_bar.clone() * spread(gamma_dot.clone()) + y_bar_dot.clone() * spread(gamma.clone());
    let a = spread(channel_mean(g.clone()));
    let b = spread(channel_mean(g.clone() * normalized.clone()));
    let a_dot = spread(channel_mean(g_dot.clone()));
    let b_dot = spread(channel_mean(
        g_dot.clone() * normalized.clone() + g.clone() * normalized_dot.clone(),
    ));
    let x_bar_dot = (g - a - normalized.clone() * b.clone()) * spread(inv_std_dot)
        + (g_dot - a_dot - normalized_dot.clone() * b - normalized.clone() * b_dot)
            * spread(inv_std);
    let gamma_bar_dot =
        channel_sum(y_bar_dot.clone() * normalized + y_bar.clone() * normalized_dot);
    (x_bar_dot, gamma_bar_dot, channel_sum(y_bar_dot.clone()))
}

/// See [`Kernels::rectify`](super::Kernels::rectify).
pub fn rectify<B: Backend>(x: &Tensor<B, 4>) -> Tensor<B, 4> {
    x.clone().clamp_min(0.0)
}

/// See [`Kernels::rectify_mask`](super::Kernels::rectify_mask).
pub fn rectify_mask<B: Backend>(y: &Tensor<B, 4>, t: &Tensor<B, 4>) -> Tensor<B, 4> {
    t.clone().mask_fill(y.clone().lower_equal_elem(0.0), 0.0)
}

/// See [`Kernels::max_pool`](super::Kernels::max_pool).
pub fn max_pool<B: Backend>(s: &PoolShape, x: &Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4, Int>) {
    let found = B::max_pool2d_with_indices(
        primitive(x),
        [s.kernel; 2],
        [s.stride; 2],
        [s.padding; 2],
        [1, 1],
        false,
    );
    (float(found.output), Tensor::from_primitive(found.indices))
}

/// See [`Kernels::max_pool_tangent`](super::Kernels::max_pool_tangent).
pub fn max_pool_tangent<B: Backend>(
    s: &PoolShape,
    x_dot: &Tensor<B, 4>,
    indices: &Tensor<B, 4, Int>,
) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x_dot.dims();
    let (h_out, w_out) = (s.height_out(), s.width_out());
    x_dot
        .clone()
        .reshape([batch, channels, height * width])
        .gather(2, indices.clone().reshape([batch, channels, h_out * w_out]))
        .reshape([batch, channels, h_out, w_out])
}

/// See [`Kernels::max_pool_backward`](super::Kernels::max_pool_backward).
pub fn max_pool_backward<B: Backend>(
    s: &PoolShape,
    y_bar: &Tensor<B, 4>,
    indices: &Tensor<B, 4, Int>,
) -> Tensor<B, 4> {
    let [batch, channels, h_out, w_out] = y_bar.dims();
    let x = Tensor::<B, 4>::zeros([batch, channels, s.height, s.width], &y_bar.device());
    debug_assert_eq!((h_out, w_out), (s.height_out(), s.width_out()));
    let backward = B::max_pool2d_with_indices_backward(
        primitive(&x),
        [s.kernel; 2],
        [s.stride; 2],
        [s.padding; 2],
        [1, 1],
        false,
        primitive(y_bar),
        indices.clone().into_primitive(),
    );
    float(backward.x_grad)
}

/// See [`Kernels::average_pool`](super::Kernels::average_pool).
pub fn average_pool<B: Backend>(x: &Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, channels, height, width] = x.dims();
    x.clone()
        .reshape([batch, channels, height * width])
        .mean_dim(2)
        .reshape([batch, channels, 1, 1])
}

/// See [`Kernels::average_pool_backward`](super::Kernels::average_pool_backward).
pub fn average_pool_backward<B: Backend>(
    y_bar: &Tensor<B, 4>,
    height: usize,
    width: usize,
) -> Tensor<B, 4> {
    let [batch, channels, _, _] = y_bar.dims();
    (y_bar.clone() / (height * width) as f64).expand([batch, channels, height, width])
}

/// See [`Kernels::matmul`](super::Kernels::matmul).
pub fn matmul<B: Backend>(
    a: &Tensor<B, 2>,
    b: &Tensor<B, 2>,
    transpose: Transpose,
) -> Tensor<B, 2> {
    let (a, b) = (a.clone(), b.clone());
    match transpose {
        Transpose::Neither => a.matmul(b),
        Transpose::Left => a.transpose().matmul(b),
        Transpose::Right => a.matmul(b.transpose()),
    }
}

/// See [`Kernels::sum_rows`](super::Kernels::sum_rows).
pub fn sum_rows<B: Backend>(x: &Tensor<B, 2>) -> Tensor<B, 1> {
    let [_, cols] = x.dims();
    x.clone().sum_dim(0).reshape([cols])
}

/// See [`Kernels::axpby`](super::Kernels::axpby).
pub fn axpby<B: Backend>(a: f64, x: &Tensor<B, 1>, b: f64, y: Tensor<B, 1>) -> Tensor<B, 1> {
    match (a == 0.0, b == 0.0) {
        (true, true) => y.zeros_like(),
        (true, false) => y * b,
        (false, true) => x.clone() * a,
        (false, false) => x.clone() * a + y * b,
    }
}

/// See [`Kernels::segment_dots`](super::Kernels::segment_dots): sums on the device, one read.
pub fn segment_dots<B: Backend>(
    pairs: &[(&Tensor<B, 1>, &Tensor<B, 1>)],
    offsets: &[usize],
) -> Vec<f64> {
    let sums: Vec<Tensor<B, 1>> = pairs
        .iter()
        .flat_map(|(x, y)| {
            let product = (*x).clone() * (*y).clone();
            offsets.windows(2).map(move |s| product.clone().slice(s[0]..s[1]).sum())
        })
        .collect();
    read(Tensor::cat(sums, 0))
}

/// See [`Kernels::scale_segments`](super::Kernels::scale_segments).
pub fn scale_segments<B: Backend>(
    x: &Tensor<B, 1>,
    offsets: &[usize],
    scalars: &[f32],
) -> Tensor<B, 1> {
    let parts = offsets
        .windows(2)
        .zip(scalars)
        .map(|(s, scalar)| x.clone().slice(s[0]..s[1]) * f64::from(*scalar));
    Tensor::cat(parts.collect(), 0)
}

/// See [`Kernels::adam`](super::Kernels::adam); the recurrence of [`AdamCoefficients::update`].
pub fn adam<B: Backend>(
    c: &AdamCoefficients,
    gradient: &Tensor<B, 1>,
    parameter: Tensor<B, 1>,
    first: Tensor<B, 1>,
    second: Tensor<B, 1>,
) -> (Tensor<B, 1>, Tensor<B, 1>, Tensor<B, 1>) {
    let g = gradient.clone() * f64::from(c.clip);
    let first = first * f64::from(c.beta1) + g.clone() * f64::from(1.0 - c.beta1);
    let second = second * f64::from(c.beta2) + g.clone() * g * f64::from(1.0 - c.beta2);
    let scale = second.clone().sqrt() * f64::from(c.second_scale) + f64::from(c.epsilon);
    let parameter = parameter * f64::from(c.decay) - first.clone() / scale * f64::from(c.rate);
    (parameter, first, second)
}
