//! The core's machines meet Burn's tensors: registers as flat vectors, objectives as towers.

mod downstream;
mod error;
mod networks;
pub(crate) mod observed;
mod problem;
mod registers;
mod statistics;
mod target;

pub use downstream::{Classification, Downstream, DownstreamTask, balanced_weights};
pub use error::DriverError;
pub use networks::Networks;
pub use problem::{Problem, ProblemSettings, Source, Sources};
pub use registers::Registers;
pub use statistics::Statistics;
pub use target::Target;

use burn_backend::TensorData;
use burn_tensor::Tensor;

use crate::data::Inputs;
use crate::kernels::Kernels;

/// A flat vector on a device.
pub fn upload<B: Kernels, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let data = TensorData::new(values, shape).convert::<B::FloatElem>();
    Tensor::from_data(data, device)
}

/// The same from f64, rounded to the backend's elements.
pub fn upload_wide<B: Kernels, const D: usize>(
    values: Vec<f64>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let data = TensorData::new(values, shape).convert::<B::FloatElem>();
    Tensor::from_data(data, device)
}

/// Views of samples on a device; those that are packed are made there.
///
/// A batch of `batch` samples of channels, height and width.
pub fn upload_inputs<B: Kernels, const VIEWS: usize>(
    inputs: Inputs<VIEWS>,
    batch: u32,
    [channels, height, width]: [usize; 3],
    device: &B::Device,
) -> [Tensor<B, 4>; VIEWS] {
    let shape = [batch as usize, channels, height, width];
    match inputs {
        Inputs::Values(views) => views.map(|values| upload(values, shape, device)),
        Inputs::Packed(packed) => B::augmented(packed, device),
    }
}

/// The elements of a tensor, rounded to f32 where the backend's are wider.
pub fn download<B: Kernels, const D: usize>(tensor: &Tensor<B, D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
