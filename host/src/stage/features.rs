//! Features of a frozen backbone, and a head's scores of them, in evaluation mode.

use rayon::prelude::*;

use super::metric::Scores;
use super::task::Task;
use super::tensors::Weights;
use crate::data::{Targets, evaluation_images};
use crate::driver::{download, upload};
use crate::error::{Result, fail};
use crate::kernels::{Kernels, Tensor};
use crate::text::shown;

/// Images that are evaluated at once.
const CHUNK: usize = 128;

/// Features of labelled items.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// `[items, width]`, row-major.
    pub features: Vec<f32>,
    /// Features of an item.
    pub width: usize,
    /// What every item is labelled with.
    pub labels: Targets,
}

impl Evaluation {
    pub(super) fn rows(&self) -> impl IndexedParallelIterator<Item = &[f32]> {
        self.features.par_chunks(self.width)
    }

    /// The features divided by their norm; a zero row stays zero.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        for row in self.features.chunks_mut(self.width) {
            let norm = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
            }
        }
        self
    }
}

fn tensor<B: Kernels>(values: &[f32], device: &B::Device) -> Tensor<B, 1> {
    upload(values.to_vec(), [values.len()], device)
}

/// Calls `f` with the backbone's features of every chunk of items, in evaluation mode.
fn each_chunk<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    items: &[u32],
    mut f: impl FnMut(Tensor<B, 4>),
) -> Result<()> {
    let Task { images, networks, device, .. } = task;
    let parameters = tensor::<B>(&backbone.parameters, device);
    let statistics = tensor::<B>(&backbone.statistics, device);
    let chunks = evaluation_images(images.downstream(), items, &images.recipe, CHUNK);
    for chunk in chunks {
        let chunk = chunk?;
        let [channels, height, width] = chunk.shape;
        let shape = [chunk.batch as usize, channels, height, width];
        let x = upload::<B, 4>(chunk.images, shape, device);
        f(networks.backbone.evaluate(&parameters, &statistics, x));
    }
    Ok(())
}

/// Refuses numbers that no metric may be computed of: `width` of each of the items.
fn require_finite<B: Kernels>(
    task: &Task<B>,
    (what, values, width): (&str, &[f32], usize),
    items: &[u32],
) -> Result<()> {
    let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let name = task.images.downstream().item_name(items[at / width]);
    fail!(
        "{}: a {what} of it is {}, expected a finite number: the network's weights or its running \
         statistics are not finite, or a variance is below 0",
        shown(&*name),
        values[at]
    )
}

/// Features of items by running statistics.
///
/// # Errors
/// An item cannot be read; a feature is not finite.
pub fn features<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    items: &[u32],
) -> Result<Evaluation> {
    let (mut values, mut width) = (Vec::new(), 0);
    each_chunk(task, backbone, items, |y| {
        width = y.dims()[1];
        values.extend(download(&y));
    })?;
    require_finite(task, ("feature", &values, width), items)?;
    let labels = task.images.downstream().targets(items)?;
    Ok(Evaluation { features: values, width, labels })
}

/// The head's scores of items.
///
/// # Errors
/// An item cannot be read; a score is not finite.
pub fn scores<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    head: &Weights,
    items: &[u32],
) -> Result<Scores> {
    let head_parameters = tensor::<B>(&head.parameters, &task.device);
    // The classifier has no batch norm, and so no statistics.
    let none = Tensor::zeros([1], &task.device);
    let classes = task.networks.classes();
    let mut values = Vec::with_capacity(items.len() * classes);
    each_chunk(task, backbone, items, |features| {
        let logits = task.networks.classifier.evaluate(&head_parameters, &none, features);
        values.extend(download(&logits));
    })?;
    require_finite(task, ("score", &values, classes), items)?;
    Ok(Scores { values, classes })
}
