//! The contract of a layer, and what its passes hand to each other.

use burn_tensor::Tensor;

use crate::kernels::{BatchStatistics, ConvShape, Kernels, Normalized, PoolShape};

/// A differentiable map with the four passes a Hessian-vector product needs (Pearlmutter 1994).
///
/// Values have rank 4, features `[batch, channels, 1, 1]`. `p` is the network's flat parameter vector,
/// of which a layer knows its ranges. A tangent of `None` is zero. A bar marks cotangents, a dot
/// tangents: `x_bar_dot` is the tangent of the input's cotangent.
pub trait Layer<B: Kernels> {
    /// Value in training mode (batch norm by batch statistics), and what the other passes need.
    fn forward(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>);

    /// Value by running statistics; `running` is the network's flat vector of them.
    fn evaluate(&self, p: &Tensor<B, 1>, running: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4>;

    /// Jacobian-vector product.
    fn tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>>;

    /// Vector-Jacobian product: parameters' cotangents go to `out`, the input's is returned if asked.
    fn backward(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;

    /// Tangent of [`Layer::backward`] in the direction (`x_dot`, `p_dot`, `y_bar_dot`).
    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;
}

/// The direction of a [`Layer::backward_tangent`].
#[derive(Clone, Copy, Debug)]
pub struct Direction<'a, B: Kernels> {
    /// ẋ at the layer's input.
    pub x_dot: Option<&'a Tensor<B, 4>>,
    /// ṗ, of the whole network.
    pub p_dot: Option<&'a Tensor<B, 1>>,
    /// ȳ̇ at the layer's output.
    pub y_bar_dot: &'a Tensor<B, 4>,
}

/// What a layer keeps of its forward pass.
#[derive(Clone, Debug)]
pub enum Saved<B: Kernels> {
    /// A convolution's input.
    Conv(ConvShape, Tensor<B, 4>),
    /// A batch norm's x̂ and batch statistics, and the number of values behind each of them.
    Norm {
        /// x̂ and 1/σ.
        normalized: Normalized<B>,
        /// μ and σ².
        statistics: BatchStatistics<B>,
        /// batch · pixels.
        count: usize,
    },
    /// A ReLU's output.
    Relu(Tensor<B, 4>),
    /// A max-pool's winners.
    MaxPool(PoolShape, B::Indices),
    /// An average pool's input height and width.
    AveragePool(usize, usize),
    /// A linear layer's input.
    Linear(Tensor<B, 4>),
}

/// Collects what a backward pass is asked for.
#[derive(Debug)]
pub struct Cotangents<B: Kernels> {
    input: bool,
    parameters: Option<Vec<(usize, Tensor<B, 1>)>>,
}

impl<B: Kernels> Cotangents<B> {
    /// Wants the parameters' cotangents if `parameters`, the network input's if `input`.
    pub fn new(parameters: bool, input: bool) -> Self {
        Self { input, parameters: parameters.then(Vec::new) }
    }

    /// Whether the cotangent of the network's input is wanted.
    pub(super) fn wants_input(&self) -> bool {
        self.input
    }

    /// Says whether the coming layer's input cotangent is wanted.
    pub(super) fn set_wants_input(&mut self, input: bool) {
        self.input = input;
    }

    /// Computes and keeps a parameter's cotangent, if wanted, at its offset in the flat vector.
    pub(super) fn parameter<const D: usize>(
        &mut self,
        offset: usize,
        cotangent: impl FnOnce() -> Tensor<B, D>,
    ) {
        if let Some(parameters) = &mut self.parameters {
            let cotangent = cotangent();
            let len = cotangent.shape().num_elements();
            parameters.push((offset, cotangent.reshape([len])));
        }
    }

    /// The input's cotangent, if wanted.
    pub(super) fn input(&self, cotangent: impl FnOnce() -> Tensor<B, 4>) -> Option<Tensor<B, 4>> {
        self.input.then(cotangent)
    }

    /// The parameters' cotangents as one flat vector, in the order of their offsets; `None` if they
    /// were not asked for.
    pub fn into_flat(self) -> Option<Tensor<B, 1>> {
        let mut parameters = self.parameters?;
        parameters.sort_by_key(|(offset, _)| *offset);
        Some(Tensor::cat(parameters.into_iter().map(|(_, tensor)| tensor).collect(), 0))
    }
}

/// The tensor at `offset` of a flat vector.
pub(super) fn part<B: Kernels, const D: usize>(
    flat: &Tensor<B, 1>,
    offset: usize,
    shape: [usize; D],
) -> Tensor<B, D> {
    let len: usize = shape.iter().product();
    flat.clone().slice(offset..offset + len).reshape(shape)
}

/// `a + b` where either may be zero.
pub(super) fn sum<B: Kernels>(
    a: Option<Tensor<B, 4>>,
    b: Option<Tensor<B, 4>>,
) -> Option<Tensor<B, 4>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(B::add(a, &b)),
        (a, b) => a.or(b),
    }
}
