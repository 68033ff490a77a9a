//! Held-out accuracy, linear probe, k nearest neighbours.

use anyhow::{Context, Result, bail};
use bissl_core::Group;
use rayon::prelude::*;

use super::images::{Images, Needs};
use super::metric::{self, Scores};
use super::probe::probe_scores;
use super::session::View;
use super::state::{self, Weights};
use crate::cli::Table;
use crate::config::{Metric, RunConfig};
use crate::data::{Targets, evaluation_images};
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
    /// What every item is labelled with.
    pub labels: Targets,
}

impl Evaluation {
    fn rows(&self) -> impl IndexedParallelIterator<Item = &[f32]> {
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

/// The command `evaluate`.
pub(super) fn command<B: Kernels>(
    from: &Origin,
    config: &RunConfig,
    view: &View,
    device: B::Device,
) -> Result<()> {
    let path = from.checkpoint_path()?;
    let architecture = state::architecture(config);
    let checkpoint = read_checkpoint::<serde_json::Value>(&path, Some(&architecture))?;
    let images = Images::load(config, Needs::Downstream, &checkpoint.tensors)?;
    images.warn();
    let chosen = metric::chosen(config.evaluate.metric, images.downstream().task())?;
    let networks = state::networks(config, images.downstream().classes().len());
    // By the seed of the stage: by another one, images that it was trained on would be test images.
    let seed = state::seed(&checkpoint).with_context(|| path.display().to_string())?;
    let split = images.split(config, seed)?;
    let (backbone, head) =
        judged(&networks, &checkpoint.tensors).with_context(|| path.display().to_string())?;
    let labels = Labels::<B> { images: &images, networks: &networks, device: &device };
    let mut table = Table::new(["measure", "value"]);
    if let Some(head) = head {
        let scores = scores::<B>(labels, &backbone, &head, &split.test)?;
        for (metric, value) in measured(labels, chosen, &scores, &split.test)? {
            table.row([format!("held-out {}", metric::words(metric)), format!("{value:.4}")]);
        }
    }
    let (knn, probe) = frozen::<B>(labels, config, &backbone, &split.train, &split.test)?;
    let by = metric::words(chosen);
    table.row([format!("linear probe, {by}"), format!("{probe:.4}")]);
    let neighbours = config.evaluate.knn_neighbours;
    table.row([format!("{neighbours} nearest neighbours, {by}"), format!("{knn:.4}")]);
    if view.interrupt.requested() {
        return Err(super::session::Interrupted.into());
    }
    println!("{} ({} test images)", path.display(), split.test.len());
    print!("{table}");
    Ok(())
}

/// The backbone that a checkpoint is about, and its head if it has been fine-tuned.
pub(crate) fn judged(
    networks: &Networks,
    tensors: &[NamedTensor],
) -> Result<(Weights, Option<Weights>)> {
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

/// k nearest neighbours and linear probe of a frozen backbone, by the chosen metric.
pub(super) fn frozen<B: Kernels>(
    labels: Labels<'_, B>,
    config: &RunConfig,
    backbone: &Weights,
    train: &[u32],
    test: &[u32],
) -> Result<(f64, f64)> {
    let chosen = metric::chosen(config.evaluate.metric, labels.images.downstream().task())?;
    let train = features::<B>(labels, backbone, train)?;
    let queries = features::<B>(labels, backbone, test)?;
    let probe = probe_scores::<B>(labels, config, &train, &queries)?;
    let classes = labels.networks.classes();
    let neighbours = config.evaluate.knn_neighbours;
    let knn = knn_scores(&train.normalized(), &queries.normalized(), neighbours, classes);
    Ok((metric_of(labels, chosen, &knn, test)?, metric_of(labels, chosen, &probe, test)?))
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

/// The value of a metric on items.
pub(super) fn metric_of<B: Kernels>(
    labels: Labels<'_, B>,
    metric: Metric,
    scores: &Scores,
    items: &[u32],
) -> Result<f64> {
    let targets = labels.images.downstream().targets(items)?;
    match metric::value(metric, scores, &targets) {
        Some(value) => Ok(value),
        None => bail!(
            "{metric} of {} images is undefined: a score is not a number, or no image shows a class",
            items.len()
        ),
    }
}

/// Every metric that fits the labels, the chosen one among them.
pub(super) fn measured<B: Kernels>(
    labels: Labels<'_, B>,
    chosen: Metric,
    scores: &Scores,
    items: &[u32],
) -> Result<Vec<(Metric, f64)>> {
    let task = labels.images.downstream().task();
    let metrics = metric::reported(chosen, task, scores.classes);
    metrics
        .into_iter()
        .map(|metric| Ok((metric, metric_of(labels, metric, scores, items)?)))
        .collect()
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

/// Votes of the `k` nearest neighbours in `bank` for the classes that they show, weighted by
/// exp(similarity/0.07) (Wu et al. 2018). Rows of both must be normalised.
pub fn knn_scores(bank: &Evaluation, queries: &Evaluation, k: usize, classes: usize) -> Scores {
    const TEMPERATURE: f64 = 0.07;
    let vote = |query: &[f32]| -> Vec<f32> {
        let mut votes = vec![0.0f32; classes];
        for index in nearest(bank, query, k) {
            let row = &bank.features[index * bank.width..(index + 1) * bank.width];
            let similarity: f32 = row.iter().zip(query).map(|(a, b)| a * b).sum();
            let weight = ((f64::from(similarity) - 1.0) / TEMPERATURE).exp();
            for &class in bank.labels.present(index) {
                votes[class as usize] += weight as f32;
            }
        }
        votes
    };
    let votes: Vec<Vec<f32>> = queries.rows().map(vote).collect();
    Scores { values: votes.concat(), classes }
}
