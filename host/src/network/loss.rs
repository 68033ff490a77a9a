//! Losses of one or more `[batch, feature]` outputs, and their derivatives.

use std::sync::Arc;

pub use burn_autodiff::Autodiff;
use burn_backend::TensorData;
use burn_tensor::{Int, Tensor};

use super::arithmetic::Arithmetic;
use super::dual::Dual;
use crate::kernels::{Kernels, read};

/// A loss, split for Gauss-Newton into an inner map and an outer function of its variables.
///
/// The split defines the Gauss-Newton operator, which is positive semi-definite only if `outer` is
/// convex.
pub trait Loss<B: Kernels> {
    /// Maps the outputs (one per view, `[batch, feature]`) to the variables of the convex part.
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2>;

    /// The convex part: a single value.
    fn outer(&self, variables: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1>;
}

/// Softmax cross entropy of one output against class labels, mean over the batch (nats).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossEntropy {
    /// The class of every row.
    pub labels: Vec<u32>,
}

impl<B: Kernels> Loss<B> for CrossEntropy {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let targets = indices(self.labels.iter().map(|label| *label as usize), &logits.value);
        logits.softmax_cross_entropy(&targets)
    }
}

/// [`CrossEntropy`] in which each row has the weight of its class: Σ w ℓ / Σ w over the batch
/// (nats).
///
/// The same as PyTorch's mean with class weights. With weights of 1 it equals [`CrossEntropy`] bit
/// for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedCrossEntropy {
    /// The class of every row.
    pub labels: Vec<u32>,
    /// Weight w of every class, at least 0, and above 0 for at least one of the rows.
    pub class_weights: Arc<[f32]>,
}

impl<B: Kernels> Loss<B> for WeightedCrossEntropy {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let classes = || self.labels.iter().map(|label| *label as usize);
        let targets = indices(classes(), &logits.value);
        let weights: Vec<f32> = classes().map(|class| self.class_weights[class]).collect();
        let share = 1.0 / weights.iter().copied().map(f64::from).sum::<f64>();
        let shape = [weights.len(), 1];
        let data = TensorData::new(weights, shape).convert::<B::FloatElem>();
        let weights = Tensor::from_data(data, &logits.value.device());
        let rows = logits.softmax_cross_entropies(&targets);
        rows.map(|x| Autodiff::<B>::total(x * weights.clone()) * share)
    }
}

/// An integer vector on the device of `like`.
pub(super) fn indices<B: Kernels>(
    values: impl Iterator<Item = usize>,
    like: &Tensor<Autodiff<B>, 2>,
) -> Tensor<Autodiff<B>, 1, Int> {
    let values: Vec<i64> = values.map(|value| value as i64).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), &like.device())
}

type Leaves<B> = Vec<Tensor<Autodiff<B>, 2>>;
type Duals<B> = Vec<Dual<Autodiff<B>, 2>>;

/// A tensor with respect to which reverse mode differentiates.
fn leaf<B: Kernels>(value: &Tensor<B, 2>) -> Tensor<Autodiff<B>, 2> {
    Tensor::from_inner(value.clone()).require_grad()
}

fn constant<B: Kernels>(value: &Tensor<B, 2>) -> Tensor<Autodiff<B>, 2> {
    Tensor::from_inner(value.clone())
}

/// Gradients of `of` with respect to the leaves; zero where it does not depend on a leaf.
fn gradients<B: Kernels, const D: usize>(
    of: &Tensor<Autodiff<B>, D>,
    leaves: &[Tensor<Autodiff<B>, 2>],
) -> Vec<Tensor<B, 2>> {
    let gradients = of.backward();
    leaves
        .iter()
        .map(|leaf| leaf.grad(&gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like()))
        .collect()
}

fn scalar<B: Kernels>(value: Tensor<Autodiff<B>, 1>) -> f64 {
    read(value.inner()).into_iter().sum()
}

/// The loss and its gradient with respect to every output.
pub fn value_and_gradient<B: Kernels>(
    loss: &dyn Loss<B>,
    outputs: &[Tensor<B, 2>],
) -> (f64, Vec<Tensor<B, 2>>) {
    let leaves: Vec<_> = outputs.iter().map(leaf).collect();
    let duals = leaves.iter().map(|leaf| Dual::new(leaf.clone(), None)).collect();
    let value = loss.outer(loss.inner(duals)).value;
    let gradients = gradients(&value, &leaves);
    (scalar(value), gradients)
}

/// The loss without its gradient.
pub fn value<B: Kernels>(loss: &dyn Loss<B>, outputs: &[Tensor<B, 2>]) -> f64 {
    let duals = outputs.iter().map(|output| Dual::new(constant(output), None)).collect();
    scalar(loss.outer(loss.inner(duals)).value)
}

/// Leaves for the outputs, and the duals of these leaves with `direction` as tangents.
fn moving<B: Kernels>(
    outputs: &[Tensor<B, 2>],
    direction: &[Tensor<B, 2>],
) -> (Leaves<B>, Duals<B>) {
    let leaves: Vec<_> = outputs.iter().map(leaf).collect();
    let dual = |(leaf, dot): (&Tensor<_, 2>, _)| Dual::new(leaf.clone(), Some(constant(dot)));
    let duals = leaves.iter().zip(direction).map(dual).collect();
    (leaves, duals)
}

/// ∇²loss · direction with respect to the outputs.
pub fn hessian_product<B: Kernels>(
    loss: &dyn Loss<B>,
    outputs: &[Tensor<B, 2>],
    direction: &[Tensor<B, 2>],
) -> Vec<Tensor<B, 2>> {
    let (leaves, duals) = moving(outputs, direction);
    let derivative = loss.outer(loss.inner(duals)).tangent.expect("a moving input moves the loss");
    gradients(&derivative, &leaves)
}

/// JᵀH_outer J · direction with respect to the outputs: the Gauss-Newton part of
/// [`hessian_product`].
pub fn gauss_newton_product<B: Kernels>(
    loss: &dyn Loss<B>,
    outputs: &[Tensor<B, 2>],
    direction: &[Tensor<B, 2>],
) -> Vec<Tensor<B, 2>> {
    let (leaves, duals) = moving(outputs, direction);
    let inner = loss.inner(duals);
    let inner_dot = inner.tangent.expect("a moving input moves the variables").inner();
    // H_outer u̇: reverse over the outer part's tangent, with u as the leaf.
    let variables = leaf(&inner.value.clone().inner());
    let outer = loss.outer(Dual::new(variables.clone(), Some(constant(&inner_dot))));
    let derivative = outer.tangent.expect("moving variables move the loss");
    let [curved] = gradients(&derivative, std::slice::from_ref(&variables))
        .try_into()
        .expect("one gradient for one leaf");
    // Jᵀ of the result: reverse over the inner map, contracted with a constant.
    gradients(&Autodiff::<B>::total(inner.value * constant(&curved)), &leaves)
}
