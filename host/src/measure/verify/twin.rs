//! The pretext loss of a residual network in f64, built from the names of its parameters alone.

use super::dense::{add, dot, norm, scale};
use super::tape::{Tape, Var};
use crate::network::{ParameterTable, Segment, Stem};

/// A backbone and a projector, seen through their parameter tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twin<'a> {
    pub(super) backbone: &'a ParameterTable,
    pub(super) projector: &'a ParameterTable,
    pub(super) stem: Stem,
    /// τ.
    pub(super) temperature: f64,
}

/// Images `[batch, 3, size, size]` of both views, and the projector's parameters.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) views: [Vec<f64>; 2],
    pub(super) dims: [usize; 4],
    pub(super) projector: Vec<f64>,
}

/// The loss at one θ.
#[derive(Clone, Debug)]
pub(super) struct Evaluated {
    pub(super) loss: f64,
    /// By θ.
    pub(super) gradient: Vec<f64>,
    /// `z zᵀ/τ`, `[2·batch, 2·batch]`, the diagonal not meant.
    pub(super) logits: Vec<f64>,
}

impl Twin<'_> {
    /// Loss, gradient and logits at θ.
    pub(super) fn evaluate(&self, theta: &[f64], batch: &Batch) -> Evaluated {
        let mut passes = Vec::new();
        let mut outputs = Vec::new();
        for view in &batch.views {
            let mut below = Tape::new(theta);
            let image = below.input(batch.dims, view.clone());
            let features = self.backbone(&mut below, image);
            let mut above = Tape::new(&batch.projector);
            let input = above.input(below.dims(features), below.value(features).to_vec());
            let output = self.projector(&mut above, input);
            outputs.extend_from_slice(above.value(output));
            passes.push((below, image, features, above, input, output));
        }
        let rows = 2 * batch.dims[0];
        let (loss, bars, logits) = nt_xent(&outputs, rows, self.temperature);
        let mut gradient = vec![0.0; theta.len()];
        let halves = bars.chunks(bars.len() / 2);
        for ((below, image, features, above, input, output), bar) in passes.iter().zip(halves) {
            let (_, feature_bar) = above.backward(*output, bar.to_vec(), *input);
            let (by_theta, _) = below.backward(*features, feature_bar, *image);
            gradient = add(&gradient, 1.0, &by_theta);
        }
        Evaluated { loss, gradient, logits }
    }

    fn backbone(&self, tape: &mut Tape<'_>, image: Var) -> Var {
        let table = self.backbone;
        let stride = if self.stem == Stem::Small { 1 } else { 2 };
        let mut x = tape.conv(image, &named(table, "conv1.weight"), stride);
        x = normalized(tape, table, x, "bn1");
        x = tape.relu(x);
        if self.stem == Stem::ImageNet {
            x = tape.max_pool(x, 3, 2, 1);
        }
        for stage in 1.. {
            for block in 0.. {
                let name = format!("layer{stage}.{block}");
                if find(table, &format!("{name}.conv1.weight")).is_none() {
                    break;
                }
                let stride = if block == 0 && stage > 1 { 2 } else { 1 };
                x = residual(tape, table, x, &name, stride);
            }
            if find(table, &format!("layer{}.0.conv1.weight", stage + 1)).is_none() {
                break;
            }
        }
        tape.mean(x)
    }

    fn projector(&self, tape: &mut Tape<'_>, features: Var) -> Var {
        let table = self.projector;
        let mut x = features;
        for layer in 0.. {
            let Some(weight) = find(table, &format!("{}.weight", 3 * layer)) else { break };
            let bias = find(table, &format!("{}.bias", 3 * layer));
            x = tape.linear(x, weight, bias);
            let norm = format!("{}", 3 * layer + 1);
            if find(table, &format!("{norm}.weight")).is_some() {
                x = normalized(tape, table, x, &norm);
                x = tape.relu(x);
            }
        }
        x
    }
}

fn find<'t>(table: &'t ParameterTable, name: &str) -> Option<&'t Segment> {
    table.segments().iter().find(|segment| segment.name == name)
}

fn named(table: &ParameterTable, name: &str) -> Segment {
    find(table, name).unwrap_or_else(|| unreachable!("every ResNet has {name}")).clone()
}

fn normalized(tape: &mut Tape<'_>, table: &ParameterTable, x: Var, name: &str) -> Var {
    let part = |kind: &str| named(table, &format!("{name}.{kind}"));
    tape.norm(x, &part("weight"), &part("bias"))
}

/// A basic or a bottleneck block: its first 3×3 convolution is the strided one.
fn residual(tape: &mut Tape<'_>, table: &ParameterTable, x: Var, name: &str, stride: usize) -> Var {
    let weight = |part: &str| find(table, &format!("{name}.{part}.weight"));
    let mut main = x;
    let mut left = stride;
    for number in 1.. {
        let Some(conv) = weight(&format!("conv{number}")) else { break };
        if number > 1 {
            main = tape.relu(main);
        }
        let own = if conv.shape[2] == 3 { std::mem::replace(&mut left, 1) } else { 1 };
        main = tape.conv(main, conv, own);
        main = normalized(tape, table, main, &format!("{name}.bn{number}"));
    }
    let shortcut = match weight("downsample.0") {
        Some(conv) => {
            let projected = tape.conv(x, conv, stride);
            normalized(tape, table, projected, &format!("{name}.downsample.1"))
        }
        None => x,
    };
    let sum = tape.add(main, shortcut);
    tape.relu(sum)
}

/// softmax of row `i` without its own column.
pub(super) fn probabilities(logits: &[f64], rows: usize, i: usize) -> Vec<f64> {
    let row = &logits[i * rows..(i + 1) * rows];
    let others = || row.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, x)| *x);
    let top = others().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = others().map(|x| (x - top).exp()).sum();
    let share = |(j, x): (usize, &f64)| if j == i { 0.0 } else { (x - top).exp() / total };
    row.iter().enumerate().map(share).collect()
}

/// NT-Xent of `rows` outputs, view A above view B: value, its gradient by the outputs, the logits.
fn nt_xent(outputs: &[f64], rows: usize, temperature: f64) -> (f64, Vec<f64>, Vec<f64>) {
    let width = outputs.len() / rows;
    let lengths: Vec<f64> = outputs.chunks(width).map(norm).collect();
    let units: Vec<Vec<f64>> =
        outputs.chunks(width).zip(&lengths).map(|(o, length)| scale(1.0 / length, o)).collect();
    let logits: Vec<f64> = (0..rows * rows)
        .map(|at| dot(&units[at / rows], &units[at % rows]) / temperature)
        .collect();
    let mut loss = 0.0;
    let mut logit_bars = vec![0.0; rows * rows];
    for i in 0..rows {
        let target = (i + rows / 2) % rows;
        let shares = probabilities(&logits, rows, i);
        loss -= shares[target].ln() / rows as f64;
        for (j, share) in shares.iter().enumerate() {
            logit_bars[i * rows + j] = (share - f64::from(j == target)) / rows as f64;
        }
    }
    let mut bars = Vec::with_capacity(outputs.len());
    for (i, unit) in units.iter().enumerate() {
        // A unit enters its row and its column.
        let mut unit_bar = vec![0.0; width];
        for (j, other) in units.iter().enumerate() {
            let weight = (logit_bars[i * rows + j] + logit_bars[j * rows + i]) / temperature;
            unit_bar = add(&unit_bar, weight, other);
        }
        let along = dot(&unit_bar, unit);
        bars.extend(scale(1.0 / lengths[i], &add(&unit_bar, -along, unit)));
    }
    (loss, bars, logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::verify::dense::differences;

    #[test]
    fn the_loss_has_the_gradient_that_it_says() {
        let outputs: Vec<f64> = (0..18).map(|i| (1.0 + 2.7 * f64::from(i)).sin()).collect();
        let (_, gradient, _) = nt_xent(&outputs, 6, 0.4);
        let expected = differences(&outputs, |outputs| nt_xent(outputs, 6, 0.4).0);
        assert!(norm(&add(&gradient, -1.0, &expected)) < 1e-8 * norm(&expected));
    }
}
