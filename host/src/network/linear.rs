//! Linear layer, on features `[batch, channels, 1, 1]` or on images `[batch, channels, height,
//! width]`.

use burn_tensor::Tensor;

use super::Init;
use super::layer::{Cotangents, Direction, Layer, Layout, Passes, sum};
use super::parameters::Parameters;
use super::shape::{Shape, Unfit};
use crate::kernels::{Kernels, Transpose};

const WEIGHT: usize = 0;
const BIAS: usize = 1;

/// `y = x wᵀ + b`, `w`: `[features_out, features_in]`, as torch; an image counts as its values,
/// channel by channel. Parameters `weight`, and `bias` if there is one, which starts at 0.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Features of the output, at least 1.
    pub features_out: usize,
    /// Whether b is added.
    pub bias: bool,
    /// How w starts.
    pub init: Init,
}

impl Linear {
    /// `x wᵀ` (+ b), parameters from `p`.
    fn apply<B: Kernels>(&self, p: Parameters<'_, B>, x: &Tensor<B, 4>) -> Tensor<B, 4> {
        let y = B::matmul(&rows(x), &p.tensor(WEIGHT), Transpose::Right, p.precision());
        let y = match self.bias {
            true => y + p.reshaped::<2>(BIAS, [1, self.features_out]),
            false => y,
        };
        features(y)
    }
}

/// `[batch, channels, height, width]` to `[batch, channels · height · width]`.
fn rows<B: Kernels>(x: &Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, channels, height, width] = x.dims();
    x.clone().reshape([batch, channels * height * width])
}

/// `[batch, features]` to `[batch, features, 1, 1]`.
fn features<B: Kernels>(x: Tensor<B, 2>) -> Tensor<B, 4> {
    let [batch, channels] = x.dims();
    x.reshape([batch, channels, 1, 1])
}

impl Layer for Linear {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        if self.features_out == 0 {
            return Err(Unfit::new("0 features of the output", "at least 1"));
        }
        let (channels, size) = input.maps()?;
        let [height, width] = size.ok_or_else(|| Unfit::new(input, "maps of a known size"))?;
        let shape = [self.features_out, channels * height * width];
        let layout = Layout::new(Shape::features(self.features_out));
        let layout = layout.parameter("weight", &shape, self.init);
        Ok(match self.bias {
            true => layout.parameter("bias", &[self.features_out], Init::Zero),
            false => layout,
        })
    }
}

impl<B: Kernels> Passes<B> for Linear {
    /// The input.
    type Saved = Tensor<B, 4>;

    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        (self.apply(p, &x), x)
    }

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        x: &Tensor<B, 4>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        let through = |x_dot| {
            let weight = p.tensor(WEIGHT);
            features(B::matmul(&rows(x_dot), &weight, Transpose::Right, p.precision()))
        };
        sum(x_dot.map(through), p_dot.map(|p_dot| self.apply(p_dot, x)))
    }

    fn backward(
        &self,
        p: Parameters<'_, B>,
        x: &Tensor<B, 4>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let product = |a: &_, b: &_, transpose| B::matmul(a, b, transpose, p.precision());
        let y_bar = rows(y_bar);
        out.parameter(WEIGHT, || product(&y_bar, &rows(x), Transpose::Left));
        if self.bias {
            out.parameter(BIAS, || B::sum_rows(&y_bar));
        }
        out.input(|| product(&y_bar, &p.tensor(WEIGHT), Transpose::Neither).reshape(x.dims()))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        x: &Tensor<B, 4>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let product = |a: &_, b: &_, transpose| B::matmul(a, b, transpose, p.precision());
        let y_bar_dot = rows(direction.y_bar_dot);
        let y_bar = rows(y_bar);
        out.parameter(WEIGHT, || {
            let first = product(&y_bar_dot, &rows(x), Transpose::Left);
            match direction.x_dot {
                Some(x_dot) => first + product(&y_bar, &rows(x_dot), Transpose::Left),
                None => first,
            }
        });
        if self.bias {
            out.parameter(BIAS, || B::sum_rows(&y_bar_dot));
        }
        out.input(|| {
            let first = product(&y_bar_dot, &p.tensor(WEIGHT), Transpose::Neither);
            let sum = match direction.p_dot {
                Some(p_dot) => first + product(&y_bar, &p_dot.tensor(WEIGHT), Transpose::Neither),
                None => first,
            };
            sum.reshape(x.dims())
        })
    }
}
