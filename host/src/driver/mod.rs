//! Connects the core's machines to Burn's tensors: registers are flat vectors, objectives are
//! towers.

mod downstream;
mod error;
mod networks;
pub(crate) mod observed;
mod problem;
mod registers;
mod statistics;
mod target;

pub(crate) use downstream::balanced_weights;
pub use downstream::{Classification, Downstream, DownstreamTask};
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

/// Uploads values to a device, in this shape.
pub(crate) fn upload<B: Kernels, const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let data = TensorData::new(values, shape).convert::<B::FloatElem>();
    Tensor::from_data(data, device)
}

/// [`upload`] from f64, rounded to the backend's elements.
pub(crate) fn upload_wide<B: Kernels, const D: usize>(
    values: Vec<f64>,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let data = TensorData::new(values, shape).convert::<B::FloatElem>();
    Tensor::from_data(data, device)
}

/// Uploads views of `batch` samples of these channels, height and width. Packed samples are
/// unpacked and augmented on the device.
pub(crate) fn upload_inputs<B: Kernels, const VIEWS: usize>(
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

/// Downloads a tensor's elements, rounded to f32 if the backend's are wider.
pub(crate) fn download<B: Kernels, const D: usize>(tensor: &Tensor<B, D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
