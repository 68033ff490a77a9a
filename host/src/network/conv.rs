//! Convolution without bias: every one of a ResNet's is followed by batch norm.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved, part};
use super::{Init, ParameterTable};
use crate::kernels::{ConvShape, Kernels};

/// `y = w ∗ x`.
#[derive(Clone, Debug)]
pub struct Conv {
    offset: usize,
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// A `kernel` × `kernel` convolution with "same" padding, its weight appended to the table.
    pub fn new(
        table: &mut ParameterTable,
        name: &str,
        (channels_in, channels_out): (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Self {
        let shape = [channels_out, channels_in, kernel, kernel];
        let offset = table.push(format!("{name}.weight"), &shape, Init::KaimingFanOut);
        Self { offset, channels_in, channels_out, kernel, stride, padding: kernel / 2 }
    }

    fn weight<B: Kernels>(&self, flat: &Tensor<B, 1>) -> Tensor<B, 4> {
        let shape = [self.channels_out, self.channels_in, self.kernel, self.kernel];
        part(flat, self.offset, shape)
    }

    fn shape<B: Kernels>(&self, x: &Tensor<B, 4>) -> ConvShape {
        let [batch, channels_in, height, width] = x.dims();
        debug_assert_eq!(channels_in, self.channels_in, "channels of the input");
        ConvShape {
            batch,
            channels_in,
            channels_out: self.channels_out,
            height,
            width,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
        }
    }

    fn saved<'a, B: Kernels>(&self, saved: &'a Saved<B>) -> (&'a ConvShape, &'a Tensor<B, 4>) {
        match saved {
            Saved::Conv(shape, x) => (shape, x),
            other => unreachable!("a convolution keeps its input, found {other:?}"),
        }
    }
}

impl<B: Kernels> Layer<B> for Conv {
    fn forward(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let shape = self.shape(&x);
        (B::conv(&shape, &[(&x, &self.weight(p))]), Saved::Conv(shape, x))
    }

    fn evaluate(&self, p: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        B::conv(&self.shape(&x), &[(&x, &self.weight(p))])
    }

    fn tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        let (shape, x) = self.saved(saved);
        let (w, w_dot) = (self.weight(p), p_dot.map(|p_dot| self.weight(p_dot)));
        let terms: Vec<_> = x_dot
            .map(|x_dot| (x_dot, &w))
            .into_iter()
            .chain(w_dot.as_ref().map(|w| (x, w)))
            .collect();
        (!terms.is_empty()).then(|| B::conv(shape, &terms))
    }

    fn backward(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let (shape, x) = self.saved(saved);
        out.parameter(self.offset, || B::conv_weight(shape, &[(x, y_bar)]));
        out.input(|| B::conv_input(shape, &[(&self.weight(p), y_bar)]))
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let (shape, x) = self.saved(saved);
        let Direction { x_dot, p_dot, y_bar_dot } = direction;
        out.parameter(self.offset, || match x_dot {
            Some(x_dot) => B::conv_weight(shape, &[(x, y_bar_dot), (x_dot, y_bar)]),
            None => B::conv_weight(shape, &[(x, y_bar_dot)]),
        });
        out.input(|| {
            let w = self.weight(p);
            match p_dot {
                Some(p_dot) => {
                    B::conv_input(shape, &[(&w, y_bar_dot), (&self.weight(p_dot), y_bar)])
                }
                None => B::conv_input(shape, &[(&w, y_bar_dot)]),
            }
        })
    }
}
