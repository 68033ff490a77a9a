//! A network: layers in sequence, with residual sums, over one flat parameter vector.

use std::sync::Arc;

use burn_tensor::Tensor;

use super::erased::{Erased, Saved};
use super::layer::{Cotangents, Direction};
use super::parameters::{ParameterTable, Parameters};
use super::plan::{Plan, compute, descend, push};
use super::shape::Shape;
use crate::kernels::{Kernels, Precision};

/// Share of the old value in a running statistic's update.
const RUNNING_DECAY: f64 = 0.9;

/// A sequence of layers with its tables, for every backend; cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    plan: Arc<Plan>,
    input: Shape,
    output: Shape,
    precision: Precision,
}

/// What a forward pass in training mode gives.
#[derive(Debug)]
pub struct Forward<B: Kernels> {
    /// The output.
    pub y: Tensor<B, 4>,
    /// What each layer keeps, by slot.
    pub saved: Vec<Saved>,
}

/// What a backward pass gives.
#[derive(Clone, Debug)]
pub struct Backward<B: Kernels> {
    /// x̄ (or x̄̇), if asked for.
    pub input: Option<Tensor<B, 4>>,
    /// p̄ (or p̄̇), if asked for.
    pub parameters: Option<Tensor<B, 1>>,
    /// ȳ at the output of every layer that needs it later, by slot; kept by [`Network::backward`]
    /// if asked for.
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

/// A linearised batch of one network: everything [`Network::backward_tangent`] needs but the
/// direction.
#[derive(Clone, Copy, Debug)]
pub struct Linearized<'a, B: Kernels> {
    /// What the forward pass kept.
    pub saved: &'a [Saved],
    /// ȳ at the output of every layer that needs it.
    pub y_bars: &'a [Option<Tensor<B, 4>>],
}

impl Network {
    pub(super) fn new(plan: Plan, input: Shape, output: Shape) -> Self {
        Self { plan: Arc::new(plan), input, output, precision: Precision::F32 }
    }

    /// The same network with convolutions and matrix products in this precision; devices only.
    #[must_use]
    pub fn multiplying_in(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// What one sample of the input is.
    pub fn input_shape(&self) -> Shape {
        self.input
    }

    /// What one sample of the output is.
    pub fn output_shape(&self) -> Shape {
        self.output
    }

    /// The table of its parameters.
    pub fn parameters(&self) -> &ParameterTable {
        &self.plan.parameters
    }

    /// The table of its running statistics.
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

    /// Jacobian-vector product; also ẋ at the input of every layer that needs it later, by slot.
    pub fn tangent<B: Kernels>(
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

    /// Jacobian-vector product alone, without the memory of [`Network::tangent`].
    pub fn tangent_output<B: Kernels>(
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
    pub fn backward<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        y_bar: Tensor<B, 4>,
        want: Want,
    ) -> Backward<B> {
        let mut y_bars = want.layers.then(|| vec![None; self.plan.slots.len()]);
        let pass = |slot: usize, y_bar: Tensor<B, 4>, out: &mut _| {
            let x_bar = self.layer_backward(slot, p, saved, &y_bar, out);
            if let Some(y_bars) = &mut y_bars
                && !self.is_piecewise_linear(slot)
            {
                y_bars[slot] = Some(y_bar);
            }
            x_bar
        };
        let (input, parameters) = self.descend(y_bar, want, pass, |a, b| B::add(a, &b));
        Backward { input, parameters, y_bars: y_bars.unwrap_or_default() }
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
        let (input, parameters) = self.descend(y_bar_dot, want, pass, |a, b| B::add(a, &b));
        Backward { input, parameters, y_bars: Vec::new() }
    }

    /// [`Network::backward`] from `y_bar` and its tangent side by side, for a linearisation that
    /// has not kept the layers' cotangents: each lives no longer than the layer above it needs it.
    ///
    /// Gives the tangents, and ȳ's x̄ with x̄̇ if the input's are asked for.
    pub fn backward_and_tangent<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        saved: &[Saved],
        mut x_dots: Vec<Option<Tensor<B, 4>>>,
        p_dot: Option<&Tensor<B, 1>>,
        bars: Bars<B>,
        want: Want,
    ) -> (Option<Bars<B>>, Option<Tensor<B, 1>>) {
        let pass = |slot: usize, bars: Bars<B>, out: &mut Cotangents<B>| {
            let Bars { value: y_bar, tangent: y_bar_dot } = bars;
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
            value.zip(tangent).map(|(value, tangent)| Bars { value, tangent })
        };
        let add = |a: Bars<B>, b: Bars<B>| Bars {
            value: B::add(a.value, &b.value),
            tangent: B::add(a.tangent, &b.tangent),
        };
        self.descend(bars, want, pass, add)
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

    /// Walks from the output to the input, calling `pass` at every layer; gives the input's and the
    /// parameters' cotangents, as far as wanted. `T` is what goes from layer to layer, added where
    /// branches meet.
    fn descend<B: Kernels, T: Clone>(
        &self,
        y_bar: T,
        want: Want,
        mut pass: impl FnMut(usize, T, &mut Cotangents<B>) -> Option<T>,
        add: impl Fn(T, T) -> T,
    ) -> (Option<T>, Option<Tensor<B, 1>>) {
        let mut out = Cotangents::new(want.parameters, want.input);
        let mut at_slot = |slot: usize, y_bar: T, out: &mut Cotangents<B>| {
            out.set_first(self.plan.slots[slot].parameters.start);
            pass(slot, y_bar, out)
        };
        let input = descend(&self.plan.nodes, y_bar, &mut out, &mut at_slot, &add);
        (input, out.into_flat(self.plan.parameters.segments().len()))
    }

    /// Running statistics after a training step: `0.9 old + 0.1 batch`, the variance unbiased.
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
        assert_eq!(parts.len(), statistics, "every running statistic has a batch's value");
        if parts.is_empty() {
            return running;
        }
        let batch = Tensor::cat(parts, 0);
        B::axpby(1.0 - RUNNING_DECAY, &batch, RUNNING_DECAY, running)
    }
}
