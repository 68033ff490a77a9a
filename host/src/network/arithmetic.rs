//! What losses compute besides elementwise functions: matrix products and totals, exact and in one
//! order on every backend.
//!
//! A device's own product may round its operands to TF32 unasked, and its own total adds with
//! atomics, in a different order every time. The CPU backends do neither, so their own operations
//! stay in use.

use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind, binary};
use burn_backend::Backend;
use burn_tensor::{Tensor, TensorPrimitive};

use crate::kernels::{Kernels, Precision, Transpose};

/// A backend that losses can be written for.
pub trait Arithmetic: Backend {
    /// `a b`, multiplied in full precision.
    fn product(a: Tensor<Self, 2>, b: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// Sum of all entries, in an order that the shape alone decides.
    fn total<const D: usize>(x: Tensor<Self, D>) -> Tensor<Self, 1>;
}

impl<B: Kernels> Arithmetic for Autodiff<B> {
    fn product(a: Tensor<Self, 2>, b: Tensor<Self, 2>) -> Tensor<Self, 2> {
        if B::ON_HOST {
            return a.matmul(b);
        }
        let (a, b) = (a.into_primitive().tensor(), b.into_primitive().tensor());
        let value = multiply::<B>(&a.primitive, &b.primitive, Transpose::Neither);
        let nodes = [a.node.clone(), b.node.clone()];
        let out = match Product.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((a.primitive, b.primitive), value),
            OpsKind::UnTracked(prepared) => prepared.finish(value),
        };
        Tensor::from_primitive(TensorPrimitive::Float(out))
    }

    fn total<const D: usize>(x: Tensor<Self, D>) -> Tensor<Self, 1> {
        if B::ON_HOST {
            return x.sum();
        }
        let entries = x.dims().iter().product();
        x.reshape([1, entries]).sum_dim(1).reshape([1])
    }
}

type Primitive<B> = <B as burn_backend::BackendTypes>::FloatTensorPrimitive;

fn multiply<B: Kernels>(a: &Primitive<B>, b: &Primitive<B>, transpose: Transpose) -> Primitive<B> {
    let tensor = |x: &Primitive<B>| Tensor::from_primitive(TensorPrimitive::Float(x.clone()));
    B::matmul(&tensor(a), &tensor(b), transpose, Precision::F32).into_primitive().tensor()
}

/// The matrix product for reverse mode: ā = c̄ bᵀ, b̄ = aᵀ c̄.
#[derive(Debug)]
struct Product;

impl<B: Kernels> Backward<B, 2> for Product {
    type State = (Primitive<B>, Primitive<B>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (a, b) = ops.state;
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            gradients,
            |c_bar| multiply::<B>(&c_bar, &b, Transpose::Right),
            |c_bar| multiply::<B>(&a, &c_bar, Transpose::Left),
        );
    }
}
