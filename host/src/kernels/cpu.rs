//! [`Kernels`](super::Kernels) of the CPU backends, on the slice kernels.

use std::ops::Deref;

use bissl_core::AdamCoefficients;
use burn_backend::{Backend, TensorData};
use burn_tensor::Tensor;

use super::{ConvShape, Pair, Real};

/// A backend whose tensors are memory of this process.
pub(super) trait HostMemory: Backend<FloatElem: Real> {
    /// Something that lends a tensor's elements, row-major.
    type View: Deref<Target = [Self::FloatElem]>;

    /// The elements of a tensor, without a copy if the backend allows it.
    fn view<const D: usize>(tensor: &Tensor<Self, D>) -> Self::View;

    /// Changes the elements of a tensor, in place if it is not shared.
    fn update(tensor: Tensor<Self, 1>, f: impl FnOnce(&mut [Self::FloatElem])) -> Tensor<Self, 1>;
}

/// A tensor made of `data`.
pub(super) fn tensor<B: Backend<FloatElem: Real>, const D: usize>(
    data: Vec<B::FloatElem>,
    shape: [usize; D],
) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(data, shape), &B::Device::default())
}

/// `[channels_out, channels_in, kernel height, kernel width]`.
pub(super) fn weight_shape(s: &ConvShape) -> [usize; 4] {
    [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]]
}

/// Calls `f` with the elements of every term's operands.
pub(super) fn with_slices<B: HostMemory, R>(
    terms: &[Pair<'_, B>],
    f: impl FnOnce(&[(&[B::FloatElem], &[B::FloatElem])]) -> R,
) -> R {
    let views: Vec<_> = terms.iter().map(|(a, b)| (B::view(a), B::view(b))).collect();
    f(&views.iter().map(|(a, b)| (&**a, &**b)).collect::<Vec<_>>())
}

/// See [`Kernels::scale_segments`](super::Kernels::scale_segments); uses Burn's operations.
pub(super) fn scale_segments<B: Backend>(
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
pub(super) fn adam<B: Backend>(
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

/// Implements [`Kernels`](super::Kernels) for a backend that is [`HostMemory`].
///
/// This is a macro and not a blanket implementation, which would collide with those of the devices.
macro_rules! impl_kernels_on_slices {
    ($backend:ty) => {
        impl $crate::kernels::Kernels for $backend {
            type Indices = std::sync::Arc<Vec<u32>>;

            const ON_HOST: bool = true;

            fn conv(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
                let describe = || (s.to_string(), terms.len() as u64 * s.multiply_accumulates());
                $crate::kernels::profile::timed("conv", describe, || {
                    let out = with_slices(terms, |terms| slice::conv::forward(s, terms));
                    tensor(out, s.output())
                })
            }

            fn conv_input(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
                let describe = || (s.to_string(), terms.len() as u64 * s.multiply_accumulates());
                $crate::kernels::profile::timed("conv_input", describe, || {
                    let out = with_slices(terms, |terms| slice::conv::input_gradient(s, terms));
                    tensor(out, [s.batch, s.channels_in, s.height, s.width])
                })
            }

            fn conv_weight(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
                let describe = || (s.to_string(), terms.len() as u64 * s.multiply_accumulates());
                $crate::kernels::profile::timed("conv_weight", describe, || {
                    let out = with_slices(terms, |terms| slice::conv::weight_gradient(s, terms));
                    tensor(out, weight_shape(s))
                })
            }

            fn norm(
                x: &Tensor<Self, 4>,
                gamma: &Tensor<Self, 1>,
                beta: &Tensor<Self, 1>,
                eps: f64,
            ) -> (Tensor<Self, 4>, Normalized<Self>, BatchStatistics<Self>) {
                $crate::kernels::profile::timed("norm", Default::default, || {
                    let (shape, dims) = (norm_shape(x), x.dims());
                    let views = (Self::view(x), Self::view(gamma), Self::view(beta));
                    let out = slice::norm::forward(&shape, &views.0, &views.1, &views.2, eps);
                    let channels = [shape.channels];
                    (
                        tensor(out.y, dims),
                        Normalized {
                            normalized: tensor(out.normalized, dims),
                            inv_std: tensor(out.inv_std, channels),
                        },
                        BatchStatistics {
                            mean: tensor(out.mean, channels),
                            variance: tensor(out.variance, channels),
                        },
                    )
                })
            }

            fn norm_tangent(
                saved: &Normalized<Self>,
                gamma: &Tensor<Self, 1>,
                x_dot: &Tensor<Self, 4>,
                gamma_dot: &Tensor<Self, 1>,
                beta_dot: &Tensor<Self, 1>,
            ) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("norm_tangent", Default::default, || {
                    let views = SavedViews::new(saved, gamma);
                    let y_dot = slice::norm::tangent(
                        &norm_shape(x_dot),
                        views.saved(),
                        &Self::view(x_dot),
                        &Self::view(gamma_dot),
                        &Self::view(beta_dot),
                    );
                    tensor(y_dot, x_dot.dims())
                })
            }

            fn norm_backward(
                saved: &Normalized<Self>,
                gamma: &Tensor<Self, 1>,
                y_bar: &Tensor<Self, 4>,
            ) -> NormCotangents<Self> {
                $crate::kernels::profile::timed("norm_backward", Default::default, || {
                    let (shape, views) = (norm_shape(y_bar), SavedViews::new(saved, gamma));
                    let (x, g, b) =
                        slice::norm::backward(&shape, views.saved(), &Self::view(y_bar));
                    (
                        tensor(x, y_bar.dims()),
                        tensor(g, [shape.channels]),
                        tensor(b, [shape.channels]),
                    )
                })
            }

            fn norm_backward_tangent(
                saved: &Normalized<Self>,
                gamma: &Tensor<Self, 1>,
                (x_dot, gamma_dot): (&Tensor<Self, 4>, &Tensor<Self, 1>),
                (y_bar, y_bar_dot): (&Tensor<Self, 4>, &Tensor<Self, 4>),
            ) -> NormCotangents<Self> {
                $crate::kernels::profile::timed("norm_backward_tangent", Default::default, || {
                    let (shape, views) = (norm_shape(y_bar), SavedViews::new(saved, gamma));
                    let (x, g, b) = slice::norm::backward_tangent(
                        &shape,
                        views.saved(),
                        &Self::view(x_dot),
                        &Self::view(gamma_dot),
                        &Self::view(y_bar),
                        &Self::view(y_bar_dot),
                    );
                    (
                        tensor(x, y_bar.dims()),
                        tensor(g, [shape.channels]),
                        tensor(b, [shape.channels]),
                    )
                })
            }

            fn rectify(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("rectify", Default::default, || {
                    let zero = <Self as BackendTypes>::FloatElem::default();
                    // Not `x > 0`, which would hide a NaN.
                    let y =
                        slice::vector::map(&Self::view(x), |x| if x <= zero { zero } else { x });
                    tensor(y, x.dims())
                })
            }

            fn rectify_mask(y: &Tensor<Self, 4>, t: &Tensor<Self, 4>) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("rectify_mask", Default::default, || {
                    let zero = <Self as BackendTypes>::FloatElem::default();
                    let masked = slice::vector::zip(&Self::view(y), &Self::view(t), |y, t| {
                        if y <= zero { zero } else { t }
                    });
                    tensor(masked, t.dims())
                })
            }

            fn max_pool(s: &PoolShape, x: &Tensor<Self, 4>) -> (Tensor<Self, 4>, Self::Indices) {
                $crate::kernels::profile::timed("max_pool", Default::default, || {
                    let (y, indices) = slice::pool::max_forward(s, &Self::view(x));
                    let [batch, channels, _, _] = x.dims();
                    let shape = [batch, channels, s.height_out(), s.width_out()];
                    (tensor(y, shape), std::sync::Arc::new(indices))
                })
            }

            fn max_pool_tangent(
                s: &PoolShape,
                x_dot: &Tensor<Self, 4>,
                indices: &Self::Indices,
            ) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("max_pool_tangent", Default::default, || {
                    let [batch, channels, _, _] = x_dot.dims();
                    let shape = [batch, channels, s.height_out(), s.width_out()];
                    tensor(slice::pool::gather(s, &Self::view(x_dot), indices), shape)
                })
            }

            fn max_pool_backward(
                s: &PoolShape,
                y_bar: &Tensor<Self, 4>,
                indices: &Self::Indices,
            ) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("max_pool_backward", Default::default, || {
                    let [batch, channels, _, _] = y_bar.dims();
                    let shape = [batch, channels, s.height, s.width];
                    tensor(slice::pool::scatter(s, &Self::view(y_bar), indices), shape)
                })
            }

            fn average_pool(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("average_pool", Default::default, || {
                    let [batch, channels, height, width] = x.dims();
                    let y = slice::pool::mean(height * width, &Self::view(x));
                    tensor(y, [batch, channels, 1, 1])
                })
            }

            fn average_pool_backward(
                y_bar: &Tensor<Self, 4>,
                height: usize,
                width: usize,
            ) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("average_pool_backward", Default::default, || {
                    let [batch, channels, _, _] = y_bar.dims();
                    let x_bar = slice::pool::spread(height * width, &Self::view(y_bar));
                    tensor(x_bar, [batch, channels, height, width])
                })
            }

            fn matmul(
                a: &Tensor<Self, 2>,
                b: &Tensor<Self, 2>,
                transpose: Transpose,
                precision: $crate::kernels::Precision,
            ) -> Tensor<Self, 2> {
                debug_assert_eq!(precision.dropped_bits(), 0, "a CPU multiplies in full");
                $crate::kernels::profile::timed("matmul", Default::default, || {
                    use slice::gemm::{Into, Layout, gemm};
                    let dense = |t: &Tensor<Self, 2>| Layout::dense(t.dims()[0], t.dims()[1]);
                    let (mut left, mut right) = (dense(a), dense(b));
                    match transpose {
                        Transpose::Neither => {}
                        Transpose::Left => left = left.transposed(),
                        Transpose::Right => right = right.transposed(),
                    }
                    let shape = [left.rows, right.cols];
                    let zero = <Self as BackendTypes>::FloatElem::default();
                    let mut out = vec![zero; shape[0] * shape[1]];
                    let (a, b) = (Self::view(a), Self::view(b));
                    let layout = Layout::dense(shape[0], shape[1]);
                    gemm((&mut out, layout), (&a, left), (&b, right), Into::Overwrite);
                    tensor(out, shape)
                })
            }

            fn sum_rows(x: &Tensor<Self, 2>) -> Tensor<Self, 1> {
                $crate::kernels::profile::timed("sum_rows", Default::default, || {
                    let [_, cols] = x.dims();
                    let mut sums = vec![0.0f64; cols];
                    for row in Self::view(x).chunks_exact(cols) {
                        for (sum, value) in sums.iter_mut().zip(row) {
                            *sum += value.wide();
                        }
                    }
                    tensor(sums.into_iter().map(Real::of).collect(), [cols])
                })
            }

            fn add(a: Tensor<Self, 4>, b: &Tensor<Self, 4>) -> Tensor<Self, 4> {
                $crate::kernels::profile::timed("add", Default::default, || {
                    let sum = slice::vector::zip(&Self::view(&a), &Self::view(b), |a, b| a + b);
                    tensor(sum, a.dims())
                })
            }

            fn axpby(a: f64, x: &Tensor<Self, 1>, b: f64, y: Tensor<Self, 1>) -> Tensor<Self, 1> {
                $crate::kernels::profile::timed("axpby", Default::default, || {
                    let x = Self::view(x);
                    Self::update(y, |y| slice::vector::axpby(Real::of(a), &x, Real::of(b), y))
                })
            }

            fn segment_dots(
                pairs: &[(&Tensor<Self, 1>, &Tensor<Self, 1>)],
                offsets: &[usize],
            ) -> Vec<f64> {
                $crate::kernels::profile::timed("segment_dots", Default::default, || {
                    let mut dots = Vec::with_capacity(pairs.len() * offsets.len());
                    for (x, y) in pairs {
                        let (x, y) = (Self::view(x), Self::view(y));
                        for segment in offsets.windows(2) {
                            let range = segment[0]..segment[1];
                            dots.push(slice::vector::dot(&x[range.clone()], &y[range]));
                        }
                    }
                    dots
                })
            }

            fn scale_segments(
                x: &Tensor<Self, 1>,
                offsets: &[usize],
                scalars: &[f32],
            ) -> Tensor<Self, 1> {
                $crate::kernels::cpu::scale_segments(x, offsets, scalars)
            }

            fn adam(
                c: &bissl_core::AdamCoefficients,
                gradient: &Tensor<Self, 1>,
                parameter: Tensor<Self, 1>,
                first: Tensor<Self, 1>,
                second: Tensor<Self, 1>,
            ) -> (Tensor<Self, 1>, Tensor<Self, 1>, Tensor<Self, 1>) {
                $crate::kernels::cpu::adam(c, gradient, parameter, first, second)
            }

            fn augmented<const VIEWS: usize>(
                _packed: $crate::data::packed::Packed<VIEWS>,
                _device: &Self::Device,
            ) -> [Tensor<Self, 4>; VIEWS] {
                unreachable!(
                    "`image.augment_on` is refused for a CPU when the configuration is read"
                )
            }

            fn wait(_device: &Self::Device) {}

            fn memory_in_use(_device: &Self::Device) -> usize {
                0
            }
        }

        /// Views of γ and of what a batch norm saved.
        struct SavedViews {
            gamma: <$backend as HostMemory>::View,
            normalized: <$backend as HostMemory>::View,
            inv_std: <$backend as HostMemory>::View,
        }

        impl SavedViews {
            fn new(saved: &Normalized<$backend>, gamma: &Tensor<$backend, 1>) -> Self {
                Self {
                    gamma: <$backend>::view(gamma),
                    normalized: <$backend>::view(&saved.normalized),
                    inv_std: <$backend>::view(&saved.inv_std),
                }
            }

            fn saved(
                &self,
            ) -> slice::norm::Saved<'_, <$backend as burn_backend::BackendTypes>::FloatElem> {
                slice::norm::Saved {
                    gamma: &self.gamma,
                    normalized: &self.normalized,
                    inv_std: &self.inv_std,
                }
            }
        }
    };
}
pub(super) use impl_kernels_on_slices;

/// The shape of a batch norm over `x`.
pub(super) fn norm_shape<B: Backend>(x: &Tensor<B, 4>) -> super::slice::norm::NormShape {
    let [batch, channels, height, width] = x.dims();
    super::slice::norm::NormShape { batch, channels, pixels: height * width }
}
