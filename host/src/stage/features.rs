//! Features of a frozen backbone, and a head's scores of them, in evaluation mode.

use crate::error::Result;
use rayon::prelude::*;

use super::images::Images;
use super::metric::Scores;
use super::tensors::Weights;
use crate::data::{Targets, evaluation_images};
use crate::driver::{Networks, download, upload};
use crate::kernels::{Kernels, Tensor};

/// Images that are evaluated at once.
const CHUNK: usize = 128;

/// What a backbone is measured with.
#[derive(Debug)]
pub(super) struct Labels<'a, B: Kernels> {
    pub(super) images: &'a Images,
    pub(super) networks: &'a Networks,
    pub(super) device: &'a B::Device,
}

impl<B: Kernels> Clone for Labels<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Kernels> Copy for Labels<'_, B> {}

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
    pub(super) fn normalized(mut self) -> Self {
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
    Labels { images, networks, device }: Labels<'_, B>,
    backbone: &Weights,
    items: &[u32],
    mut f: impl FnMut(Tensor<B, 4>),
) -> Result<()> {
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

/// Features of items by running statistics.
pub(super) fn features<B: Kernels>(
    labels: Labels<'_, B>,
    backbone: &Weights,
    items: &[u32],
) -> Result<Evaluation> {
    let (mut values, mut width) = (Vec::new(), 0);
    each_chunk::<B>(labels, backbone, items, |y| {
        width = y.dims()[1];
        values.extend(download(&y));
    })?;
    let labels = labels.images.downstream().targets(items)?;
    Ok(Evaluation { features: values, width, labels })
}

/// The head's scores of items.
pub(super) fn scores<B: Kernels>(
    labels: Labels<'_, B>,
    backbone: &Weights,
    head: &Weights,
    items: &[u32],
) -> Result<Scores> {
    let head_parameters = tensor::<B>(&head.parameters, labels.device);
    // The classifier has no batch norm, and so no statistics.
    let none = Tensor::zeros([1], labels.device);
    let classes = labels.networks.classes();
    let mut values = Vec::with_capacity(items.len() * classes);
    each_chunk::<B>(labels, backbone, items, |features| {
        let logits = labels.networks.classifier.evaluate(&head_parameters, &none, features);
        values.extend(download(&logits));
    })?;
    Ok(Scores { values, classes })
}
