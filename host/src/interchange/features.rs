//! `bissl features`: what a backbone makes of images or windows.

use std::path::PathBuf;

use crate::error::Result;

use crate::backend::{Work, dispatch};
use crate::config::{Family, RunConfig};
use crate::driver::{download, upload};
use crate::kernels::{BackendName, Kernels};
use crate::model::{architecture, networks};
use crate::network::Network;
use crate::run::{NamedTensor, Origin, RunError, TensorView, read_tensors, write_tensors};
use crate::stage::origin::Stored;
use crate::stage::tensors::{Weights, classes};
use crate::text::shown;

/// Images that are computed at once.
const CHUNK: usize = 64;

/// What is to be computed.
#[derive(Clone, Debug)]
pub struct FeaturesJob {
    /// A run or a checkpoint.
    pub from: Origin,
    /// A safetensors file with `images`, `[n, channels, height, width]`: normalised pixels or
    /// samples.
    pub input: PathBuf,
    /// The file with `features`, `[n, features]`; replaced if it exists.
    pub out: PathBuf,
    /// What computes; `None`: what the run says.
    pub backend: Option<BackendName>,
}

/// Writes the features of images, in evaluation mode: by running statistics. Returns a line about
/// it.
///
/// # Errors
/// There is no valid checkpoint with a backbone; the images are missing, of another shape or not
/// finite; the file cannot be written.
pub fn features(job: FeaturesJob) -> Result<String> {
    let FeaturesJob { from, input, out, backend } = job;
    let config: RunConfig = from.config()?;
    let stored = Stored::open(&from, &config)?;
    let (name, path) = (architecture(&config), &stored.path);
    let networks = networks(&config, classes(stored.tensors()));
    let (weights, _) = stored.result(&networks)?;
    let [channels, ..] = config.input();
    let expected = format!(
        "expected a tensor `images` of shape [n, {channels}, height, width], none of them 0"
    );
    let images = read_tensors(&input)?.into_iter().find(|tensor| tensor.name == "images");
    let Some(images) = images else {
        return Err(RunError::unfit(&input, format!("it holds none, {expected}")).into());
    };
    let NamedTensor { shape, values, .. } = images;
    let unfit = || RunError::unfit(&input, format!("images has shape {shape:?}, {expected}"));
    let &[count, found, height, width] = &shape[..] else { return Err(unfit().into()) };
    if found != channels || count * height * width == 0 {
        return Err(unfit().into());
    }
    if config.network.architecture == Family::Layers && [found, height, width] != config.input() {
        // A dense layer takes its own size alone.
        let reason = format!("images has shape {shape:?}, expected [n, {:?}]", config.input());
        return Err(RunError::unfit(&input, reason).into());
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let size = channels * height * width;
        let (image, within) = (at / size, at % size);
        let (channel, pixel) = (within / (height * width), within % (height * width));
        let reason = format!(
            "images is {} at [{image}, {channel}, {}, {}], expected finite numbers",
            values[at],
            pixel / width,
            pixel % width
        );
        return Err(RunError::unfit(&input, reason).into());
    }
    let pass =
        Pass { network: &networks.backbone, weights, values, shape: [channels, height, width] };
    let values = dispatch(backend.unwrap_or(config.backend), pass)?;
    let shape = [count, values.len() / count];
    let view = TensorView { name: "features", shape: &shape, values: &values };
    write_tensors(&out, &[view])?;
    Ok(format!("{}: features {shape:?} of {name}, {}\n", shown(&out), shown(path)))
}

/// A forward pass that waits for its backend.
struct Pass<'n> {
    network: &'n Network,
    weights: Weights,
    values: Vec<f32>,
    /// Channels, height and width.
    shape: [usize; 3],
}

impl Work for Pass<'_> {
    type Output = Vec<f32>;

    fn run<B: Kernels>(self, device: B::Device) -> Vec<f32> {
        let flat = |values: Vec<f32>| {
            let len = values.len();
            upload::<B, 1>(values, [len], &device)
        };
        let (parameters, statistics) =
            (flat(self.weights.parameters), flat(self.weights.statistics));
        let [channels, height, width] = self.shape;
        let image = channels * height * width;
        let mut features = Vec::new();
        for chunk in self.values.chunks(CHUNK * image) {
            let shape = [chunk.len() / image, channels, height, width];
            let x = upload::<B, 4>(chunk.to_vec(), shape, &device);
            features.extend(download(&self.network.evaluate(&parameters, &statistics, x)));
        }
        features
    }
}
