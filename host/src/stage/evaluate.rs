//! Held-out accuracy, linear probe, k nearest neighbours.

use rayon::prelude::*;

use super::features::{Evaluation, features, scores};
use super::metric::{self, Scores};
use super::probe::probe_scores;
use super::task::Task;
use super::tensors::Weights;
use super::warm_up::Headed;
use crate::config::Metric;
use crate::error::{Result, fail};
use crate::kernels::Kernels;

/// k nearest neighbours and linear probe of a frozen backbone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frozen {
    /// By the votes of `evaluate.knn_neighbours` training items.
    pub knn: f64,
    /// By a linear classifier on the training features.
    pub probe: f64,
}

/// Measures a frozen backbone by the task's metric: `train` teaches, `test` is judged.
///
/// # Errors
/// An item cannot be read; the metric is undefined.
pub fn frozen<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    train: &[u32],
    test: &[u32],
) -> Result<Frozen> {
    let chosen = task.metric()?;
    let train = features(task, backbone, train)?;
    let queries = features(task, backbone, test)?;
    let probe = probe_scores(task, &train, &queries)?;
    let (classes, neighbours) = (task.networks.classes(), task.config.evaluate.knn_neighbours);
    let knn = knn_scores(&train.normalized(), &queries.normalized(), neighbours, classes);
    let (knn, probe) =
        (metric_of(task, chosen, &knn, test)?, metric_of(task, chosen, &probe, test)?);
    Ok(Frozen { knn, probe })
}

/// The value of a metric on items.
///
/// # Errors
/// It is undefined: a score is not a number, or no item shows a class.
pub fn metric_of<B: Kernels>(
    task: &Task<B>,
    metric: Metric,
    scores: &Scores,
    items: &[u32],
) -> Result<f64> {
    let targets = task.images.downstream().targets(items)?;
    match metric::value(metric, scores, &targets) {
        Some(value) => Ok(value),
        None => fail!(
            "{metric} of {} images is undefined: a score is not a number, or no image shows a class",
            items.len()
        ),
    }
}

/// A fine-tuned network on items, by every metric that fits the labels, the task's own among them.
///
/// # Errors
/// An item cannot be read; a metric is undefined.
pub fn measured<B: Kernels>(
    task: &Task<B>,
    network: &Headed,
    items: &[u32],
) -> Result<Vec<(Metric, f64)>> {
    let scores = scores(task, &network.backbone, &network.head, items)?;
    let metrics = metric::reported(task.metric()?, task.images.downstream().task(), scores.classes);
    metrics
        .into_iter()
        .map(|metric| Ok((metric, metric_of(task, metric, &scores, items)?)))
        .collect()
}

/// Positions of the `k` rows of `bank` most similar to `query` by inner product, most similar
/// first; of equal ones the first.
pub fn nearest(bank: &Evaluation, query: &[f32], k: usize) -> Vec<usize> {
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
