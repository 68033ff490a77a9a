//! Convolution: without bias before a batch norm, as in ResNets, with bias elsewhere.

use burn_tensor::Tensor;

use super::Init;
use super::layer::{Cotangents, Direction, Layer, Layout, Passes};
use super::parameters::Parameters;
use super::shape::{Shape, Unfit};
use crate::kernels::{ConvShape, Kernels};

const WEIGHT: usize = 0;
const BIAS: usize = 1;

/// `y = w ∗ x` (+ b), with parameter `weight` and, if there is a bias, `bias`, which starts at 0.
#[derive(Clone, Debug)]
pub struct Conv {
    channels_out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: usize,
    bias: bool,
    init: Init,
}

impl Conv {
    /// A `kernel` × `kernel` convolution with "same" padding and without bias.
    pub fn same(channels_out: usize, kernel: usize, stride: usize) -> Self {
        let (padding, init) = (kernel / 2, Init::KaimingFanOut);
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        Self { channels_out, kernel, stride, padding, bias: false, init }
    }

    /// A convolution with bias and without padding; `kernel` and `stride` as `[height, width]`.
    pub fn valid(channels_out: usize, kernel: [usize; 2], stride: [usize; 2]) -> Self {
        let init = Init::KaimingFanIn;
        Self { channels_out, kernel, stride, padding: 0, bias: true, init }
    }

    /// `y + b` with the bias from `p`.
    fn biased<B: Kernels>(&self, p: Parameters<'_, B>, y: Tensor<B, 4>) -> Tensor<B, 4> {
        if !self.bias {
            return y;
        }
        y + p.reshaped::<4>(BIAS, [1, self.channels_out, 1, 1])
    }

    /// b̄ from ȳ: the sum over batch and pixels.
    fn bias_bar<B: Kernels>(&self, y_bar: &Tensor<B, 4>, out: &mut Cotangents<B>) {
        if !self.bias {
            return;
        }
        out.parameter(BIAS, || {
            let [batch, channels, height, width] = y_bar.dims();
            let means = B::average_pool(y_bar).reshape([batch, channels]);
            B::sum_rows(&means) * (height * width) as f64
        });
    }
}

impl Layer for Conv {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        let [height, width] = self.kernel;
        if [self.channels_out, height, width, self.stride[0], self.stride[1]].contains(&0) {
            return Err(Unfit::new(format!("{self:?}"), "channels, kernel and stride from 1"));
        }
        let (channels, size) = input.maps()?;
        let padded = |side: usize| side + 2 * self.padding;
        if size.is_some_and(|size| padded(size[0]) < height || padded(size[1]) < width) {
            return Err(Unfit::new(input, format!("a kernel of {height}x{width} in each map")));
        }
        let out =
            |side: usize, size: usize| (padded(size) - self.kernel[side]) / self.stride[side] + 1;
        let size = size.map(|[height, width]| [out(0, height), out(1, width)]);
        let layout = Layout::new(Shape::Maps { channels: self.channels_out, size });
        let shape = [self.channels_out, channels, height, width];
        let layout = layout.parameter("weight", &shape, self.init);
        Ok(match self.bias {
            true => layout.parameter("bias", &[self.channels_out], Init::Zero),
            false => layout,
        })
    }
}

impl<B: Kernels> Passes<B> for Conv {
    /// The input.
    type Saved = (ConvShape, Tensor<B, 4>);

    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Self::Saved) {
        let [batch, channels_in, height, width] = x.dims();
        let w: Tensor<B, 4> = p.tensor(WEIGHT);
        debug_assert_eq!(channels_in, w.dims()[1], "channels of the input");
        let shape = ConvShape {
            batch,
            channels_in,
            channels_out: self.channels_out,
            height,
            width,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            precision: p.precision(),
        };
        let y = self.biased(p, B::conv(&shape, &[(&x, &w)]));
        (y, (shape, x))
    }

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        (shape, x): &Self::Saved,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        let (w, w_dot) = (p.tensor(WEIGHT), p_dot.map(|p_dot| p_dot.tensor(WEIGHT)));
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
        p: Parameters<'_, B>,
        (shape, x): &Self::Saved,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.parameter(WEIGHT, || B::conv_weight(shape, &[(x, y_bar)]));
        self.bias_bar(y_bar, out);
        out.input(|| B::conv_input(shape, &[(&p.tensor(WEIGHT), y_bar)]))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        (shape, x): &Self::Saved,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let Direction { x_dot, p_dot, y_bar_dot } = direction;
        out.parameter(WEIGHT, || match x_dot {
            Some(x_dot) => B::conv_weight(shape, &[(x, y_bar_dot), (x_dot, y_bar)]),
            None => B::conv_weight(shape, &[(x, y_bar_dot)]),
        });
        self.bias_bar(y_bar_dot, out);
        out.input(|| {
            let w = p.tensor(WEIGHT);
            match p_dot {
                Some(p_dot) => {
                    B::conv_input(shape, &[(&w, y_bar_dot), (&p_dot.tensor(WEIGHT), y_bar)])
                }
                None => B::conv_input(shape, &[(&w, y_bar_dot)]),
            }
        })
    }
}
