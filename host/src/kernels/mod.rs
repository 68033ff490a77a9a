//! The arithmetic under the network: one implementation for each kind of backend, behind one trait.
//!
//! CPU backends compute on slices (`slice`), because Burn's generic convolution backward is
//! several times slower, and this project cannot vouch for its parallel reductions. Devices compute
//! with kernels of our own, one implementation for all of them, and transfer nothing back to the
//! host but scalars.

pub(crate) mod allocator;
mod backend_name;
#[cfg(any(feature = "flex", feature = "candle", feature = "ndarray"))]
mod cpu;
mod device_info;
pub(crate) mod device_memory;
mod precision;
pub(crate) mod profile;
mod real;
pub(crate) mod slice;
mod transfer;
pub mod tuning;

#[cfg(feature = "candle")]
mod candle;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cuda")]
mod cuda_probe;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
#[cfg(feature = "wgpu")]
mod wgpu_probe;

pub use allocator::CountingAllocator;
use bissl_core::AdamCoefficients;
use burn_backend::Backend;
pub use burn_tensor::Tensor;

use crate::data::packed::Packed;

pub use backend_name::BackendName;
pub(crate) use backend_name::backends;
#[cfg(feature = "cube")]
pub use cube::SOURCES as KERNEL_SOURCES;
#[cfg(feature = "cuda")]
pub(crate) use cuda_probe::probe_cuda;
pub use device_info::{DeviceInfo, DeviceMemory};
pub use precision::Precision;
pub use real::Real;
pub use transfer::{read, transfers};
#[cfg(feature = "wgpu")]
pub(crate) use wgpu_probe::probe_wgpu;

/// Burn's pure-Rust CPU backend.
#[cfg(feature = "flex")]
pub type Flex = burn_flex::Flex;
/// Burn's candle backend on the CPU.
#[cfg(feature = "candle")]
#[expect(deprecated, reason = "Burn 0.21 is pinned because it is the last release with candle")]
pub type Candle = burn_candle::Candle<f32, i64>;
/// Burn's ndarray backend in f64, the oracle.
#[cfg(feature = "ndarray")]
pub type NdArray = burn_ndarray::NdArray<f64>;
/// NVIDIA GPUs.
#[cfg(feature = "cuda")]
pub type Cuda = burn_cuda::Cuda;
/// GPUs through Vulkan, Metal or DirectX 12.
#[cfg(feature = "wgpu")]
pub type Wgpu = burn_wgpu::Wgpu;

/// Shapes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Number of images.
    pub batch: usize,
    /// Input channels.
    pub channels_in: usize,
    /// Output channels.
    pub channels_out: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Strides down and to the right, at least 1.
    pub stride: [usize; 2],
    /// Zeros around the image, on all sides.
    pub padding: usize,
    /// The format that operands are rounded to, on devices.
    pub precision: Precision,
}

impl ConvShape {
    /// Output height.
    pub(crate) fn height_out(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel[0]) / self.stride[0] + 1
    }

    /// Output width.
    pub(crate) fn width_out(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel[1]) / self.stride[1] + 1
    }

    /// Positions of the kernel.
    pub(crate) fn positions(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Multiply-accumulates of any of the three passes.
    pub(crate) fn multiply_accumulates(&self) -> u64 {
        let outputs: usize = self.output().iter().product();
        (outputs * self.channels_in * self.positions()) as u64
    }

    /// `[batch, channels_out, height_out, width_out]`.
    pub fn output(&self) -> [usize; 4] {
        [self.batch, self.channels_out, self.height_out(), self.width_out()]
    }
}

impl std::fmt::Display for ConvShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels_in, channels_out, height, width, kernel, stride, .. } = self;
        let [kernel_height, kernel_width] = kernel;
        write!(f, "{channels_in}>{channels_out} {kernel_height}x{kernel_width}/")?;
        match stride {
            [down, right] if down == right => write!(f, "{down}")?,
            [down, right] => write!(f, "{down}x{right}")?,
        }
        write!(f, " of {height}x{width}")
    }
}

/// Shapes of one max-pool with a square window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Images times channels.
    pub planes: usize,
    /// Input height.
    pub height: usize,
    /// Input width.
    pub width: usize,
    /// Window size.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding cells around the image, which never win; less than `kernel`.
    pub padding: usize,
}

impl PoolShape {
    /// Output height.
    pub(crate) fn height_out(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Output width.
    pub(crate) fn width_out(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }
}

/// What batch norm saves for its later passes.
#[derive(Clone, Debug)]
pub struct Normalized<B: Backend> {
    /// x̂, of the input's shape.
    pub normalized: Tensor<B, 4>,
    /// 1/√(σ² + ε), `[channels]`.
    pub inv_std: Tensor<B, 1>,
}

/// Batch statistics, `[channels]` each; the variance is the biased one.
#[derive(Clone, Debug)]
pub struct BatchStatistics<B: Backend> {
    /// μ.
    pub mean: Tensor<B, 1>,
    /// σ².
    pub variance: Tensor<B, 1>,
}

/// The two operands of one term of a convolution.
pub type Pair<'a, B> = (&'a Tensor<B, 4>, &'a Tensor<B, 4>);

/// x̄ (or x̄̇) and the cotangents of γ and β.
pub type NormCotangents<B> = (Tensor<B, 4>, Tensor<B, 1>, Tensor<B, 1>);

/// Arithmetic of the network and of the registers on one backend.
///
/// Every operation gives the same bits for the same input, for any number of threads.
pub trait Kernels: Backend<FloatElem: Real> {
    /// Positions of the maxima that a max-pool found.
    type Indices: Clone + Send + std::fmt::Debug;

    /// `y = Σ w ∗ x` over the terms `(x, w)`; `w` is `[channels_out, channels_in, kernel height,
    /// kernel width]`.
    ///
    /// The tangent of a convolution is a sum of two terms, and so are the tangents of its backward
    /// passes. Computed together, they share the writes.
    fn conv(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4>;

    /// x̄ of a convolution, summed over the terms `(w, ȳ)`.
    fn conv_input(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4>;

    /// w̄ of a convolution, summed over the terms `(x, ȳ)`.
    fn conv_weight(s: &ConvShape, terms: &[Pair<'_, Self>]) -> Tensor<Self, 4>;

    /// Batch norm with batch statistics.
    fn norm(
        x: &Tensor<Self, 4>,
        gamma: &Tensor<Self, 1>,
        beta: &Tensor<Self, 1>,
        eps: f64,
    ) -> (Tensor<Self, 4>, Normalized<Self>, BatchStatistics<Self>);

    /// ẏ from ẋ, γ̇, β̇.
    fn norm_tangent(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        x_dot: &Tensor<Self, 4>,
        gamma_dot: &Tensor<Self, 1>,
        beta_dot: &Tensor<Self, 1>,
    ) -> Tensor<Self, 4>;

    /// (x̄, γ̄, β̄) from ȳ.
    fn norm_backward(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        y_bar: &Tensor<Self, 4>,
    ) -> NormCotangents<Self>;

    /// (x̄̇, γ̄̇, β̄̇) from (ẋ, γ̇) and (ȳ, ȳ̇).
    fn norm_backward_tangent(
        saved: &Normalized<Self>,
        gamma: &Tensor<Self, 1>,
        tangents: (&Tensor<Self, 4>, &Tensor<Self, 1>),
        cotangents: (&Tensor<Self, 4>, &Tensor<Self, 4>),
    ) -> NormCotangents<Self>;

    /// max(x, 0); NaN stays NaN.
    fn rectify(x: &Tensor<Self, 4>) -> Tensor<Self, 4>;

    /// 0 if `y ≤ 0`, else `t`, also where `y` is NaN: tangent and cotangent of ReLU from its
    /// output.
    fn rectify_mask(y: &Tensor<Self, 4>, t: &Tensor<Self, 4>) -> Tensor<Self, 4>;

    /// Max-pool; a NaN wins.
    fn max_pool(s: &PoolShape, x: &Tensor<Self, 4>) -> (Tensor<Self, 4>, Self::Indices);

    /// Tangent of max-pool.
    fn max_pool_tangent(
        s: &PoolShape,
        x_dot: &Tensor<Self, 4>,
        indices: &Self::Indices,
    ) -> Tensor<Self, 4>;

    /// Adjoint of max-pool.
    fn max_pool_backward(
        s: &PoolShape,
        y_bar: &Tensor<Self, 4>,
        indices: &Self::Indices,
    ) -> Tensor<Self, 4>;

    /// Mean over the pixels: `[b, c, h, w]` to `[b, c, 1, 1]`.
    fn average_pool(x: &Tensor<Self, 4>) -> Tensor<Self, 4>;

    /// Adjoint of the average pool: `[b, c, 1, 1]` to `[b, c, h, w]`.
    fn average_pool_backward(
        y_bar: &Tensor<Self, 4>,
        height: usize,
        width: usize,
    ) -> Tensor<Self, 4>;

    /// `a b`, `aᵀ b` or `a bᵀ`; on devices the operands are rounded to `precision`.
    fn matmul(
        a: &Tensor<Self, 2>,
        b: &Tensor<Self, 2>,
        transpose: Transpose,
        precision: Precision,
    ) -> Tensor<Self, 2>;

    /// Sum over the rows: `[rows, cols]` to `[cols]`.
    fn sum_rows(x: &Tensor<Self, 2>) -> Tensor<Self, 1>;

    /// `a + b`.
    fn add(a: Tensor<Self, 4>, b: &Tensor<Self, 4>) -> Tensor<Self, 4>;

    /// `a x + b y`, in place of `y` if possible; a vector whose factor is exactly 0 is not read.
    fn axpby(a: f64, x: &Tensor<Self, 1>, b: f64, y: Tensor<Self, 1>) -> Tensor<Self, 1>;

    /// `xᵢ · yᵢ` over the segments `[offsets[s], offsets[s+1])`, all in one transfer from a device.
    fn segment_dots(pairs: &[(&Tensor<Self, 1>, &Tensor<Self, 1>)], offsets: &[usize]) -> Vec<f64>;

    /// `scalars[s] x` on the segments `[offsets[s], offsets[s+1])`.
    fn scale_segments(x: &Tensor<Self, 1>, offsets: &[usize], scalars: &[f32]) -> Tensor<Self, 1>;

    /// AdamW's update: new parameters, first and second moments.
    fn adam(
        c: &AdamCoefficients,
        gradient: &Tensor<Self, 1>,
        parameter: Tensor<Self, 1>,
        first: Tensor<Self, 1>,
        second: Tensor<Self, 1>,
    ) -> (Tensor<Self, 1>, Tensor<Self, 1>, Tensor<Self, 1>);

    /// The views of a packed batch, one tensor each: `[batch, 3, size, size]`.
    ///
    /// Only for devices. A CPU gets its batches as values, since it would only repeat the host's
    /// own work.
    fn augmented<const VIEWS: usize>(
        packed: Packed<VIEWS>,
        device: &Self::Device,
    ) -> [Tensor<Self, 4>; VIEWS];

    /// Waits until all queued work is done; for timings.
    ///
    /// # Panics
    /// The device is lost, as at every read. A lost device must not be timed.
    fn wait(device: &Self::Device);

    /// Bytes of the device's memory in use; 0 if tensors are memory of this process.
    fn memory_in_use(device: &Self::Device) -> usize;

    /// Whether tensors are ordinary memory of this process.
    const ON_HOST: bool;
}

/// Which operand of a matrix product is transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// `a b`.
    Neither,
    /// `aᵀ b`.
    Left,
    /// `a bᵀ`.
    Right,
}
