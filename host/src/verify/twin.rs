//! The pretext loss of a residual network in f64, built only from the names of its parameters.

use super::dense::add;
use super::tape::{Tape, Var};
use crate::network::pretext::Oracle;
use crate::network::{ParameterTable, Segment, Stem};

/// A backbone and a pretext head, described by their parameter tables.
#[derive(Clone, Copy)]
pub(super) struct Twin<'a> {
    pub(super) backbone: &'a ParameterTable,
    pub(super) head: &'a ParameterTable,
    pub(super) stem: Stem,
    pub(super) oracle: &'a dyn Oracle,
}

/// Images `[batch, 3, size, size]` of both views, and the pretext head's parameters.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) views: [Vec<f64>; 2],
    pub(super) dims: [usize; 4],
    pub(super) head: Vec<f64>,
    /// The target network's outputs; empty for a method without a target network.
    pub(super) targets: Vec<f64>,
}

/// The loss and its gradient at one θ.
#[derive(Clone, Debug)]
pub(super) struct Evaluated {
    pub(super) loss: f64,
    /// Gradient in θ.
    pub(super) gradient: Vec<f64>,
    /// The variables of the convex part.
    pub(super) inner: Vec<f64>,
}

/// The forward pass of one view.
struct Pass<'p> {
    below: Tape<'p>,
    image: Var,
    features: Var,
    above: Tape<'p>,
    input: Var,
    output: Var,
}

impl Twin<'_> {
    fn pass<'p>(&self, theta: &'p [f64], batch: &'p Batch, view: &[f64]) -> Pass<'p> {
        let mut below = Tape::new(theta);
        let image = below.input(batch.dims, view.to_vec());
        let features = self.backbone(&mut below, image);
        let mut above = Tape::new(&batch.head);
        let input = above.input(below.dims(features), below.value(features).to_vec());
        let projected = mlp(&mut above, self.head, "", input);
        let output = mlp(&mut above, self.head, "predictor.", projected);
        Pass { below, image, features, above, input, output }
    }

    /// The head's outputs at θ, view A before view B.
    pub(super) fn outputs(&self, theta: &[f64], batch: &Batch) -> Vec<f64> {
        let output = |view: &Vec<f64>| {
            let pass = self.pass(theta, batch, view);
            pass.above.value(pass.output).to_vec()
        };
        batch.views.iter().flat_map(output).collect()
    }

    /// Loss, gradient and the convex part's variables at θ.
    pub(super) fn evaluate(&self, theta: &[f64], batch: &Batch) -> Evaluated {
        let passes: Vec<_> = batch.views.iter().map(|view| self.pass(theta, batch, view)).collect();
        let outputs: Vec<f64> =
            passes.iter().flat_map(|pass| pass.above.value(pass.output).to_vec()).collect();
        let rows = 2 * batch.dims[0];
        let inner = self.oracle.inner(&outputs, rows);
        let loss = self.oracle.outer(&inner, rows, &batch.targets);
        let bars = self.oracle.gradient(&outputs, rows, &batch.targets);
        let mut gradient = vec![0.0; theta.len()];
        for (pass, bar) in passes.iter().zip(bars.chunks(bars.len() / 2)) {
            let (_, feature_bar) = pass.above.backward(pass.output, bar.to_vec(), pass.input);
            let (by_theta, _) = pass.below.backward(pass.features, feature_bar, pass.image);
            gradient = add(&gradient, 1.0, &by_theta);
        }
        Evaluated { loss, gradient, inner }
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
}

/// The layers of a head whose names begin with `prefix`, if there are any.
fn mlp(tape: &mut Tape<'_>, table: &ParameterTable, prefix: &str, features: Var) -> Var {
    let mut x = features;
    for layer in 0.. {
        let Some(weight) = find(table, &format!("{prefix}{}.weight", 3 * layer)) else { break };
        let bias = find(table, &format!("{prefix}{}.bias", 3 * layer));
        x = tape.linear(x, weight, bias);
        let norm = format!("{prefix}{}", 3 * layer + 1);
        if find(table, &format!("{norm}.weight")).is_some() {
            x = normalized(tape, table, x, &norm);
            x = tape.relu(x);
        }
    }
    x
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

/// A basic or bottleneck block. Its first 3×3 convolution is the strided one.
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
