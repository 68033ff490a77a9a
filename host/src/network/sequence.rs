//! A network: layers in sequence, with residual sums, over one flat parameter vector.

use burn_tensor::Tensor;

use super::ParameterTable;
use super::batch_norm::BatchNorm;
use super::conv::Conv;
use super::layer::{Cotangents, Direction, Layer, Saved, sum};
use super::linear::Linear;
use super::pool::{AveragePool, MaxPool};
use super::relu::Relu;
use crate::kernels::{Kernels, Precision};

/// Share of the old value in a running statistic's update.
const RUNNING_DECAY: f64 = 0.9;

/// The kinds of layer: closed, so that a network is plain data.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Conv(Conv),
    BatchNorm(BatchNorm),
    Relu(Relu),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    Linear(Linear),
}

impl Kind {
    fn layer<B: Kernels>(&self) -> &dyn Layer<B> {
        match self {
            Self::Conv(layer) => layer,
            Self::BatchNorm(layer) => layer,
            Self::Relu(layer) => layer,
            Self::MaxPool(layer) => layer,
            Self::AveragePool(layer) => layer,
            Self::Linear(layer) => layer,
        }
    }

    /// Piecewise linear without parameters: the tangent of its backward pass is the backward pass of the
    /// tangent, and needs neither ẋ nor ȳ.
    fn is_piecewise_linear(&self) -> bool {
        match self {
            Self::Relu(_) | Self::MaxPool(_) | Self::AveragePool(_) => true,
            Self::Conv(_) | Self::BatchNorm(_) | Self::Linear(_) => false,
        }
    }
}

/// A layer at its slot, or a residual sum of two branches.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// What the passes keep for this layer stands at `slot`.
    Layer { slot: usize, kind: Kind },
    /// `main(x) + shortcut(x)`; an empty shortcut is the identity.
    Residual { main: Vec<Node>, shortcut: Vec<Node> },
}

/// A sequence of layers with its tables.
#[derive(Clone, Debug, Default)]
pub struct Network {
    nodes: Vec<Node>,
    slots: usize,
    parameters: ParameterTable,
    statistics: ParameterTable,
}

/// What a forward pass in training mode gives.
#[derive(Clone, Debug)]
pub struct Forward<B: Kernels> {
    /// The output.
    pub y: Tensor<B, 4>,
    /// What each layer keeps, by slot.
    pub saved: Vec<Saved<B>>,
}

/// What a backward pass gives.
#[derive(Clone, Debug)]
pub struct Backward<B: Kernels> {
    /// x̄ (or x̄̇), if asked for.
    pub input: Option<Tensor<B, 4>>,
    /// p̄ (or p̄̇), if asked for.
    pub parameters: Option<Tensor<B, 1>>,
    /// ȳ at the output of every layer that needs it later, by slot; kept by [`Network::backward`] if
    /// asked for.
    pub y_bars: Vec<Option<Tensor<B, 4>>>,
}

/// A cotangent and its tangent.
#[derive(Clone, Debug)]
pub struct Bars<B: Kernels> {
    /// ȳ.
    pub value: Tensor<B, 4>,
    /// ȳ̇.
    pub tangent: Tensor<B, 4>,
}

/// Which cotangents a backward pass should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Those of the parameters.
    pub parameters: bool,
    /// That of the input.
    pub input: bool,
    /// Those of all layers' outputs, for a linearisation.
    pub layers: bool,
}

/// A linearised batch of one network: everything [`Network::backward_tangent`] needs but the direction.
#[derive(Clone, Copy, Debug)]
pub struct Linearized<'a, B: Kernels> {
    /// What the forward pass kept.
    pub saved: &'a [Saved<B>],
    /// ȳ at the output of every layer that needs it.
    pub y_bars: &'a [Option<Tensor<B, 4>>],
}

fn multiply_in(nodes: &mut [Node], precision: Precision) {
    for node in nodes {
        match node {
            Node::Layer { kind: Kind::Conv(layer), .. } => layer.multiply_in(precision),
            Node::Layer { kind: Kind::Linear(layer), .. } => layer.multiply_in(precision),
            Node::Layer { .. } => {}
            Node::Residual { main, shortcut } => {
                multiply_in(main, precision);
                multiply_in(shortcut, precision);
            }
        }
    }
}

impl Network {
    /// Collects nodes; `build` gets the tables to append to.
    pub(super) fn build(build: impl FnOnce(&mut Builder<'_>) -> Vec<Node>) -> Self {
        let mut network = Self::default();
        let mut builder = Builder {
            slots: &mut network.slots,
            parameters: &mut network.parameters,
            statistics: &mut network.statistics,
        };
        let nodes = build(&mut builder);
        network.nodes = nodes;
        network
    }

    /// The same network with convolutions and matrix products in this precision; devices only.
    #[must_use]
    pub fn multiplying_in(mut self, precision: Precision) -> Self {
        multiply_in(&mut self.nodes, precision);
        self
    }

    /// The table of its parameters.
    pub fn parameters(&self) -> &ParameterTable {
        &self.parameters
    }

    /// The table of its running statistics.
    pub fn statistics(&self) -> &ParameterTable {
        &self.statistics
    }

    /// Value in training mode.
    pub fn forward<B: Kernels>(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> Forward<B> {
        let mut saved = Vec::with_capacity(self.slots);
        let y = forward(&self.nodes, p, x, &mut saved);
        Forward { y, saved }
    }

    /// Value by running statistics.
    pub fn evaluate<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        running: &Tensor<B, 1>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        evaluate(&self.nodes, p, running, x)
    }

    /// Jacobian-vector product; also ẋ at the input of every layer that needs it later, by slot.
    pub fn tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved<B>],
        x_dot: Option<Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> (Option<Tensor<B, 4>>, Vec<Option<Tensor<B, 4>>>) {
        let mut x_dots = vec![None; self.slots];
        let y_dot = tangent(&self.nodes, p, saved, x_dot, p_dot, Some(&mut x_dots));
        (y_dot, x_dots)
    }

    /// Jacobian-vector product alone, without the memory of [`Network::tangent`].
    pub fn tangent_output<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved<B>],
        x_dot: Option<Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        tangent(&self.nodes, p, saved, x_dot, p_dot, None)
    }

    /// Vector-Jacobian product.
    pub fn backward<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved<B>],
        y_bar: Tensor<B, 4>,
        want: Want,
    ) -> Backward<B> {
        let mut out = Cotangents::new(want.parameters, want.input);
        let mut y_bars = want.layers.then(|| vec![None; self.slots]);
        let mut pass = |slot: usize, kind: &Kind, y_bar: Tensor<B, 4>, out: &mut _| {
            let x_bar = kind.layer().backward(p, &saved[slot], &y_bar, out);
            if let Some(y_bars) = &mut y_bars
                && !kind.is_piecewise_linear()
            {
                y_bars[slot] = Some(y_bar);
            }
            x_bar
        };
        let input = descend(&self.nodes, y_bar, &mut out, &mut pass, &|a, b| B::add(a, &b));
        Backward { input, parameters: out.into_flat(), y_bars: y_bars.unwrap_or_default() }
    }

    /// Tangent of [`Network::backward`]: in the direction of the `x_dots` that [`Network::tangent`]
    /// gave for `p_dot`, and of `y_bar_dot`.
    pub fn backward_tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        at: Linearized<'_, B>,
        mut x_dots: Vec<Option<Tensor<B, 4>>>,
        p_dot: Option<&Tensor<B, 1>>,
        y_bar_dot: Tensor<B, 4>,
        want: Want,
    ) -> Backward<B> {
        let mut out = Cotangents::new(want.parameters, want.input);
        let mut pass = |slot: usize, kind: &Kind, y_bar_dot: Tensor<B, 4>, out: &mut _| {
            if kind.is_piecewise_linear() {
                return kind.layer().backward(p, &at.saved[slot], &y_bar_dot, out);
            }
            let x_dot = x_dots[slot].take();
            let direction = Direction { x_dot: x_dot.as_ref(), p_dot, y_bar_dot: &y_bar_dot };
            let y_bar = at.y_bars[slot].as_ref().expect("the linearisation kept every cotangent");
            kind.layer().backward_tangent(p, &at.saved[slot], direction, y_bar, out)
        };
        let input = descend(&self.nodes, y_bar_dot, &mut out, &mut pass, &|a, b| B::add(a, &b));
        Backward { input, parameters: out.into_flat(), y_bars: Vec::new() }
    }

    /// [`Network::backward`] from `y_bar` and its tangent side by side, for a linearisation that has not
    /// kept the layers' cotangents: each lives no longer than the layer above it needs it.
    ///
    /// Gives the tangents, and ȳ's x̄ with x̄̇ if the input's are asked for.
    pub fn backward_and_tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved<B>],
        mut x_dots: Vec<Option<Tensor<B, 4>>>,
        p_dot: Option<&Tensor<B, 1>>,
        bars: Bars<B>,
        want: Want,
    ) -> (Option<Bars<B>>, Option<Tensor<B, 1>>) {
        let mut out = Cotangents::new(want.parameters, want.input);
        let mut pass = |slot: usize, kind: &Kind, bars: Bars<B>, out: &mut Cotangents<B>| {
            let Bars { value: y_bar, tangent: y_bar_dot } = bars;
            let saved = &saved[slot];
            let mut first_order = Cotangents::new(false, out.wants_input());
            let value = kind.layer().backward(p, saved, &y_bar, &mut first_order);
            let tangent = if kind.is_piecewise_linear() {
                kind.layer().backward(p, saved, &y_bar_dot, out)
            } else {
                let x_dot = x_dots[slot].take();
                let direction = Direction { x_dot: x_dot.as_ref(), p_dot, y_bar_dot: &y_bar_dot };
                kind.layer().backward_tangent(p, saved, direction, &y_bar, out)
            };
            value.zip(tangent).map(|(value, tangent)| Bars { value, tangent })
        };
        let add = |a: Bars<B>, b: Bars<B>| Bars {
            value: B::add(a.value, &b.value),
            tangent: B::add(a.tangent, &b.tangent),
        };
        let input = descend(&self.nodes, bars, &mut out, &mut pass, &add);
        (input, out.into_flat())
    }

    /// Running statistics after a training step: `0.9 old + 0.1 batch`, the variance unbiased.
    pub fn updated_statistics<B: Kernels>(
        &self,
        running: Tensor<B, 1>,
        saved: &[Saved<B>],
    ) -> Tensor<B, 1> {
        let mut parts = Vec::new();
        for saved in saved {
            if let Saved::Norm { statistics, count, .. } = saved {
                let unbiased = *count as f64 / (count.saturating_sub(1).max(1)) as f64;
                parts.push(statistics.mean.clone());
                parts.push(statistics.variance.clone() * unbiased);
            }
        }
        if parts.is_empty() {
            return running;
        }
        let batch = Tensor::cat(parts, 0);
        B::axpby(1.0 - RUNNING_DECAY, &batch, RUNNING_DECAY, running)
    }
}

/// Hands out slots and tables while a network is built.
pub(super) struct Builder<'a> {
    slots: &'a mut usize,
    pub(super) parameters: &'a mut ParameterTable,
    pub(super) statistics: &'a mut ParameterTable,
}

impl Builder<'_> {
    pub(super) fn layer(&mut self, kind: Kind) -> Node {
        let slot = *self.slots;
        *self.slots += 1;
        Node::Layer { slot, kind }
    }
}

fn forward<B: Kernels>(
    nodes: &[Node],
    p: &Tensor<B, 1>,
    x: Tensor<B, 4>,
    saved: &mut Vec<Saved<B>>,
) -> Tensor<B, 4> {
    nodes.iter().fold(x, |x, node| match node {
        Node::Layer { slot, kind } => {
            let (y, kept) = kind.layer().forward(p, x);
            debug_assert_eq!(*slot, saved.len(), "slots are numbered in forward order");
            saved.push(kept);
            y
        }
        Node::Residual { main, shortcut } => {
            let y = forward(main, p, x.clone(), saved);
            B::add(y, &forward(shortcut, p, x, saved))
        }
    })
}

fn evaluate<B: Kernels>(
    nodes: &[Node],
    p: &Tensor<B, 1>,
    running: &Tensor<B, 1>,
    x: Tensor<B, 4>,
) -> Tensor<B, 4> {
    nodes.iter().fold(x, |x, node| match node {
        Node::Layer { kind, .. } => kind.layer().evaluate(p, running, x),
        Node::Residual { main, shortcut } => {
            let y = evaluate(main, p, running, x.clone());
            B::add(y, &evaluate(shortcut, p, running, x))
        }
    })
}

fn tangent<B: Kernels>(
    nodes: &[Node],
    p: &Tensor<B, 1>,
    saved: &[Saved<B>],
    x_dot: Option<Tensor<B, 4>>,
    p_dot: Option<&Tensor<B, 1>>,
    mut x_dots: Option<&mut [Option<Tensor<B, 4>>]>,
) -> Option<Tensor<B, 4>> {
    nodes.iter().fold(x_dot, |x_dot, node| match node {
        Node::Layer { slot, kind } => {
            let y_dot = kind.layer().tangent(p, &saved[*slot], x_dot.as_ref(), p_dot);
            if let Some(x_dots) = x_dots.as_deref_mut()
                && !kind.is_piecewise_linear()
            {
                x_dots[*slot] = x_dot;
            }
            y_dot
        }
        Node::Residual { main, shortcut } => {
            let y_dot = tangent(main, p, saved, x_dot.clone(), p_dot, x_dots.as_deref_mut());
            sum(y_dot, tangent(shortcut, p, saved, x_dot, p_dot, x_dots.as_deref_mut()))
        }
    })
}

/// Walks the nodes from the output to the input, calling `pass` at every layer; the input's cotangent
/// of the first layer is computed only if `out` asks for it. `T` is what goes from layer to layer, added
/// where branches meet.
fn descend<B: Kernels, T: Clone>(
    nodes: &[Node],
    y_bar: T,
    out: &mut Cotangents<B>,
    pass: &mut impl FnMut(usize, &Kind, T, &mut Cotangents<B>) -> Option<T>,
    add: &impl Fn(T, T) -> T,
) -> Option<T> {
    let wants_input = out.wants_input();
    let mut bar = Some(y_bar);
    for (place, node) in nodes.iter().enumerate().rev() {
        let y_bar = bar.take().expect("only the first node's input cotangent is ever left out");
        out.set_wants_input(place > 0 || wants_input);
        bar = match node {
            Node::Layer { slot, kind } => pass(*slot, kind, y_bar, out),
            Node::Residual { main, shortcut } => {
                let wanted = out.wants_input();
                let through = descend(shortcut, y_bar.clone(), out, pass, add);
                out.set_wants_input(wanted);
                match (descend(main, y_bar, out, pass, add), through) {
                    (Some(main), Some(shortcut)) => Some(add(main, shortcut)),
                    (main, shortcut) => main.or(shortcut),
                }
            }
        };
    }
    out.set_wants_input(wants_input);
    bar
}
