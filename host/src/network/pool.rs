//! Max-pool and global average pool; both linear once the winners are known.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved};
use crate::kernels::{Kernels, PoolShape};

/// The largest value of every window; the first of equal ones wins.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// Window size.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Border that never wins; less than `kernel`.
    pub padding: usize,
}

impl MaxPool {
    fn shape<B: Kernels>(&self, x: &Tensor<B, 4>) -> PoolShape {
        let [batch, channels, height, width] = x.dims();
        let Self { kernel, stride, padding } = *self;
        PoolShape { planes: batch * channels, height, width, kernel, stride, padding }
    }

    fn saved<B: Kernels>(saved: &Saved<B>) -> (&PoolShape, &B::Indices) {
        match saved {
            Saved::MaxPool(shape, indices) => (shape, indices),
            other => unreachable!("a max-pool keeps its winners, found {other:?}"),
        }
    }
}

impl<B: Kernels> Layer<B> for MaxPool {
    fn forward(&self, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let shape = self.shape(&x);
        let (y, indices) = B::max_pool(&shape, &x);
        (y, Saved::MaxPool(shape, indices))
    }

    fn evaluate(&self, _: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        B::max_pool(&self.shape(&x), &x).0
    }

    fn tangent(
        &self,
        _: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        let (shape, indices) = Self::saved(saved);
        x_dot.map(|x_dot| B::max_pool_tangent(shape, x_dot, indices))
    }

    fn backward(
        &self,
        _: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let (shape, indices) = Self::saved(saved);
        out.input(|| B::max_pool_backward(shape, y_bar, indices))
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        self.backward(p, saved, direction.y_bar_dot, out)
    }
}

/// Mean over all pixels: `[batch, channels, h, w]` to `[batch, channels, 1, 1]`.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool;

impl<B: Kernels> Layer<B> for AveragePool {
    fn forward(&self, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let [_, _, height, width] = x.dims();
        (B::average_pool(&x), Saved::AveragePool(height, width))
    }

    fn evaluate(&self, _: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        B::average_pool(&x)
    }

    fn tangent(
        &self,
        _: &Tensor<B, 1>,
        _: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(B::average_pool)
    }

    fn backward(
        &self,
        _: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        match saved {
            Saved::AveragePool(height, width) => {
                out.input(|| B::average_pool_backward(y_bar, *height, *width))
            }
            other => unreachable!("an average pool keeps its input's size, found {other:?}"),
        }
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        self.backward(p, saved, direction.y_bar_dot, out)
    }
}
