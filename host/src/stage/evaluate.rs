//! Held-out accuracy, linear probe, k nearest neighbours.

use anyhow::{Context, Result, bail};
use bissl_core::Group;
use rayon::prelude::*;

use super::images::{Images, Needs};
use super::probe::probe_accuracy;
use super::session::View;
use super::state::{self, Weights};
use crate::cli::Table;
use crate::config::RunConfig;
use crate::data::evaluation_images;
use crate::driver::{Networks, download, upload};
use crate::kernels::{Kernels, Tensor};
use crate::run::{NamedTensor, Origin, read_checkpoint};

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
    /// Class of every item.
    pub labels: Vec<u32>,
}

impl Evaluation {
    fn rows(&self) -> impl IndexedParallelIterator<Item = (&[f32], &u32)> {
        self.features.par_chunks(self.width).zip(&self.labels)
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

/// The command `evaluate`.
pub(super) fn command<B: Kernels>(
    from: &Origin,
    config: &RunConfig,
    view: &View,
    device: B::Device,
) -> Result<()> {
    let images = Images::load(config, Needs::Downstream)?;
    images.warn();
    let networks = state::networks(config, images.downstream().classes().len());
    let path = from.checkpoint_path()?;
    let architecture = state::architecture(config);
    let checkpoint = read_checkpoint::<serde_json::Value>(&path, Some(&architecture))?;
    // By the seed of the stage: by another one, images that it was trained on would be test images.
    let seed = state::seed(&checkpoint).with_context(|| path.display().to_string())?;
    let split = images.split(config, seed)?;
    let (backbone, head) =
        measured(&networks, &checkpoint.tensors).with_context(|| path.display().to_string())?;
    let labels = Labels::<B> { images: &images, networks: &networks, device: &device };
    let mut table = Table::new(["measure", "accuracy"]);
    if let Some(head) = head {
        let accuracy = accuracy::<B>(labels, &backbone, &head, &split.test)?;
        table.row(["held-out top-1".to_owned(), format!("{accuracy:.4}")]);
    }
    let (knn, probe) = frozen::<B>(labels, config, &backbone, &split.train, &split.test)?;
    table.row(["linear probe".to_owned(), format!("{probe:.4}")]);
    let neighbours = format!("{} nearest neighbours", config.evaluate.knn_neighbours);
    table.row([neighbours, format!("{knn:.4}")]);
    if view.interrupt.requested() {
        return Err(super::session::Interrupted.into());
    }
    println!("{} ({} test images)", path.display(), split.test.len());
    print!("{table}");
    Ok(())
}

/// The backbone that a checkpoint is about, and its head if it has been fine-tuned.
fn measured(networks: &Networks, tensors: &[NamedTensor]) -> Result<(Weights, Option<Weights>)> {
    if let Some(backbone) = state::group_weights(Group::LowerBackbone, networks, tensors)? {
        return Ok((backbone, None));
    }
    let best = state::weights("best_upper_backbone", &networks.backbone, tensors)?;
    let best_head = state::weights("best_downstream_head", &networks.classifier, tensors)?;
    if let (Some(backbone), Some(head)) = (best, best_head) {
        return Ok((backbone, Some(head)));
    }
    let backbone = state::group_weights(Group::UpperBackbone, networks, tensors)?;
    let head = state::group_weights(Group::DownstreamHead, networks, tensors)?;
    match backbone {
        Some(backbone) => Ok((backbone, head)),
        None => bail!("it holds no backbone"),
    }
}

/// k-nearest-neighbour and linear-probe accuracy of a frozen backbone.
pub(super) fn frozen<B: Kernels>(
    labels: Labels<'_, B>,
    config: &RunConfig,
    backbone: &Weights,
    train: &[u32],
    test: &[u32],
) -> Result<(f64, f64)> {
    let train = features::<B>(labels, backbone, train)?;
    let test = features::<B>(labels, backbone, test)?;
    let probe = probe_accuracy::<B>(labels, config, &train, &test)?;
    let knn = knn_accuracy(&train.normalized(), &test.normalized(), config.evaluate.knn_neighbours);
    Ok((knn, probe))
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
    let chunks = evaluation_images(images.downstream(), items, &images.augmentation, CHUNK);
    for chunk in chunks {
        let chunk = chunk?;
        let (batch, size) = (chunk.batch as usize, chunk.size as usize);
        let x = upload::<B, 4>(chunk.images, [batch, 3, size, size], device);
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
    let labels = labels.images.downstream().labels(items)?;
    Ok(Evaluation { features: values, width, labels })
}

/// Share of items whose class has the largest logit; of equal logits the first counts.
pub(super) fn accuracy<B: Kernels>(
    labels: Labels<'_, B>,
    backbone: &Weights,
    head: &Weights,
    items: &[u32],
) -> Result<f64> {
    let head_parameters = tensor::<B>(&head.parameters, labels.device);
    // The classifier has no batch norm, and so no statistics.
    let none = Tensor::zeros([1], labels.device);
    let mut predicted = Vec::with_capacity(items.len());
    each_chunk::<B>(labels, backbone, items, |features| {
        let logits = labels.networks.classifier.evaluate(&head_parameters, &none, features);
        let classes = logits.dims()[1];
        predicted.extend(download(&logits).chunks(classes).map(argmax));
    })?;
    let truth = labels.images.downstream().labels(items)?;
    Ok(share_equal(&predicted, &truth))
}

/// Position of the largest value; of equal ones the first.
pub(super) fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best as u32
}

/// Share of places where two lists agree.
pub(super) fn share_equal(a: &[u32], b: &[u32]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len().max(1) as f64
}

/// Positions of the `k` rows of `bank` most similar to `query` by inner product, most similar first;
/// of equal ones the first.
pub(super) fn nearest(bank: &Evaluation, query: &[f32], k: usize) -> Vec<usize> {
    let similarity = |row: &[f32]| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut order: Vec<(f32, usize)> =
        bank.features.chunks(bank.width).map(similarity).zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    order.into_iter().take(k).map(|(_, index)| index).collect()
}

/// Accuracy of a vote of the `k` nearest neighbours in `bank`, weighted by exp(similarity/0.07)
/// (Wu et al. 2018). Rows of both must be normalised.
pub fn knn_accuracy(bank: &Evaluation, queries: &Evaluation, k: usize) -> f64 {
    const TEMPERATURE: f64 = 0.07;
    let classes = bank.labels.iter().max().map_or(0, |max| *max as usize + 1);
    let vote = |query: &[f32]| -> u32 {
        let mut votes = vec![0.0f32; classes];
        for index in nearest(bank, query, k) {
            let row = &bank.features[index * bank.width..(index + 1) * bank.width];
            let similarity: f32 = row.iter().zip(query).map(|(a, b)| a * b).sum();
            let weight = ((f64::from(similarity) - 1.0) / TEMPERATURE).exp();
            votes[bank.labels[index] as usize] += weight as f32;
        }
        argmax(&votes)
    };
    let predicted: Vec<u32> = queries.rows().map(|(query, _)| vote(query)).collect();
    share_equal(&predicted, &queries.labels)
}
