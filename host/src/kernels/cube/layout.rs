//! The layout of tensors in a device's memory, and how kernels over them are launched.
//!
//! Images are stored *channels last*: pixels are rows and channels columns, so that neighbouring
//! threads read neighbouring channels, and a 1×1 convolution is a matrix product. To the rest of
//! the program they are still `[batch, channels, height, width]`; only the strides differ.

use std::cell::Cell;

use burn_backend::{DType, Shape};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::server::CubeCountSelection;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;

use crate::kernels::device_memory;

/// Threads of a cube in kernels whose threads handle one element (or one vector) each.
const UNITS: u32 = 256;

/// Elements of one read if rows allow it.
const WIDE: usize = 4;

thread_local! {
    static LAUNCHES: Cell<u64> = const { Cell::new(0) };
}

/// How many kernels this thread has launched.
pub(super) fn launches() -> u64 {
    LAUNCHES.get()
}

/// `[batch, channels, height, width]`.
pub(super) type Dims = [usize; 4];

/// Dimensions of an image tensor.
pub(super) fn dims<R: CubeRuntime>(x: &CubeTensor<R>) -> Dims {
    let shape = x.meta.shape();
    std::array::from_fn(|i| shape[i])
}

/// Strides of dense images with channels last.
fn channels_last_strides([_, channels, height, width]: Dims) -> [usize; 4] {
    [height * width * channels, 1, width * channels, channels]
}

/// Whether elements are at the strides `expected`; the strides of dimensions with one element do
/// not matter.
fn lies_at<R: CubeRuntime, const D: usize>(x: &CubeTensor<R>, expected: [usize; D]) -> bool {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    (0..D).all(|i| shape[i] == 1 || strides[i] == expected[i])
}

/// An uninitialised tensor like `x` with another shape and the given `strides`.
fn empty<R: CubeRuntime>(
    x: &CubeTensor<R>,
    shape: &[usize],
    strides: &[usize],
    dtype: DType,
) -> CubeTensor<R> {
    let elements: usize = shape.iter().product();
    // At least one wide read: a device refuses to bind a smaller buffer.
    let handle = x.client.empty(elements.max(WIDE) * dtype.size());
    device_memory::allocated();
    let metadata = Metadata::new(Shape::from(shape.to_vec()), Strides::from(strides));
    CubeTensor::new(x.client.clone(), handle, metadata, x.device.clone(), dtype)
}

/// An uninitialised vector of f32.
pub(super) fn empty_vector<R: CubeRuntime>(x: &CubeTensor<R>, len: usize) -> CubeTensor<R> {
    empty(x, &[len], &[1], DType::F32)
}

/// An uninitialised dense matrix of f32.
pub(super) fn empty_matrix<R: CubeRuntime>(
    x: &CubeTensor<R>,
    [rows, cols]: [usize; 2],
) -> CubeTensor<R> {
    empty(x, &[rows, cols], &[cols, 1], DType::F32)
}

/// Uninitialised dense images of f32, channels last.
pub(super) fn empty_images<R: CubeRuntime>(x: &CubeTensor<R>, dims: Dims) -> CubeTensor<R> {
    empty(x, &dims, &channels_last_strides(dims), DType::F32)
}

/// Uninitialised dense images of i32, channels last.
pub(super) fn empty_indices<R: CubeRuntime>(x: &CubeTensor<R>, dims: Dims) -> CubeTensor<R> {
    empty(x, &dims, &channels_last_strides(dims), DType::I32)
}

/// An uninitialised dense, row-major f32 tensor for the weight of a convolution.
pub(super) fn empty_weight<R: CubeRuntime>(x: &CubeTensor<R>, shape: [usize; 4]) -> CubeTensor<R> {
    let [_, b, c, d] = shape;
    empty(x, &shape, &[b * c * d, c * d, d, 1], DType::F32)
}

/// The same images, dense with channels last; copied if they have another layout.
pub(super) fn channels_last<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    let dims = dims(&x);
    if lies_at(&x, channels_last_strides(dims)) {
        return x;
    }
    let out = empty_images(&x, dims);
    let [batch, channels, height, width] = dims;
    let strides = x.meta.strides();
    let from = [0, 2, 3, 1].map(|i| strides[i] as u32);
    let [_, height, width, channels] = [batch, height, width, channels].map(|n| n as u32);
    let (count, dim) = grid(&x, elements(&out));
    // SAFETY: units past the output return; strides and sizes are the tensor's own.
    unsafe {
        copy_channels_last::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            whole(&x),
            array(&out),
            elements(&out) as u32,
            height,
            width,
            channels,
            from[0],
            from[1],
            from[2],
            from[3],
        );
    }
    out
}

#[cube(launch_unchecked)]
fn copy_channels_last(
    x: &Array<f32>,
    out: &mut Array<f32>,
    len: u32,
    height: u32,
    width: u32,
    channels: u32,
    by_image: u32,
    by_row: u32,
    by_pixel: u32,
    by_channel: u32,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let channel = at % channels;
    let pixel = at / channels;
    let column = pixel % width;
    let row = (pixel / width) % height;
    let image = pixel / (width * height);
    let from = image * by_image + row * by_row + column * by_pixel + channel * by_channel;
    out[ABSOLUTE_POS] = x[from as usize];
}

/// The same tensor, dense and row-major; copied if it has another layout.
pub(super) fn dense<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    burn_cubecl::kernel::into_contiguous(x)
}

/// Elements of a tensor.
pub(super) fn elements<R: CubeRuntime>(x: &CubeTensor<R>) -> usize {
    x.meta.num_elements()
}

/// A dense tensor as the argument of a kernel.
pub(super) fn array<R: CubeRuntime>(x: &CubeTensor<R>) -> ArrayArg<R> {
    let len = elements(x);
    assert!(u32::try_from(len).is_ok(), "a tensor of {len} elements; kernels index by 32 bits");
    // SAFETY: the handle holds as many elements as the tensor has.
    unsafe { ArrayArg::from_raw_parts(x.handle.clone(), len) }
}

/// The whole buffer of a tensor with any strides, as the argument of a kernel.
pub(super) fn whole<R: CubeRuntime>(x: &CubeTensor<R>) -> ArrayArg<R> {
    let len = x.handle.size_in_used() as usize / x.dtype.size();
    // SAFETY: this is the size of the handle.
    unsafe { ArrayArg::from_raw_parts(x.handle.clone(), len) }
}

/// The argument at `position` again, as an output.
pub(super) fn alias<R: CubeRuntime>(x: &CubeTensor<R>, position: usize) -> ArrayArg<R> {
    x.as_tensor_alias(position).into_array_arg()
}

/// Elements that one thread handles if rows have `cols` of them.
pub(super) fn width(cols: usize) -> usize {
    if cols.is_multiple_of(WIDE) { WIDE } else { 1 }
}

/// Cubes and units for one thread per unit of work.
pub(super) fn grid<R: CubeRuntime>(x: &CubeTensor<R>, work: usize) -> (CubeCount, CubeDim) {
    (cubes(x, work.div_ceil(UNITS as usize)), CubeDim::new_1d(UNITS))
}

/// At least `count` cubes, spread over the dimensions that the device allows; cubes past `count`
/// must return at once.
///
/// Called once for every launch, and counts them.
pub(super) fn cubes<R: CubeRuntime>(x: &CubeTensor<R>, count: usize) -> CubeCount {
    LAUNCHES.set(LAUNCHES.get() + 1);
    let count = u32::try_from(count).expect("cubes are counted by 32 bits");
    CubeCountSelection::new(&x.client, count).cube_count()
}
