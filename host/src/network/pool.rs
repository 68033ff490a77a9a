//! Max-pool and global average pool. Both are linear once the winners are known.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Layout, Passes};
use super::parameters::Parameters;
use super::shape::{Shape, Unfit};
use crate::kernels::{Kernels, PoolShape};

/// The largest value of every window; among equals the first wins.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// Window size.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Border that never wins, less than `kernel`.
    pub padding: usize,
}

impl Layer for MaxPool {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        let Self { kernel, stride, padding } = *self;
        if stride == 0 || padding >= kernel {
            return Err(Unfit::new(
                format!("{self:?}"),
                "a stride from 1 and a padding below the kernel",
            ));
        }
        let (channels, size) = input.maps()?;
        if size.is_some_and(|size| size.iter().any(|side| side + 2 * padding < kernel)) {
            return Err(Unfit::new(input, format!("a window of {kernel}x{kernel} in each map")));
        }
        let out = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        Ok(Layout::piecewise_linear(Shape::Maps { channels, size: size.map(|size| size.map(out)) }))
    }
}

impl<B: Kernels> Passes<B> for MaxPool {
    /// The winners' positions.
    type Saved = (PoolShape, B::Indices);

    fn forward(&self, _: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Self::Saved) {
        let [batch, channels, height, width] = x.dims();
        let Self { kernel, stride, padding } = *self;
        let planes = batch * channels;
        let shape = PoolShape { planes, height, width, kernel, stride, padding };
        let (y, indices) = B::max_pool(&shape, &x);
        (y, (shape, indices))
    }

    fn tangent(
        &self,
        _: Parameters<'_, B>,
        (shape, indices): &Self::Saved,
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(|x_dot| B::max_pool_tangent(shape, x_dot, indices))
    }

    fn backward(
        &self,
        _: Parameters<'_, B>,
        (shape, indices): &Self::Saved,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.input(|| B::max_pool_backward(shape, y_bar, indices))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Self::Saved,
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

impl Layer for AveragePool {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        let (channels, _) = input.maps()?;
        Ok(Layout::piecewise_linear(Shape::features(channels)))
    }
}

impl<B: Kernels> Passes<B> for AveragePool {
    /// The input's height and width.
    type Saved = [usize; 2];

    fn forward(&self, _: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, [usize; 2]) {
        let [_, _, height, width] = x.dims();
        (B::average_pool(&x), [height, width])
    }

    fn tangent(
        &self,
        _: Parameters<'_, B>,
        _: &[usize; 2],
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(B::average_pool)
    }

    fn backward(
        &self,
        _: Parameters<'_, B>,
        [height, width]: &[usize; 2],
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.input(|| B::average_pool_backward(y_bar, *height, *width))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &[usize; 2],
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        self.backward(p, saved, direction.y_bar_dot, out)
    }
}
