//! Burn's candle backend. Its memory is private, so every access copies.

#![expect(deprecated, reason = "Burn 0.21 is pinned because it is the last release with candle")]

use burn_backend::BackendTypes;
use burn_candle::Candle;
use burn_tensor::Tensor;

use super::cpu::{
    HostMemory, impl_kernels_on_slices, norm_shape, tensor, weight_shape, with_slices,
};
use super::{
    BatchStatistics, ConvShape, NormCotangents, Normalized, Pair, PoolShape, Real, Transpose, slice,
};

impl HostMemory for Candle {
    type View = Vec<f32>;

    fn view<const D: usize>(tensor: &Tensor<Self, D>) -> Vec<f32> {
        tensor.to_data().into_vec().expect("the backend's float tensors are f32")
    }

    fn update(vector: Tensor<Self, 1>, f: impl FnOnce(&mut [f32])) -> Tensor<Self, 1> {
        let shape = vector.dims();
        let mut data: Vec<f32> =
            vector.into_data().into_vec().expect("the backend's float tensors are f32");
        f(&mut data);
        tensor(data, shape)
    }
}

impl_kernels_on_slices!(Candle);
