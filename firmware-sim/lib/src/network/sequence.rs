//! The four passes that a Hessian-vector product needs, over layers in sequence.

use bissl_core::Draws;

use super::layer::{apply, apply_transposed, fill, sum_positions, weight_gradient};
use crate::model::Layer;
use crate::{Kernels, Real};

/// Layers in sequence on a batch, with the four passes of Pearlmutter (1994).
///
/// Dots mark tangents (directional derivatives), bars mark cotangents (gradients of the loss). A
/// *trace* holds what a pass leaves at each layer's output, `[layer][row][output]`: values,
/// tangents, cotangents before the activation, and tangents of those. Parameters are `[layer]{W,
/// b}`. A pass returns `None` if a slice has the wrong length; what it wrote until then is then
/// meaningless.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// The layers.
    pub layers: &'a [Layer],
    /// Samples.
    pub rows: usize,
}

/// How input and parameters move; `None` is a zero tangent and costs no product.
#[derive(Clone, Copy, Debug)]
pub struct Direction<'a, T> {
    /// ẋ, `[row][input]`.
    pub input: Option<&'a [T]>,
    /// θ̇.
    pub parameters: Option<&'a [T]>,
}

/// What a pass works on: a layer, its parameters, its input and its output in a trace.
struct Place {
    layer: Layer,
    parameters: core::ops::Range<usize>,
    /// Index after the last float of W.
    weights: usize,
    /// The input's place in the trace; `None` if it is the input of the sequence.
    input: Option<core::ops::Range<usize>>,
    output: core::ops::Range<usize>,
}

impl Sequence<'_> {
    /// Draws weights uniformly within a limit that depends on the activation, and sets biases to 0.
    ///
    /// With a ReLU the variance is 2 / fan-in, so the signal keeps its size (He et al., 2015).
    /// Without one the outputs are small: a head starts close to indifference.
    pub fn initialize<T: Real>(&self, parameters: &mut [T], draws: &mut Draws) -> Option<()> {
        let mut rest = parameters;
        for layer in self.layers {
            let (weights, behind) = rest.split_at_mut_checked(layer.weights())?;
            let (biases, behind) = behind.split_at_mut_checked(layer.biases())?;
            let square = if layer.relu() { 6.0 } else { 1.0 };
            let limit = libm::sqrtf(square / layer.fan_in() as f32);
            for weight in weights {
                *weight = T::from_f32(draws.uniform_in(-limit, limit));
            }
            biases.fill(T::BLANK);
            rest = behind;
        }
        Some(())
    }

    fn place(&self, number: usize) -> Option<Place> {
        let (mut parameter, mut output, mut input) = (0, 0, None);
        for (i, layer) in self.layers.iter().enumerate() {
            let outputs = self.rows * layer.outputs();
            if i == number {
                return Some(Place {
                    layer: *layer,
                    parameters: parameter..parameter + layer.parameters(),
                    weights: layer.weights(),
                    input,
                    output: output..output + outputs,
                });
            }
            parameter += layer.parameters();
            input = Some(output..output + outputs);
            output += outputs;
        }
        None
    }

    /// `y = f(x, θ)`.
    pub fn forward<T: Real, K: Kernels<T>>(
        &self,
        kernels: &mut K,
        parameters: &[T],
        input: &[T],
        values: &mut [T],
    ) -> Option<()> {
        for number in 0..self.layers.len() {
            let place = self.place(number)?;
            let (weights, bias) = place.split(parameters)?;
            let (before, y) = place.output_of(values)?;
            let x = place.input_of(input, before)?;
            fill(Some(bias), y);
            apply(kernels, &place.layer, self.rows, weights, x, y)?;
            if place.layer.relu() {
                kernels.relu(y);
            }
        }
        Some(())
    }

    /// `ẏ = f_x ẋ + f_θ θ̇`.
    pub fn tangent<T: Real, K: Kernels<T>>(
        &self,
        kernels: &mut K,
        (parameters, input, values): (&[T], &[T], &[T]),
        direction: Direction<'_, T>,
        tangents: &mut [T],
    ) -> Option<()> {
        for number in 0..self.layers.len() {
            let place = self.place(number)?;
            let (weights, _) = place.split(parameters)?;
            let x = place.input_of(input, values)?;
            let (before, y_dot) = place.output_of(tangents)?;
            let x_dot = match &place.input {
                Some(span) => Some(before.get(span.clone())?),
                None => direction.input,
            };
            let moved = direction.parameters.map(|p| place.split(p));
            let moved = match moved {
                Some(parts) => Some(parts?),
                None => None,
            };
            fill(moved.map(|(_, bias)| bias), y_dot);
            if let Some(x_dot) = x_dot {
                apply(kernels, &place.layer, self.rows, weights, x_dot, y_dot)?;
            }
            if let Some((weights_dot, _)) = moved.filter(|(weights, _)| !weights.is_empty()) {
                apply(kernels, &place.layer, self.rows, weights_dot, x, y_dot)?;
            }
            if place.layer.relu() {
                kernels.relu_mask(values.get(place.output.clone())?, y_dot);
            }
        }
        Some(())
    }

    /// `x̄ = f_xᵀ ȳ`, `θ̄ = f_θᵀ ȳ`; an output that nobody asked for costs no product.
    ///
    /// The last output of `cotangents` is ȳ on entry. On return every output there holds the
    /// cotangent before its activation.
    pub fn backward<T: Real, K: Kernels<T>>(
        &self,
        kernels: &mut K,
        (parameters, input, values): (&[T], &[T], &[T]),
        cotangents: &mut [T],
        (mut input_bar, mut gradient): (Option<&mut [T]>, Option<&mut [T]>),
    ) -> Option<()> {
        for number in (0..self.layers.len()).rev() {
            let place = self.place(number)?;
            let (before, y_bar) = place.output_of(cotangents)?;
            if place.layer.relu() {
                kernels.relu_mask(values.get(place.output.clone())?, y_bar);
            }
            let x_bar = match &place.input {
                Some(span) => Some(before.get_mut(span.clone())?),
                None => input_bar.as_deref_mut(),
            };
            if let Some(x_bar) = x_bar {
                let (weights, _) = place.split(parameters)?;
                x_bar.fill(T::BLANK);
                apply_transposed(kernels, &place.layer, self.rows, weights, y_bar, x_bar)?;
            }
            if let Some(gradient) = gradient.as_deref_mut() {
                let x = place.input_of(input, values)?;
                let (weights_bar, bias_bar) = place.split_mut(gradient)?;
                weights_bar.fill(T::BLANK);
                bias_bar.fill(T::BLANK);
                weight_gradient(kernels, &place.layer, self.rows, y_bar, x, weights_bar)?;
                sum_positions(y_bar, bias_bar);
            }
        }
        Some(())
    }

    /// The tangents of x̄ and θ̄ as x, θ and ȳ move.
    ///
    /// `moved` is the direction, with the trace that [`tangent`](Self::tangent) left. `cotangents`
    /// is what [`backward`](Self::backward) left, or `None` for a pass in which ȳ is 0, as in a
    /// Gauss-Newton product. The last output of `out` is the tangent of ȳ on entry.
    pub fn backward_tangent<T: Real, K: Kernels<T>>(
        &self,
        kernels: &mut K,
        (parameters, input, values): (&[T], &[T], &[T]),
        (direction, tangents): (Direction<'_, T>, &[T]),
        cotangents: Option<&[T]>,
        out: &mut [T],
        (mut input_bar, mut gradient): (Option<&mut [T]>, Option<&mut [T]>),
    ) -> Option<()> {
        for number in (0..self.layers.len()).rev() {
            let place = self.place(number)?;
            let (before, y_bar_dot) = place.output_of(out)?;
            if place.layer.relu() {
                kernels.relu_mask(values.get(place.output.clone())?, y_bar_dot);
            }
            let y_bar = match cotangents {
                Some(cotangents) => Some(cotangents.get(place.output.clone())?),
                None => None,
            };
            let x_bar_dot = match &place.input {
                Some(span) => Some(before.get_mut(span.clone())?),
                None => input_bar.as_deref_mut(),
            };
            if let Some(x_bar_dot) = x_bar_dot {
                let (weights, _) = place.split(parameters)?;
                x_bar_dot.fill(T::BLANK);
                apply_transposed(kernels, &place.layer, self.rows, weights, y_bar_dot, x_bar_dot)?;
                if let (Some(y_bar), Some(moved)) = (y_bar, direction.parameters)
                    && place.layer.weights() > 0
                {
                    let (weights_dot, _) = place.split(moved)?;
                    apply_transposed(
                        kernels,
                        &place.layer,
                        self.rows,
                        weights_dot,
                        y_bar,
                        x_bar_dot,
                    )?;
                }
            }
            if let Some(gradient) = gradient.as_deref_mut() {
                let x = place.input_of(input, values)?;
                let x_dot = match &place.input {
                    Some(span) => Some(tangents.get(span.clone())?),
                    None => direction.input,
                };
                let (weights_bar, bias_bar) = place.split_mut(gradient)?;
                weights_bar.fill(T::BLANK);
                bias_bar.fill(T::BLANK);
                weight_gradient(kernels, &place.layer, self.rows, y_bar_dot, x, weights_bar)?;
                if let (Some(y_bar), Some(x_dot)) = (y_bar, x_dot) {
                    weight_gradient(kernels, &place.layer, self.rows, y_bar, x_dot, weights_bar)?;
                }
                sum_positions(y_bar_dot, bias_bar);
            }
        }
        Some(())
    }
}

impl Place {
    /// W and b.
    fn split<'a, T>(&self, parameters: &'a [T]) -> Option<(&'a [T], &'a [T])> {
        parameters.get(self.parameters.clone())?.split_at_checked(self.weights)
    }

    fn split_mut<'a, T>(&self, parameters: &'a mut [T]) -> Option<(&'a mut [T], &'a mut [T])> {
        parameters.get_mut(self.parameters.clone())?.split_at_mut_checked(self.weights)
    }

    /// The trace before this layer's output, and the output.
    fn output_of<'a, T>(&self, trace: &'a mut [T]) -> Option<(&'a mut [T], &'a mut [T])> {
        let (before, behind) = trace.split_at_mut_checked(self.output.start)?;
        Some((before, behind.get_mut(..self.output.len())?))
    }

    /// This layer's input, in the trace or the sequence's own.
    fn input_of<'a, T>(&self, input: &'a [T], trace: &'a [T]) -> Option<&'a [T]> {
        match &self.input {
            Some(span) => trace.get(span.clone()),
            None => Some(input),
        }
    }
}
