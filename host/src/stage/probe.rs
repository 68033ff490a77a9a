//! Linear probe: logistic regression on the features of a frozen backbone.

use crate::error::Result;
use bissl_core::Schedule;

use super::features::Evaluation;
use super::initial::{Draw, initial};
use super::metric::Scores;
use super::task::Task;
use crate::driver::{download, upload};
use crate::kernels::{Kernels, Precision, Tensor, Transpose};
use crate::network::loss::value_and_gradient;

const MOMENTUM: f64 = 0.9;

/// Test scores of a linear classifier that was trained on the training features.
///
/// Features are standardised by the training set; full batches, momentum, cosine rate.
pub(super) fn probe_scores<B: Kernels>(
    task: &Task<B>,
    train: &Evaluation,
    test: &Evaluation,
) -> Result<Scores> {
    let (mean, scale) = standardisation(train);
    let inputs = |set: &Evaluation| -> Tensor<B, 2> {
        let mut values = set.features.clone();
        for row in values.chunks_mut(set.width) {
            for ((value, mean), scale) in row.iter_mut().zip(&mean).zip(&scale) {
                *value = (*value - mean) * scale;
            }
        }
        upload(values, [set.labels.len(), set.width], &task.device)
    };
    let (x, head) = (inputs(train), &task.networks.classifier);
    let table = head.parameters();
    let start = initial(head, task.config.seed, Draw::ProbeHead).parameters;
    let classes = table.segments()[1].len();
    let split = classes * train.width;
    let mut weight: Tensor<B, 1> = upload(start[..split].to_vec(), [split], &task.device);
    let mut bias: Tensor<B, 1> = upload(start[split..].to_vec(), [classes], &task.device);
    let (mut weight_momentum, mut bias_momentum) = (weight.zeros_like(), bias.zeros_like());

    let logits = |x: &Tensor<B, 2>, weight: &Tensor<B, 1>, bias: &Tensor<B, 1>| {
        let weight = weight.clone().reshape([classes, train.width]);
        B::matmul(x, &weight, Transpose::Right, Precision::F32) + bias.clone().reshape([1, classes])
    };
    let loss = task.downstream.loss(&train.labels);
    let epochs = task.config.evaluate.probe_epochs;
    let schedule = Schedule::new(task.config.evaluate.probe_learning_rate, 0, epochs, 0.0)?;
    for epoch in 0..epochs {
        let outputs = [logits(&x, &weight, &bias)];
        let (_, bars) = value_and_gradient::<B>(loss.as_ref(), &outputs);
        let weight_bar = B::matmul(&bars[0], &x, Transpose::Left, Precision::F32).reshape([split]);
        let bias_bar = B::sum_rows(&bars[0]);
        let rate = -f64::from(schedule.rate(epoch));
        weight_momentum = B::axpby(1.0, &weight_bar, MOMENTUM, weight_momentum);
        bias_momentum = B::axpby(1.0, &bias_bar, MOMENTUM, bias_momentum);
        weight = B::axpby(rate, &weight_momentum, 1.0, weight);
        bias = B::axpby(rate, &bias_momentum, 1.0, bias);
    }
    let values = download(&logits(&inputs(test), &weight, &bias));
    Ok(Scores { values, classes })
}

/// Mean and 1/deviation of every feature; 1 where a feature is constant.
fn standardisation(set: &Evaluation) -> (Vec<f32>, Vec<f32>) {
    let count = set.labels.len() as f64;
    let columns =
        |column: usize| set.features.iter().skip(column).step_by(set.width).map(|v| f64::from(*v));
    (0..set.width)
        .map(|column| {
            let mean = columns(column).sum::<f64>() / count;
            let variance = columns(column).map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
            let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 1.0 };
            (mean as f32, scale as f32)
        })
        .unzip()
}
