//! Convolution: without bias where batch norm follows, as in ResNets, with it where none does.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved, part};
use super::{Init, ParameterTable};
use crate::kernels::{ConvShape, Kernels, Precision};

/// `y = w ∗ x` (+ b).
#[derive(Clone, Debug)]
pub struct Conv {
    offset: usize,
    bias: Option<usize>,
    channels_in: usize,
    channels_out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: usize,
    precision: Precision,
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
        let (kernel, stride, padding) = ([kernel; 2], [stride; 2], kernel / 2);
        Self {
            offset,
            bias: None,
            channels_in,
            channels_out,
            kernel,
            stride,
            padding,
            precision: Precision::F32,
        }
    }

    /// A convolution with bias and without padding; `kernel` and `stride` as `[height, width]`. Its weight
    /// and then its bias, which starts at 0, are appended to the table.
    pub fn valid(
        table: &mut ParameterTable,
        name: &str,
        (channels_in, channels_out): (usize, usize),
        kernel: [usize; 2],
        stride: [usize; 2],
    ) -> Self {
        let shape = [channels_out, channels_in, kernel[0], kernel[1]];
        let offset = table.push(format!("{name}.weight"), &shape, Init::KaimingFanIn);
        let bias = Some(table.push(format!("{name}.bias"), &[channels_out], Init::Zero));
        let precision = Precision::F32;
        Self { offset, bias, channels_in, channels_out, kernel, stride, padding: 0, precision }
    }

    /// Multiplies in this precision from now on.
    pub(super) fn multiply_in(&mut self, precision: Precision) {
        self.precision = precision;
    }

    fn weight<B: Kernels>(&self, flat: &Tensor<B, 1>) -> Tensor<B, 4> {
        let [height, width] = self.kernel;
        part(flat, self.offset, [self.channels_out, self.channels_in, height, width])
    }

    /// `y + b`, the bias from `flat`.
    fn biased<B: Kernels>(&self, flat: &Tensor<B, 1>, y: Tensor<B, 4>) -> Tensor<B, 4> {
        match self.bias {
            Some(offset) => y + part::<B, 4>(flat, offset, [1, self.channels_out, 1, 1]),
            None => y,
        }
    }

    /// b̄ from ȳ: the sum over batch and pixels.
    fn bias_bar<B: Kernels>(y_bar: &Tensor<B, 4>, out: &mut Cotangents<B>, offset: usize) {
        out.parameter(offset, || {
            let [batch, channels, height, width] = y_bar.dims();
            let means = B::average_pool(y_bar).reshape([batch, channels]);
            B::sum_rows(&means) * (height * width) as f64
        });
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
            precision: self.precision,
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
        let y = self.biased(p, B::conv(&shape, &[(&x, &self.weight(p))]));
        (y, Saved::Conv(shape, x))
    }

    fn evaluate(&self, p: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.biased(p, B::conv(&self.shape(&x), &[(&x, &self.weight(p))]))
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
        let y_dot = (!terms.is_empty()).then(|| B::conv(shape, &terms))?;
        Some(match p_dot {
            Some(p_dot) => self.biased(p_dot, y_dot),
            None => y_dot,
        })
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
        if let Some(bias) = self.bias {
            Self::bias_bar(y_bar, out, bias);
        }
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
        if let Some(bias) = self.bias {
            Self::bias_bar(y_bar_dot, out, bias);
        }
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
