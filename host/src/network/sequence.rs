//! A network: layers in sequence, with residual sums, over one flat parameter vector.

use std::sync::Arc;

use burn_tensor::Tensor;

use super::erased::{Erased, Saved};
use super::layer::{Cotangents, Direction};
use super::parameters::{ParameterTable, Parameters};
use super::plan::{Plan, compute, descend, push};
use super::shape::Shape;
use crate::kernels::{Kernels, Precision};

/// Weight of the old value in a running statistic's update.
const RUNNING_DECAY: f64 = 0.9;

/// A sequence of layers with its tables, for every backend. Clones share the layers.
#[derive(Clone, Debug)]
pub struct Network {
    plan: Arc<Plan>,
    input: Shape,
    output: Shape,
    precision: Precision,
}

/// Result of a forward pass in training mode.
#[derive(Debug)]
pub struct Forward<B: Kernels> {
    /// The output.
    pub y: Tensor<B, 4>,
    /// What each layer keeps, by slot.
    pub saved: Vec<Saved>,
}

/// Result of a backward pass.
#[derive(Clone, Debug)]
pub(super) struct Backward<B: Kernels> {
    /// x̄ (or x̄̇), if requested.
    pub(super) input: Option<Tensor<B, 4>>,
    /// p̄ (or p̄̇), if requested.
    pub(super) parameters: Option<Tensor<B, 1>>,
    /// ȳ at the output of every layer that needs it later, by slot; [`Network::backward`] keeps it
    /// if requested.
    pub(super) y_bars: Vec<Option<Tensor<B, 4>>>,
}

/// A cotangent and its tangent.
#[derive(Clone, Debug)]
pub(super) struct CotangentPair<B: Kernels> {
    /// ȳ.
    pub(super) value: Tensor<B, 4>,
    /// ȳ̇.
    pub(super) tangent: Tensor<B, 4>,
}

/// The cotangents that a backward pass should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of the parameters.
    pub(super) parameters: bool,
    /// Of the input.
    pub(super) input: bool,
    /// Of all layers' outputs, for a linearisation.
    pub(super) layers: bool,
}

/// A linearised batch of one network: all that [`Network::backward_tangent`] needs besides the
/// direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linearized<'a, B: Kernels> {
    /// What the forward pass kept.
    pub(super) saved: &'a [Saved],
    /// ȳ at the output of every layer that needs it.
    pub(super) y_bars: &'a [Option<Tensor<B, 4>>],
}

impl Network {
    pub(super) fn new(plan: Plan, input: Shape, output: Shape) -> Self {
        Self { plan: Arc::new(plan), input, output, precision: Precision::F32 }
    }

    /// The same network with convolutions and matrix products in this precision, on devices.
    #[must_use]
    pub fn multiplying_in(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Shape of one input sample.
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// Shape of one output sample.
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// The table of the parameters.
    pub fn parameters(&self) -> &ParameterTable {
        &self.plan.parameters
    }

    /// The table of the running statistics.
    pub fn statistics(&self) -> &ParameterTable {
        &self.plan.statistics
    }

    fn passes<B: Kernels>(&self, slot: usize) -> &dyn Erased<B> {
        self.plan.slots[slot].layer.on()
    }

    /// The parameters, or their tangents, of the layer at `slot`.
    fn parameters_of<'a, B: Kernels>(
        &'a self,
        slot: usize,
        flat: &'a Tensor<B, 1>,
    ) -> Parameters<'a, B> {
        let segments = &self.plan.parameters.segments()[self.plan.slots[slot].parameters.clone()];
        Parameters::new(flat, segments, self.precision)
    }

    /// The running statistics of the layer at `slot`.
    fn statistics_of<'a, B: Kernels>(
        &'a self,
        slot: usize,
        flat: &'a Tensor<B, 1>,
    ) -> Parameters<'a, B> {
        let segments = &self.plan.statistics.segments()[self.plan.slots[slot].statistics.clone()];
        Parameters::new(flat, segments, self.precision)
    }

    fn is_piecewise_linear(&self, slot: usize) -> bool {
        self.plan.slots[slot].is_piecewise_linear
    }

    /// Value in training mode.
    pub fn forward<B: Kernels>(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> Forward<B> {
        let mut saved = Vec::with_capacity(self.plan.slots.len());
        let y = compute(&self.plan.nodes, x, &mut |slot, x| {
            let (y, kept) = self.passes(slot).forward(self.parameters_of(slot, p), x);
            debug_assert_eq!(slot, saved.len(), "slots are numbered in forward order");
            saved.push(kept);
            y
        });
        Forward { y, saved }
    }

    /// Value by running statistics.
    pub fn evaluate<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        running: &Tensor<B, 1>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        compute(&self.plan.nodes, x, &mut |slot, x| {
            let running = self.statistics_of(slot, running);
            self.passes(slot).evaluate(self.parameters_of(slot, p), running, x)
        })
    }

    /// Jacobian-vector product, and ẋ at the input of every layer that needs it later, by slot.
    pub(super) fn tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        x_dot: Option<Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> (Option<Tensor<B, 4>>, Vec<Option<Tensor<B, 4>>>) {
        let mut x_dots = vec![None; self.plan.slots.len()];
        let y_dot = push(&self.plan.nodes, x_dot, &mut |slot, x_dot| {
            let y_dot = self.layer_tangent(slot, p, saved, x_dot.as_ref(), p_dot);
            if !self.is_piecewise_linear(slot) {
                x_dots[slot] = x_dot;
            }
            y_dot
        });
        (y_dot, x_dots)
    }

    /// Jacobian-vector product without the memory of [`Network::tangent`].
    pub(super) fn tangent_output<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        x_dot: Option<Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        push(&self.plan.nodes, x_dot, &mut |slot, x_dot| {
            self.layer_tangent(slot, p, saved, x_dot.as_ref(), p_dot)
        })
    }

    fn layer_tangent<B: Kernels>(
        &self,
        slot: usize,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        let p_dot = p_dot.map(|p_dot| self.parameters_of(slot, p_dot));
        self.passes(slot).tangent(self.parameters_of(slot, p), &saved[slot], x_dot, p_dot)
    }

    /// Vector-Jacobian product.
    pub(super) fn backward<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        y_bar: Tensor<B, 4>,
        wanted: Wanted,
    ) -> Backward<B> {
        let mut y_bars = wanted.layers.then(|| vec![None; self.plan.slots.len()]);
        let pass = |slot: usize, y_bar: Tensor<B, 4>, out: &mut _| {
            let x_bar = self.layer_backward(slot, p, saved, &y_bar, out);
            if let Some(y_bars) = &mut y_bars
                && !self.is_piecewise_linear(slot)
            {
                y_bars[slot] = Some(y_bar);
            }
            x_bar
        };
        let (input, parameters) = self.descend(y_bar, wanted, pass, |a, b| B::add(a, &b));
        Backward { input, parameters, y_bars: y_bars.unwrap_or_default() }
    }

    /// Tangent of [`Network::backward`] in the direction of `y_bar_dot` and of the `x_dots` that
    /// [`Network::tangent`] gave for `p_dot`.
    pub(super) fn backward_tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        at: Linearized<'_, B>,
        mut x_dots: Vec<Option<Tensor<B, 4>>>,
        p_dot: Option<&Tensor<B, 1>>,
        y_bar_dot: Tensor<B, 4>,
        wanted: Wanted,
    ) -> Backward<B> {
        let pass = |slot: usize, y_bar_dot: Tensor<B, 4>, out: &mut _| {
            if self.is_piecewise_linear(slot) {
                return self.layer_backward(slot, p, at.saved, &y_bar_dot, out);
            }
            let x_dot = x_dots[slot].take();
            let p_dot = p_dot.map(|p_dot| self.parameters_of(slot, p_dot));
            let direction = Direction { x_dot: x_dot.as_ref(), p_dot, y_bar_dot: &y_bar_dot };
            let y_bar = at.y_bars[slot].as_ref().expect("the linearisation kept every cotangent");
            let p = self.parameters_of(slot, p);
            self.passes(slot).backward_tangent(p, &at.saved[slot], direction, y_bar, out)
        };
        let (input, parameters) = self.descend(y_bar_dot, wanted, pass, |a, b| B::add(a, &b));
        Backward { input, parameters, y_bars: Vec::new() }
    }

    /// [`Network::backward`] from `y_bar` together with its tangent, for a linearisation that has
    /// not kept the layers' cotangents. Each cotangent lives only until the next layer of the walk
    /// has used it.
    ///
    /// Gives x̄ with x̄̇ if the input's are requested, and the tangent of p̄.
    pub(super) fn backward_and_tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        mut x_dots: Vec<Option<Tensor<B, 4>>>,
        p_dot: Option<&Tensor<B, 1>>,
        bars: CotangentPair<B>,
        wanted: Wanted,
    ) -> (Option<CotangentPair<B>>, Option<Tensor<B, 1>>) {
        let pass = |slot: usize, bars: CotangentPair<B>, out: &mut Cotangents<B>| {
            let CotangentPair { value: y_bar, tangent: y_bar_dot } = bars;
            let mut first_order = Cotangents::new(false, out.wants_input());
            let value = self.layer_backward(slot, p, saved, &y_bar, &mut first_order);
            let tangent = if self.is_piecewise_linear(slot) {
                self.layer_backward(slot, p, saved, &y_bar_dot, out)
            } else {
                let x_dot = x_dots[slot].take();
                let p_dot = p_dot.map(|p_dot| self.parameters_of(slot, p_dot));
                let direction = Direction { x_dot: x_dot.as_ref(), p_dot, y_bar_dot: &y_bar_dot };
                let p = self.parameters_of(slot, p);
                self.passes(slot).backward_tangent(p, &saved[slot], direction, &y_bar, out)
            };
            value.zip(tangent).map(|(value, tangent)| CotangentPair { value, tangent })
        };
        let add = |a: CotangentPair<B>, b: CotangentPair<B>| CotangentPair {
            value: B::add(a.value, &b.value),
            tangent: B::add(a.tangent, &b.tangent),
        };
        self.descend(bars, wanted, pass, add)
    }

    fn layer_backward<B: Kernels>(
        &self,
        slot: usize,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        self.passes(slot).backward(self.parameters_of(slot, p), &saved[slot], y_bar, out)
    }

    /// Walks from output to input and calls `pass` at every layer. Gives the input's and the
    /// parameters' cotangents as far as they are wanted. `T` travels from layer to layer and is
    /// added where branches meet.
    fn descend<B: Kernels, T: Clone>(
        &self,
        y_bar: T,
        wanted: Wanted,
        mut pass: impl FnMut(usize, T, &mut Cotangents<B>) -> Option<T>,
        add: impl Fn(T, T) -> T,
    ) -> (Option<T>, Option<Tensor<B, 1>>) {
        let mut out = Cotangents::new(wanted.parameters, wanted.input);
        let mut at_slot = |slot: usize, y_bar: T, out: &mut Cotangents<B>| {
            out.set_first(self.plan.slots[slot].parameters.start);
            pass(slot, y_bar, out)
        };
        let input = descend(&self.plan.nodes, y_bar, &mut out, &mut at_slot, &add);
        (input, out.into_flat(self.plan.parameters.segments().len()))
    }

    /// Running statistics after a training step: `0.9 old + 0.1 batch`, with the unbiased variance.
    pub fn updated_statistics<B: Kernels>(
        &self,
        running: Tensor<B, 1>,
        saved: &[Saved],
    ) -> Tensor<B, 1> {
        let parts: Vec<Tensor<B, 1>> = saved
            .iter()
            .enumerate()
            .flat_map(|(slot, saved)| self.passes(slot).batch_statistics(saved))
            .collect();
        let statistics = self.plan.statistics.segments().len();
        assert_eq!(parts.len(), statistics, "a batch has a value for every running statistic");
        if parts.is_empty() {
            return running;
        }
        let batch = Tensor::cat(parts, 0);
        B::axpby(1.0 - RUNNING_DECAY, &batch, RUNNING_DECAY, running)
    }
}
