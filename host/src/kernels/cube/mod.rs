//! [`Kernels`] of devices: NVIDIA GPUs through CUDA, others through Vulkan, Metal or DirectX 12.
//!
//! One implementation for every cubecl runtime, with kernels of our own: Burn's are wrong for some
//! shapes, add by atomics, or round to TF32 unasked (docs/decisions/0012).

mod augment;
mod columns;
mod conv;
mod elementwise;
mod gemm;
mod layout;
mod norm;
mod operand;
mod pool;
mod rounding;
mod segments;
mod tensor_cores;
mod tuning;

use std::time::Instant;

use bissl_core::AdamCoefficients;
use burn_backend::Backend;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime};
use burn_tensor::{Int, Tensor, TensorPrimitive};

use super::profile::{self, Entry};
use super::{
    BatchStatistics, ConvShape, Kernels, NormCotangents, Normalized, Pair, PoolShape, Precision,
    Transpose, read,
};
use crate::data::packed::Packed;
use crate::device_failure::OWN;
use gemm::{Order, Product};
use operand::Operand;

/// The sources of all kernels. Besides the kernels' names, a cache of compiled kernels depends on
/// them.
pub const SOURCES: &[&str] = &[
    include_str!("../../data/colour.rs"),
    include_str!("../../data/packed/layout.rs"),
    include_str!("augment.rs"),
    include_str!("augment/blur.rs"),
    include_str!("augment/colour.rs"),
    include_str!("augment/scale.rs"),
    include_str!("columns.rs"),
    include_str!("conv.rs"),
    include_str!("elementwise.rs"),
    include_str!("gemm.rs"),
    include_str!("layout.rs"),
    include_str!("norm.rs"),
    include_str!("operand.rs"),
    include_str!("pool.rs"),
    include_str!("rounding.rs"),
    include_str!("segments.rs"),
    include_str!("tensor_cores.rs"),
];

type Device<R, BT> = CubeBackend<R, f32, i32, BT>;

fn primitive<R: CubeRuntime, BT: BoolElement, const D: usize>(
    x: &Tensor<Device<R, BT>, D>,
) -> CubeTensor<R> {
    x.clone().into_primitive().tensor()
}

fn tensor<R: CubeRuntime, BT: BoolElement, const D: usize>(
    x: CubeTensor<R>,
) -> Tensor<Device<R, BT>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(x))
}

fn operands<R: CubeRuntime, BT: BoolElement>(
    terms: &[Pair<'_, Device<R, BT>>],
) -> Vec<(CubeTensor<R>, CubeTensor<R>)> {
    terms.iter().map(|(a, b)| (primitive(a), primitive(b))).collect()
}

fn cotangents<R: CubeRuntime, BT: BoolElement>(
    [x, gamma, beta]: [CubeTensor<R>; 3],
) -> NormCotangents<Device<R, BT>> {
    (tensor(x), tensor(gamma), tensor(beta))
}

fn saved<R: CubeRuntime, BT: BoolElement>(
    saved: &Normalized<Device<R, BT>>,
    gamma: &Tensor<Device<R, BT>, 1>,
) -> norm::Saved<R> {
    norm::Saved {
        gamma: primitive(gamma),
        normalized: primitive(&saved.normalized),
        inv_std: primitive(&saved.inv_std),
    }
}

/// Runs `work`. While somebody listens, it runs alone on the device, and its time, launches and
/// least traffic are recorded.
///
/// `describe` returns the shape in words, the multiply-accumulates, and the elements that must be
/// read and written.
fn timed<R: CubeRuntime, BT: BoolElement, const D: usize, T>(
    operation: &'static str,
    like: &Tensor<Device<R, BT>, D>,
    describe: impl FnOnce() -> (String, u64, usize),
    work: impl FnOnce() -> T,
) -> T {
    if !profile::listened() {
        return work();
    }
    let device = like.device();
    Device::<R, BT>::wait(&device);
    let (launches, start) = (layout::launches(), Instant::now());
    let result = work();
    Device::<R, BT>::wait(&device);
    let seconds = start.elapsed().as_secs_f64();
    let (shape, multiply_accumulates, elements) = describe();
    profile::add(Entry {
        operation,
        shape,
        calls: 1,
        seconds,
        multiply_accumulates,
        bytes: (elements * size_of::<f32>()) as u64,
        launches: layout::launches() - launches,
    });
    result
}

/// An operation over `passes` tensors as large as this one.
fn over<B: Backend, const D: usize>(
    x: &Tensor<B, D>,
    passes: usize,
) -> impl FnOnce() -> (String, u64, usize) {
    let dims = x.dims();
    move || (format!("{dims:?}"), 0, passes * dims.iter().product::<usize>())
}

/// A pass of a convolution with `terms` terms.
fn convolved(s: &ConvShape, terms: usize) -> impl FnOnce() -> (String, u64, usize) {
    let s = *s;
    move || {
        let x = s.batch * s.channels_in * s.height * s.width;
        let w = s.channels_out * s.channels_in * s.positions();
        let y = s.output().iter().product::<usize>();
        (s.to_string(), terms as u64 * s.multiply_accumulates(), terms * (x + w + y))
    }
}

/// Matrix product of operands with any strides.
fn matmul<R: CubeRuntime>(
    a: &CubeTensor<R>,
    b: &CubeTensor<R>,
    transpose: Transpose,
    precision: Precision,
) -> CubeTensor<R> {
    let sizes = |x: &CubeTensor<R>| {
        let (shape, strides) = (x.meta.shape(), x.meta.strides());
        ([shape[0], shape[1]], [strides[0], strides[1]])
    };
    let flip = |[x, y]: [usize; 2]| [y, x];
    let ((a_shape, a_strides), (b_shape, b_strides)) = (sizes(a), sizes(b));
    // The product expects the outer index first in both.
    let (a_shape, a_strides) = match transpose {
        Transpose::Left => (flip(a_shape), flip(a_strides)),
        Transpose::Neither | Transpose::Right => (a_shape, a_strides),
    };
    let (b_shape, b_strides) = match transpose {
        Transpose::Right => (b_shape, b_strides),
        Transpose::Neither | Transpose::Left => (flip(b_shape), flip(b_strides)),
    };
    let [rows, depth] = a_shape;
    let [cols, b_depth] = b_shape;
    assert_eq!(depth, b_depth, "inner sizes of a matrix product");
    let product = Product {
        a: Operand::matrix(a, a_strides, a_shape),
        b: Operand::matrix(b, b_strides, b_shape),
        shape: [rows, cols, depth],
        precision,
    };
    let out = layout::empty_matrix(a, [rows, cols]);
    product.write_in_parts(&out, tuning::by_shape(product.shape), Order::Rows, 1, false);
    out
}

impl<R: CubeRuntime, BT: BoolElement> Kernels for Device<R, BT> {
    type Indices = Tensor<Self, 4, Int>;

    const ON_HOST: bool = false;

    fn conv(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        timed("conv", terms[0].0, convolved(s, terms.len()), || {
            tensor(conv::forward(s, operands(terms)))
        })
    }

    fn conv_input(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        timed("conv_input", terms[0].1, convolved(s, terms.len()), || {
            tensor(conv::input_gradient(s, operands(terms)))
        })
    }

    fn conv_weight(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        timed("conv_weight", terms[0].0, convolved(s, terms.len()), || {
            tensor(conv::weight_gradient(s, operands(terms)))
        })
    }

    fn norm(
        x: &Tensor<Self, 4>,
        gamma: &Tensor<Self, 1>,
        beta: &Tensor<Self, 1>,
        eps: f64,
    ) -> (Tensor<Self, 4>, Normalized<Self>, BatchStatistics<Self>) {
        timed("norm", x, over(x, 4), || {
            let out = norm::forward(primitive(x), primitive(gamma), primitive(beta), eps);
            (
                tensor(out.y),
                Normalized { normalized: tensor(out.normalized), inv_std: tensor(out.inv_std) },
                BatchStatistics { mean: tensor(out.mean), variance: tensor(out.variance) },
            )
        })
    }

    fn norm_tangent(
        kept: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        x_dot: &Tensor<Self, 4>,
        gamma_dot: &Tensor<Self, 1>,
        beta_dot: &Tensor<Self, 1>,
    ) -> Tensor<Self, 4> {
        timed("norm_tangent", x_dot, over(x_dot, 5), || {
            let (x_dot, gamma_dot, beta_dot) =
                (primitive(x_dot), primitive(gamma_dot), primitive(beta_dot));
            tensor(norm::tangent(saved(kept, gamma), x_dot, gamma_dot, beta_dot))
        })
    }

    fn norm_backward(
        kept: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        y_bar: &Tensor<Self, 4>,
    ) -> NormCotangents<Self> {
        timed("norm_backward", y_bar, over(y_bar, 5), || {
            cotangents(norm::backward(saved(kept, gamma), primitive(y_bar)))
        })
    }

    fn norm_backward_tangent(
        kept: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        (x_dot, gamma_dot): (&Tensor<Self, 4>, &Tensor<Self, 1>),
        (y_bar, y_bar_dot): (&Tensor<Self, 4>, &Tensor<Self, 4>),
    ) -> NormCotangents<Self> {
        timed("norm_backward_tangent", y_bar, over(y_bar, 9), || {
            let tangents = (primitive(x_dot), primitive(gamma_dot));
            let bars = (primitive(y_bar), primitive(y_bar_dot));
            cotangents(norm::backward_tangent(saved(kept, gamma), tangents, bars))
        })
    }

    fn rectify(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        timed("rectify", x, over(x, 2), || tensor(elementwise::rectify(primitive(x))))
    }

    fn rectify_mask(y: &Tensor<Self, 4>, t: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        timed("rectify_mask", y, over(y, 3), || {
            tensor(elementwise::rectify_mask(primitive(y), primitive(t)))
        })
    }

    fn max_pool(s: &PoolShape, x: &Tensor<Self, 4>) -> (Tensor<Self, 4>, Self::Indices) {
        timed("max_pool", x, over(x, 1), || {
            let (y, winners) = pool::max_pool(s, primitive(x));
            (tensor(y), Tensor::from_primitive(winners))
        })
    }

    fn max_pool_tangent(
        s: &PoolShape,
        x_dot: &Tensor<Self, 4>,
        winners: &Self::Indices,
    ) -> Tensor<Self, 4> {
        timed("max_pool_tangent", x_dot, over(x_dot, 1), || {
            tensor(pool::max_pool_tangent(s, primitive(x_dot), &winners.clone().into_primitive()))
        })
    }

    fn max_pool_backward(
        s: &PoolShape,
        y_bar: &Tensor<Self, 4>,
        winners: &Self::Indices,
    ) -> Tensor<Self, 4> {
        timed("max_pool_backward", y_bar, over(y_bar, 2), || {
            tensor(pool::max_pool_backward(s, primitive(y_bar), &winners.clone().into_primitive()))
        })
    }

    fn average_pool(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        timed("average_pool", x, over(x, 1), || tensor(pool::average_pool(primitive(x))))
    }

    fn average_pool_backward(
        y_bar: &Tensor<Self, 4>,
        height: usize,
        width: usize,
    ) -> Tensor<Self, 4> {
        timed("average_pool_backward", y_bar, over(y_bar, height * width), || {
            tensor(pool::average_pool_backward(primitive(y_bar), height, width))
        })
    }

    fn matmul(
        a: &Tensor<Self, 2>,
        b: &Tensor<Self, 2>,
        transpose: Transpose,
        precision: Precision,
    ) -> Tensor<Self, 2> {
        let describe = || {
            let ([m, k], [p, q]) = (a.dims(), b.dims());
            // The inner size is in both operands, whichever of them is transposed.
            let products = m * k * if transpose == Transpose::Right { p } else { q };
            let depth = if transpose == Transpose::Left { m } else { k };
            let elements = m * k + p * q + products / depth.max(1);
            (format!("{m}x{k} by {p}x{q}"), products as u64, elements)
        };
        timed("matmul", a, describe, || {
            tensor(matmul(&primitive(a), &primitive(b), transpose, precision))
        })
    }

    fn sum_rows(x: &Tensor<Self, 2>) -> Tensor<Self, 1> {
        timed("sum_rows", x, over(x, 1), || {
            tensor(columns::sum_rows(&layout::dense(primitive(x)), x.dims()))
        })
    }

    fn add(a: Tensor<Self, 4>, b: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        timed("add", b, over(b, 3), || tensor(elementwise::add(primitive(&a), primitive(b))))
    }

    fn axpby(a: f64, x: &Tensor<Self, 1>, b: f64, y: Tensor<Self, 1>) -> Tensor<Self, 1> {
        timed("axpby", x, over(x, 3), || {
            tensor(elementwise::axpby(a, primitive(x), b, y.into_primitive().tensor()))
        })
    }

    fn segment_dots(pairs: &[(&Tensor<Self, 1>, &Tensor<Self, 1>)], offsets: &[usize]) -> Vec<f64> {
        let of = pairs[0].0;
        timed("segment_dots", of, over(of, 2 * pairs.len()), || {
            let pairs: Vec<_> = pairs.iter().map(|(x, y)| (primitive(x), primitive(y))).collect();
            let sums: Tensor<Self, 1> = tensor(segments::dots(pairs, offsets));
            segments::totals(&read(sums), offsets)
        })
    }

    fn scale_segments(x: &Tensor<Self, 1>, offsets: &[usize], scalars: &[f32]) -> Tensor<Self, 1> {
        timed("scale_segments", x, over(x, 2), || {
            tensor(segments::scaled(primitive(x), offsets, scalars))
        })
    }

    fn adam(
        c: &AdamCoefficients,
        gradient: &Tensor<Self, 1>,
        parameter: Tensor<Self, 1>,
        first: Tensor<Self, 1>,
        second: Tensor<Self, 1>,
    ) -> (Tensor<Self, 1>, Tensor<Self, 1>, Tensor<Self, 1>) {
        timed("adam", gradient, over(gradient, 7), || {
            let state = [parameter, first, second].map(|x| x.into_primitive().tensor());
            let [parameter, first, second] = elementwise::adam(c, primitive(gradient), state);
            (tensor(parameter), tensor(first), tensor(second))
        })
    }

    fn augmented<const VIEWS: usize>(
        packed: Packed<VIEWS>,
        device: &Self::Device,
    ) -> [Tensor<Self, 4>; VIEWS] {
        augment::views(packed, &R::client(device), device).map(tensor)
    }

    fn memory_in_use(device: &Self::Device) -> usize {
        let usage = R::client(device).memory_usage();
        usage.map_or(0, |usage| usage.bytes_in_use as usize)
    }

    fn wait(device: &Self::Device) {
        if let Err(error) = <Self as Backend>::sync(device) {
            panic!("{OWN}did not finish its work: {error:?}");
        }
    }
}
