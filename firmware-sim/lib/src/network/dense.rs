//! The fully connected layer with its activation.

use bissl_core::Draws;

use crate::network::layer::{Direction, Gradient, Layer, Moved, Passed, Point};
use crate::{Blank, Kernels, Real, Rows, Vector};

/// What follows the affine map; its second derivative is 0 almost everywhere.
pub trait Activation {
    /// Square of the initial weights' limit, times the number of inputs.
    const INITIAL: f32;

    /// `y ← σ(y)`.
    fn apply<T: Real, K: Kernels<T>>(kernels: &mut K, y: &mut [T]);

    /// `v ← σ′ v`, where y is σ's value; the same for tangents and cotangents.
    fn differentiate<T: Real, K: Kernels<T>>(kernels: &mut K, y: &[T], v: &mut [T]);
}

/// None.
#[derive(Clone, Copy, Debug)]
pub struct Linear;

impl Activation for Linear {
    /// Small outputs: a head starts near indifference.
    const INITIAL: f32 = 1.0;

    fn apply<T: Real, K: Kernels<T>>(_: &mut K, _: &mut [T]) {}

    fn differentiate<T: Real, K: Kernels<T>>(_: &mut K, _: &[T], _: &mut [T]) {}
}

/// `σ(a) = a` where positive, else 0; its derivative at 0 is taken as 0.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Activation for Relu {
    /// Variance 2/inputs: the signal keeps its size (He et al., 2015).
    const INITIAL: f32 = 6.0;

    fn apply<T: Real, K: Kernels<T>>(kernels: &mut K, y: &mut [T]) {
        kernels.relu(y);
    }

    fn differentiate<T: Real, K: Kernels<T>>(kernels: &mut K, y: &[T], v: &mut [T]) {
        kernels.relu_mask(y, v);
    }
}

/// `σ(x Wᵀ + b)` on `R` samples, `I` features to `O`; `B` is `O`, or 0 for a layer without bias.
///
/// The activation works in place, so the layer keeps nothing besides its input and output.
#[derive(Clone, Copy, Debug)]
pub struct Dense<A, const R: usize, const I: usize, const O: usize, const B: usize>(
    core::marker::PhantomData<A>,
);

/// The parameters of a [`Dense`] layer.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseParameters<T, const I: usize, const O: usize, const B: usize> {
    /// W, `[output][input]`.
    pub weights: [[T; I]; O],
    /// b.
    pub bias: [T; B],
}

impl<T: Blank, const I: usize, const O: usize, const B: usize> Blank
    for DenseParameters<T, I, O, B>
{
    const BLANK: Self = Self { weights: Blank::BLANK, bias: Blank::BLANK };
}

impl<T: Blank, const I: usize, const O: usize, const B: usize> Vector<T>
    for DenseParameters<T, I, O, B>
{
    fn zip(&self, other: &Self, visit: &mut impl FnMut(&[T], &[T])) {
        visit(self.weights.as_flattened(), other.weights.as_flattened());
        if B > 0 {
            visit(&self.bias, &other.bias);
        }
    }

    fn zip_mut(&mut self, other: &Self, visit: &mut impl FnMut(&mut [T], &[T])) {
        visit(self.weights.as_flattened_mut(), other.weights.as_flattened());
        if B > 0 {
            visit(&mut self.bias, &other.bias);
        }
    }

    fn each_mut(&mut self, visit: &mut impl FnMut(&mut [T])) {
        visit(self.weights.as_flattened_mut());
        if B > 0 {
            visit(&mut self.bias);
        }
    }
}

impl<A, T, const R: usize, const I: usize, const O: usize, const B: usize> Layer<T>
    for Dense<A, R, I, O, B>
where
    A: Activation,
    T: Real,
{
    type Input = Rows<T, R, I>;
    type Output = Rows<T, R, O>;
    type Parameters = DenseParameters<T, I, O, B>;
    type Trace = ();

    fn initialize(parameters: &mut Self::Parameters, draws: &mut Draws) {
        let limit = libm::sqrtf(A::INITIAL / I as f32);
        for weight in parameters.weights.as_flattened_mut() {
            *weight = T::from_f32(draws.uniform_in(-limit, limit));
        }
        parameters.bias = Blank::BLANK;
    }

    fn forward<K: Kernels<T>>(
        kernels: &mut K,
        parameters: &Self::Parameters,
        input: &Self::Input,
        (): &mut Self::Trace,
        output: &mut Self::Output,
    ) {
        fill(output, Some(&parameters.bias));
        kernels.multiply_transposed(input, &parameters.weights, output);
        A::apply(kernels, output.as_flattened_mut());
    }

    fn tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        direction: Direction<'_, T, Self>,
        (): &mut Self::Trace,
        output: &mut Self::Output,
    ) {
        fill(output, direction.parameters.map(|p| &p.bias));
        if let Some(input) = direction.input {
            kernels.multiply_transposed(input, &at.parameters.weights, output);
        }
        if let Some(parameters) = direction.parameters {
            kernels.multiply_transposed(at.input, &parameters.weights, output);
        }
        A::differentiate(kernels, at.output.as_flattened(), output.as_flattened_mut());
    }

    fn backward<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        output: &mut Self::Output,
        (): &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    ) {
        A::differentiate(kernels, at.output.as_flattened(), output.as_flattened_mut());
        if let Some(input) = gradient.input {
            fill(input, None::<&[T; 0]>);
            kernels.multiply(output, &at.parameters.weights, input);
        }
        if let Some(parameters) = gradient.parameters {
            parameters.weights = Blank::BLANK;
            kernels.outer(output, at.input, &mut parameters.weights);
            sum_rows(output, &mut parameters.bias);
        }
    }

    fn backward_tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        moved: Moved<'_, T, Self>,
        backward: Passed<'_, T, Self>,
        output: &mut Self::Output,
        (): &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    ) {
        A::differentiate(kernels, at.output.as_flattened(), output.as_flattened_mut());
        let Direction { input: input_tangent, parameters: parameters_tangent } = moved.direction;
        if let Some(input) = gradient.input {
            fill(input, None::<&[T; 0]>);
            kernels.multiply(output, &at.parameters.weights, input);
            if let Some(parameters) = parameters_tangent {
                kernels.multiply(backward.output, &parameters.weights, input);
            }
        }
        if let Some(parameters) = gradient.parameters {
            parameters.weights = Blank::BLANK;
            kernels.outer(output, at.input, &mut parameters.weights);
            if let Some(input) = input_tangent {
                kernels.outer(backward.output, input, &mut parameters.weights);
            }
            sum_rows(output, &mut parameters.bias);
        }
    }
}

/// Every row becomes the bias, or 0 where there is none.
fn fill<T: Real, const R: usize, const O: usize, const B: usize>(
    rows: &mut Rows<T, R, O>,
    bias: Option<&[T; B]>,
) {
    *rows = Blank::BLANK;
    if let Some(bias) = bias {
        for row in rows {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value = *bias;
            }
        }
    }
}

/// `b ← Σ rows`.
fn sum_rows<T: Real, const R: usize, const O: usize, const B: usize>(
    rows: &Rows<T, R, O>,
    bias: &mut [T; B],
) {
    *bias = Blank::BLANK;
    for row in rows {
        for (bias, value) in bias.iter_mut().zip(row) {
            *bias += *value;
        }
    }
}
