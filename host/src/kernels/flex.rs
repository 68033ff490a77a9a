//! Burn's pure-Rust CPU backend: tensors are lent without a copy.

use std::ops::Deref;

use burn_backend::BackendTypes;
use burn_flex::{Flex, FlexTensor};
use burn_tensor::{Tensor, TensorPrimitive};

use super::cpu::{
    HostMemory, impl_kernels_on_slices, norm_shape, tensor, weight_shape, with_slices,
};
use super::{
    BatchStatistics, ConvShape, NormCotangents, Normalized, Pair, PoolShape, Real, Transpose, slice,
};

/// A shared handle to a tensor's memory.
pub(super) struct FlexView(FlexTensor);

impl Deref for FlexView {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.as_slice().expect("a view is made contiguous, and flex's float tensors here are f32")
    }
}

impl HostMemory for Flex {
    type View = FlexView;

    fn view<const D: usize>(tensor: &Tensor<Self, D>) -> FlexView {
        let primitive = tensor.clone().into_primitive().tensor();
        FlexView(if primitive.is_contiguous() { primitive } else { primitive.to_contiguous() })
    }

    fn update(tensor: Tensor<Self, 1>, f: impl FnOnce(&mut [f32])) -> Tensor<Self, 1> {
        let primitive = tensor.into_primitive().tensor();
        // A slice of a longer vector shares that vector's memory, and only its own part may change.
        let whole = primitive.layout().num_elements() * size_of::<f32>() == primitive.bytes().len();
        let mut primitive = if whole && primitive.is_contiguous() {
            primitive
        } else {
            FlexTensor::from_data(primitive.into_data())
        };
        f(primitive.storage_mut());
        Tensor::from_primitive(TensorPrimitive::Float(primitive))
    }
}

impl_kernels_on_slices!(Flex);
