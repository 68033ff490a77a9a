//! Rectified linear unit; the derivative at 0 is 0.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved};
use crate::kernels::Kernels;

/// `y = max(x, 0)`.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Relu {
    fn saved<B: Kernels>(saved: &Saved<B>) -> &Tensor<B, 4> {
        match saved {
            Saved::Relu(y) => y,
            other => unreachable!("a ReLU keeps its output, found {other:?}"),
        }
    }
}

impl<B: Kernels> Layer<B> for Relu {
    fn forward(&self, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let y = B::rectify(&x);
        (y.clone(), Saved::Relu(y))
    }

    fn evaluate(&self, _: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        B::rectify(&x)
    }

    fn tangent(
        &self,
        _: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(|x_dot| B::rectify_mask(Self::saved(saved), x_dot))
    }

    fn backward(
        &self,
        _: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.input(|| B::rectify_mask(Self::saved(saved), y_bar))
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        // Piecewise linear: the second derivative vanishes almost everywhere.
        self.backward(p, saved, direction.y_bar_dot, out)
    }
}
