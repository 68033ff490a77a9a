//! Rectified linear unit; the derivative at 0 is 0.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Layout, Passes};
use super::parameters::Parameters;
use super::shape::{Shape, Unfit};
use crate::kernels::Kernels;

/// `y = max(x, 0)` in any shape; NaN stays NaN, and its cotangent is not masked.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Layer for Relu {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        Ok(Layout::piecewise_linear(input))
    }
}

impl<B: Kernels> Passes<B> for Relu {
    /// The output.
    type Saved = Tensor<B, 4>;

    fn forward(&self, _: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let y = B::rectify(&x);
        (y.clone(), y)
    }

    fn tangent(
        &self,
        _: Parameters<'_, B>,
        y: &Tensor<B, 4>,
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(|x_dot| B::rectify_mask(y, x_dot))
    }

    fn backward(
        &self,
        _: Parameters<'_, B>,
        y: &Tensor<B, 4>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.input(|| B::rectify_mask(y, y_bar))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        y: &Tensor<B, 4>,
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        // Piecewise linear: the second derivative vanishes almost everywhere.
        self.backward(p, y, direction.y_bar_dot, out)
    }
}
