//! The contract of a layer, and what its passes exchange.

use std::fmt::Debug;

use burn_tensor::Tensor;

use super::parameters::{Init, Parameters};
use super::shape::{Shape, Unfit};
use crate::kernels::Kernels;

/// The part of a layer that does not depend on the backend. Its passes are [`Passes`].
///
/// A layer holds its settings and no parameters. Those lie in the network's flat vector, and every
/// pass gets a view of the layer's own part.
pub trait Layer: Debug + Send + Sync + 'static {
    /// The layer's tensors and its output's shape for this input shape.
    ///
    /// # Errors
    /// The layer cannot take such an input.
    fn layout(&self, input: Shape) -> Result<Layout, Unfit>;
}

/// The four passes of a layer that a Hessian-vector product needs (Pearlmutter 1994), on one
/// backend.
/// Implement it for every `B: Kernels`, as [`Builder::layer`](super::Builder::layer) requires.
/// Values have rank 4 (see [`Shape`]). A tangent of `None` is zero. A bar marks cotangents, a dot
/// tangents: `x_bar_dot` is the tangent of the input's cotangent. `p` and `p_dot` are the layer's
/// parameters and their tangents.
pub trait Passes<B: Kernels>: Layer {
    /// What the layer keeps of its forward pass.
    type Saved: Debug + Send + 'static;

    /// Value in training mode (batch norm uses batch statistics), and what the other passes need.
    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Self::Saved);

    /// Value by the layer's `running` statistics.
    ///
    /// The default serves layers that behave alike in training and evaluation.
    fn evaluate(
        &self,
        p: Parameters<'_, B>,
        _running: Parameters<'_, B>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        self.forward(p, x).0
    }

    /// Jacobian-vector product.
    fn tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Self::Saved,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>>;

    /// Vector-Jacobian product. Every parameter's cotangent goes to `out`; the input's is returned
    /// if requested.
    fn backward(
        &self,
        p: Parameters<'_, B>,
        saved: &Self::Saved,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;

    /// Tangent of [`Passes::backward`] in the direction (`x_dot`, `p_dot`, `y_bar_dot`).
    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Self::Saved,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;

    /// The batch's value of every running statistic, in the order of the layout.
    fn batch_statistics(&self, _saved: &Self::Saved) -> Vec<Tensor<B, 1>> {
        Vec::new()
    }
}

/// A tensor that a layer asks for: its name within the layer, its shape, and its initial values.
pub(super) type TensorSpec = (String, Vec<usize>, Init);

/// A layer's tensors and output for one input shape. Tensors are numbered 0, 1, … in the order of
/// the calls.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) output: Shape,
    pub(super) parameters: Vec<TensorSpec>,
    pub(super) statistics: Vec<TensorSpec>,
    pub(super) is_piecewise_linear: bool,
}

impl Layout {
    /// A layer with this output and no tensors.
    pub fn new(output: Shape) -> Self {
        let (parameters, statistics) = (Vec::new(), Vec::new());
        Self { output, parameters, statistics, is_piecewise_linear: false }
    }

    /// A layer with this output that is piecewise linear in its input. If it has no parameters, the
    /// tangent of its backward pass is the backward pass of the tangent, so neither ẋ nor ȳ is kept
    /// for it.
    pub fn piecewise_linear(output: Shape) -> Self {
        Self { is_piecewise_linear: true, ..Self::new(output) }
    }

    /// Adds a parameter; its full name is the layer's name, a point, and `name`.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        self.parameters.push((name.into(), shape.to_vec(), init));
        self.is_piecewise_linear = false;
        self
    }

    /// Adds a running statistic, which is a vector.
    #[must_use]
    pub fn statistic(mut self, name: impl Into<String>, len: usize, init: Init) -> Self {
        self.statistics.push((name.into(), vec![len], init));
        self
    }
}

/// The direction of a [`Passes::backward_tangent`].
#[derive(Debug)]
pub struct Direction<'a, B: Kernels> {
    /// ẋ at the layer's input.
    pub x_dot: Option<&'a Tensor<B, 4>>,
    /// ṗ of the layer.
    pub p_dot: Option<Parameters<'a, B>>,
    /// ȳ̇ at the layer's output.
    pub y_bar_dot: &'a Tensor<B, 4>,
}

/// Collects the cotangents that a backward pass is asked for.
#[derive(Debug)]
pub struct Cotangents<B: Kernels> {
    input: bool,
    /// Index of the layer's first tensor in the network's table.
    first: usize,
    parameters: Option<Vec<(usize, Tensor<B, 1>)>>,
}

impl<B: Kernels> Cotangents<B> {
    /// Collects the parameters' cotangents if `parameters`, and the input's if `input`.
    pub fn new(parameters: bool, input: bool) -> Self {
        Self { input, first: 0, parameters: parameters.then(Vec::new) }
    }

    /// Whether the cotangent of the input is wanted.
    pub(super) fn wants_input(&self) -> bool {
        self.input
    }

    /// Sets whether the next layer's input cotangent is wanted.
    pub(super) fn set_wants_input(&mut self, input: bool) {
        self.input = input;
    }

    /// Sets the index of the next layer's first tensor in the network's table.
    pub(super) fn set_first(&mut self, first: usize) {
        self.first = first;
    }

    /// Computes and keeps the cotangent of the layer's parameter `number` if it is wanted.
    pub fn parameter<const D: usize>(
        &mut self,
        number: usize,
        cotangent: impl FnOnce() -> Tensor<B, D>,
    ) {
        if let Some(parameters) = &mut self.parameters {
            let cotangent = cotangent();
            let len = cotangent.shape().num_elements();
            parameters.push((self.first + number, cotangent.reshape([len])));
        }
    }

    /// Computes the input's cotangent if it is wanted.
    pub fn input(&self, cotangent: impl FnOnce() -> Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        self.input.then(cotangent)
    }

    /// All `tensors` cotangents as one flat vector, in the order of the table; `None` if they were
    /// not requested.
    ///
    /// # Panics
    /// If a layer gave none or two for one of its parameters.
    pub fn into_flat(self, tensors: usize) -> Option<Tensor<B, 1>> {
        let mut parameters = self.parameters?;
        parameters.sort_by_key(|(number, _)| *number);
        let complete = parameters.iter().map(|(number, _)| *number).eq(0..tensors);
        assert!(complete, "every parameter has one cotangent");
        Some(Tensor::cat(parameters.into_iter().map(|(_, tensor)| tensor).collect(), 0))
    }
}

/// `a + b`, where `None` is zero.
pub(super) fn sum<B: Kernels>(
    a: Option<Tensor<B, 4>>,
    b: Option<Tensor<B, 4>>,
) -> Option<Tensor<B, 4>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(B::add(a, &b)),
        (a, b) => a.or(b),
    }
}
