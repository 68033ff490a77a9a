//! Optimisers as their papers state them, in f64: the reference of `descent` and `alternation`.

use bissl_core::Optimizer;

use crate::matrix::{add, dot, norm, scale};

/// One group of parameters with its optimiser state; `tensors` are the lengths LARS looks at.
#[derive(Clone, Debug)]
pub(crate) struct Trained {
    pub(crate) parameter: Vec<f64>,
    momentum: Vec<f64>,
    second: Vec<f64>,
    tensors: Vec<usize>,
}

impl Trained {
    pub(crate) fn new(parameter: Vec<f64>, tensors: &[usize]) -> Self {
        let zeros = vec![0.0; parameter.len()];
        Self { momentum: zeros.clone(), second: zeros, parameter, tensors: tensors.to_vec() }
    }

    /// Step `index` (from 0) along an already clipped gradient.
    fn step(&mut self, optimizer: Optimizer, gradient: &[f64], rate: f64, index: u32) {
        match optimizer {
            Optimizer::Sgd { momentum, weight_decay } => {
                let decayed = add(gradient, weight_decay.into(), &self.parameter);
                self.momentum = add(&decayed, momentum.into(), &self.momentum);
                self.parameter = add(&self.parameter, -rate, &self.momentum);
            }
            Optimizer::Lars { momentum, weight_decay, trust } => {
                let decayed = add(gradient, weight_decay.into(), &self.parameter);
                let mut start = 0;
                for length in &self.tensors {
                    let range = start..start + length;
                    start = range.end;
                    let (p, d) =
                        (norm(&self.parameter[range.clone()]), norm(&decayed[range.clone()]));
                    let ratio = if p > 0.0 && d > 0.0 { f64::from(trust) * p / d } else { 1.0 };
                    for i in range {
                        self.momentum[i] =
                            f64::from(momentum) * self.momentum[i] + ratio * decayed[i];
                    }
                }
                self.parameter = add(&self.parameter, -rate, &self.momentum);
            }
            Optimizer::Adamw { beta1, beta2, epsilon, weight_decay } => {
                let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
                let count = index as i32 + 1;
                for (i, g) in gradient.iter().enumerate() {
                    self.momentum[i] = beta1 * self.momentum[i] + (1.0 - beta1) * g;
                    self.second[i] = beta2 * self.second[i] + (1.0 - beta2) * g * g;
                    let first = self.momentum[i] / (1.0 - beta1.powi(count));
                    let second = self.second[i] / (1.0 - beta2.powi(count));
                    let direction = first / (second.sqrt() + f64::from(epsilon));
                    self.parameter[i] -=
                        rate * (direction + f64::from(weight_decay) * self.parameter[i]);
                }
            }
        }
    }
}

/// Clips the total norm over all groups, then steps each; gives back the norm before clipping.
pub(crate) fn update(
    groups: &mut [(&mut Trained, Vec<f64>)],
    (optimizer, clip): (Optimizer, Option<f32>),
    rate: f64,
    index: u32,
) -> f64 {
    let total = groups.iter().map(|(_, gradient)| dot(gradient, gradient)).sum::<f64>().sqrt();
    let factor = clip.map_or(1.0, |limit| (f64::from(limit) / total).min(1.0));
    for (group, gradient) in groups {
        group.step(optimizer, &scale(factor, gradient), rate, index);
    }
    total
}
