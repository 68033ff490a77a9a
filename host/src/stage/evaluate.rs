//! Held-out accuracy, linear probe, k nearest neighbours.

use crate::error::{Error, Result, fail};
use rayon::prelude::*;

use super::features::{Evaluation, Labels, features, scores};
use super::images::{Images, Needs};
use super::metric::{self, Scores};
use super::origin::Stored;
use super::probe::probe_scores;
use super::session::View;
use super::tensors::Weights;
use crate::config::{Metric, RunConfig};
use crate::kernels::Kernels;
use crate::model;
use crate::report::Table;
use crate::run::Origin;

/// The command `evaluate`.
pub(super) fn command<B: Kernels>(
    from: &Origin,
    config: &RunConfig,
    view: &View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, config)?;
    let images = Images::load(config, Needs::Downstream, stored.tensors())?;
    images.warn();
    let chosen = metric::chosen(config.evaluate.metric, images.downstream().task())?;
    let networks = model::networks(config, images.downstream().classes().len());
    // By the seed of the stage: by another one, images that it was trained on would be test images.
    let seed = stored.seed()?;
    let split = images.split(config, seed)?;
    let (backbone, head) = stored.result(&networks)?;
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
        return Err(Error::Interrupted);
    }
    println!("{} ({} test images)", stored.path.display(), split.test.len());
    print!("{table}");
    Ok(())
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
        None => fail!(
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
