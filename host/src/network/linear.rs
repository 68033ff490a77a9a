//! Linear layer, on features `[batch, channels, 1, 1]` or on images `[batch, channels, height, width]`.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved, part, sum};
use super::{Init, ParameterTable};
use crate::kernels::{Kernels, Precision, Transpose};

/// `y = x wᵀ + b`, `w`: `[features_out, features_in]`, as torch; an image counts as its values, channel by
/// channel.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: usize,
    bias: Option<usize>,
    features_in: usize,
    features_out: usize,
    precision: Precision,
}

impl Linear {
    /// From `features_in` to `features_out`, its parameters appended to the table.
    pub fn new(
        table: &mut ParameterTable,
        name: &str,
        features_in: usize,
        features_out: usize,
        bias: bool,
    ) -> Self {
        Self::starting(table, name, (features_in, features_out), bias, Init::UniformFanIn)
    }

    /// As [`Linear::new`], with another start of its weight.
    pub(super) fn starting(
        table: &mut ParameterTable,
        name: &str,
        (features_in, features_out): (usize, usize),
        bias: bool,
        init: Init,
    ) -> Self {
        let shape = [features_out, features_in];
        let weight = table.push(format!("{name}.weight"), &shape, init);
        let bias = bias.then(|| table.push(format!("{name}.bias"), &[features_out], Init::Zero));
        Self { weight, bias, features_in, features_out, precision: Precision::F32 }
    }

    /// Multiplies in this precision from now on.
    pub(super) fn multiply_in(&mut self, precision: Precision) {
        self.precision = precision;
    }

    fn matmul<B: Kernels>(
        &self,
        a: &Tensor<B, 2>,
        b: &Tensor<B, 2>,
        transpose: Transpose,
    ) -> Tensor<B, 2> {
        B::matmul(a, b, transpose, self.precision)
    }

    fn weight<B: Kernels>(&self, flat: &Tensor<B, 1>) -> Tensor<B, 2> {
        part(flat, self.weight, [self.features_out, self.features_in])
    }

    /// `x wᵀ` (+ b), parameters from `flat`.
    fn apply<B: Kernels>(&self, flat: &Tensor<B, 1>, x: &Tensor<B, 4>) -> Tensor<B, 4> {
        let y = self.matmul(&rows(x), &self.weight(flat), Transpose::Right);
        let y = match self.bias {
            Some(offset) => {
                let bias: Tensor<B, 2> = part(flat, offset, [1, self.features_out]);
                y + bias
            }
            None => y,
        };
        features(y)
    }

    fn saved<B: Kernels>(saved: &Saved<B>) -> &Tensor<B, 4> {
        match saved {
            Saved::Linear(x) => x,
            other => unreachable!("a linear layer keeps its input, found {other:?}"),
        }
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

impl<B: Kernels> Layer<B> for Linear {
    fn forward(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        (self.apply(p, &x), Saved::Linear(x))
    }

    fn evaluate(&self, p: &Tensor<B, 1>, _: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        self.apply(p, &x)
    }

    fn tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        let weight = self.weight(p);
        sum(
            x_dot.map(|x_dot| features(self.matmul(&rows(x_dot), &weight, Transpose::Right))),
            p_dot.map(|p_dot| self.apply(p_dot, Self::saved(saved))),
        )
    }

    fn backward(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let y_bar = rows(y_bar);
        let dims = Self::saved(saved).dims();
        let x = rows(Self::saved(saved));
        out.parameter(self.weight, || self.matmul(&y_bar, &x, Transpose::Left));
        if let Some(bias) = self.bias {
            out.parameter(bias, || B::sum_rows(&y_bar));
        }
        out.input(|| self.matmul(&y_bar, &self.weight(p), Transpose::Neither).reshape(dims))
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let y_bar_dot = rows(direction.y_bar_dot);
        let y_bar = rows(y_bar);
        let dims = Self::saved(saved).dims();
        let x = rows(Self::saved(saved));
        out.parameter(self.weight, || {
            let first = self.matmul(&y_bar_dot, &x, Transpose::Left);
            match direction.x_dot {
                Some(x_dot) => first + self.matmul(&y_bar, &rows(x_dot), Transpose::Left),
                None => first,
            }
        });
        if let Some(bias) = self.bias {
            out.parameter(bias, || B::sum_rows(&y_bar_dot));
        }
        out.input(|| {
            let first = self.matmul(&y_bar_dot, &self.weight(p), Transpose::Neither);
            let sum = match direction.p_dot {
                Some(p_dot) => first + self.matmul(&y_bar, &self.weight(p_dot), Transpose::Neither),
                None => first,
            };
            sum.reshape(dims)
        })
    }
}
