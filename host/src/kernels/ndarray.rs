//! Burn's ndarray backend in f64: an oracle for small networks.

use burn_backend::BackendTypes;
use burn_ndarray::NdArray;
use burn_tensor::Tensor;

use super::cpu::{
    HostMemory, impl_kernels_on_slices, norm_shape, tensor, weight_shape, with_slices,
};
use super::{
    BatchStatistics, ConvShape, NormCotangents, Normalized, Pair, PoolShape, Real, Transpose, slice,
};

impl HostMemory for NdArray<f64> {
    type View = Vec<f64>;

    fn view<const D: usize>(tensor: &Tensor<Self, D>) -> Vec<f64> {
        tensor.to_data().into_vec().expect("the backend's float tensors are f64")
    }

    fn update(vector: Tensor<Self, 1>, f: impl FnOnce(&mut [f64])) -> Tensor<Self, 1> {
        let shape = vector.dims();
        let mut data: Vec<f64> =
            vector.into_data().into_vec().expect("the backend's float tensors are f64");
        f(&mut data);
        tensor(data, shape)
    }
}

impl_kernels_on_slices!(NdArray<f64>);
