//! NVIDIA GPUs through Burn's CubeCL kernels: implicit-GEMM convolutions, forward and backward.

use burn_cuda::Cuda;
use burn_tensor::{Int, Tensor};

use super::{
    BatchStatistics, ConvShape, Kernels, NormCotangents, Normalized, Pair, PoolShape, Transpose,
    device,
};

impl Kernels for Cuda {
    type Indices = Tensor<Self, 4, Int>;

    const ON_HOST: bool = false;

    fn conv(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        device::conv(s, terms)
    }

    fn conv_input(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        device::conv_input(s, terms)
    }

    fn conv_weight(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4> {
        device::conv_weight(s, terms)
    }

    fn norm(
        x: &Tensor<Self, 4>,
        gamma: &Tensor<Self, 1>,
        beta: &Tensor<Self, 1>,
        eps: f64,
    ) -> (Tensor<Self, 4>, Normalized<Self>, BatchStatistics<Self>) {
        device::norm(x, gamma, beta, eps)
    }

    fn norm_tangent(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        x_dot: &Tensor<Self, 4>,
        gamma_dot: &Tensor<Self, 1>,
        beta_dot: &Tensor<Self, 1>,
    ) -> Tensor<Self, 4> {
        device::norm_tangent(saved, gamma, x_dot, gamma_dot, beta_dot)
    }

    fn norm_backward(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        y_bar: &Tensor<Self, 4>,
    ) -> NormCotangents<Self> {
        device::norm_backward(saved, gamma, y_bar)
    }

    fn norm_backward_tangent(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        tangents: (&Tensor<Self, 4>, &Tensor<Self, 1>),
        cotangents: (&Tensor<Self, 4>, &Tensor<Self, 4>),
    ) -> NormCotangents<Self> {
        device::norm_backward_tangent(saved, gamma, tangents, cotangents)
    }

    fn rectify(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        device::rectify(x)
    }

    fn rectify_mask(y: &Tensor<Self, 4>, t: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        device::rectify_mask(y, t)
    }

    fn max_pool(s: &PoolShape, x: &Tensor<Self, 4>) -> (Tensor<Self, 4>, Self::Indices) {
        device::max_pool(s, x)
    }

    fn max_pool_tangent(
        s: &PoolShape,
        x_dot: &Tensor<Self, 4>,
        indices: &Self::Indices,
    ) -> Tensor<Self, 4> {
        device::max_pool_tangent(s, x_dot, indices)
    }

    fn max_pool_backward(
        s: &PoolShape,
        y_bar: &Tensor<Self, 4>,
        indices: &Self::Indices,
    ) -> Tensor<Self, 4> {
        device::max_pool_backward(s, y_bar, indices)
    }

    fn average_pool(x: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        device::average_pool(x)
    }

    fn average_pool_backward(
        y_bar: &Tensor<Self, 4>,
        height: usize,
        width: usize,
    ) -> Tensor<Self, 4> {
        device::average_pool_backward(y_bar, height, width)
    }

    fn matmul(a: &Tensor<Self, 2>, b: &Tensor<Self, 2>, transpose: Transpose) -> Tensor<Self, 2> {
        device::matmul(a, b, transpose)
    }

    fn sum_rows(x: &Tensor<Self, 2>) -> Tensor<Self, 1> {
        device::sum_rows(x)
    }

    fn add(a: Tensor<Self, 4>, b: &Tensor<Self, 4>) -> Tensor<Self, 4> {
        a + b.clone()
    }

    fn axpby(a: f64, x: &Tensor<Self, 1>, b: f64, y: Tensor<Self, 1>) -> Tensor<Self, 1> {
        device::axpby(a, x, b, y)
    }

    fn segment_dots(pairs: &[(&Tensor<Self, 1>, &Tensor<Self, 1>)], offsets: &[usize]) -> Vec<f64> {
        device::segment_dots(pairs, offsets)
    }

    fn wait(device: &Self::Device) {
        // A failure to synchronise is a lost device; the next read reports it with its cause.
        let _ = <Self as burn_backend::Backend>::sync(device);
    }
}
