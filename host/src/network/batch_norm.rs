//! Batch normalisation (Ioffe, Szegedy 2015), functional: statistics are an output, never a side effect.

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Saved, part};
use super::{Init, ParameterTable};
use crate::kernels::{Kernels, Normalized};

/// Added to the variance, as torch's default; part of the layer's definition.
pub const EPSILON: f64 = 1e-5;

/// `y = γ (x − μ)/√(σ² + ε) + β` per channel.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gamma: usize,
    beta: usize,
    channels: usize,
    /// Offset of the running mean in the statistics vector; the variance follows.
    statistics: usize,
}

impl BatchNorm {
    /// Over `channels`, its parameters appended to `table`, its running statistics to `statistics`.
    pub fn new(
        table: &mut ParameterTable,
        statistics: &mut ParameterTable,
        name: &str,
        channels: usize,
        gamma: Init,
    ) -> Self {
        let gamma = table.push(format!("{name}.weight"), &[channels], gamma);
        let beta = table.push(format!("{name}.bias"), &[channels], Init::Zero);
        let mean = statistics.push(format!("{name}.running_mean"), &[channels], Init::Zero);
        statistics.push(format!("{name}.running_var"), &[channels], Init::One);
        Self { gamma, beta, channels, statistics: mean }
    }

    fn gamma<B: Kernels>(&self, flat: &Tensor<B, 1>) -> Tensor<B, 1> {
        part(flat, self.gamma, [self.channels])
    }

    fn beta<B: Kernels>(&self, flat: &Tensor<B, 1>) -> Tensor<B, 1> {
        part(flat, self.beta, [self.channels])
    }

    fn saved<'a, B: Kernels>(&self, saved: &'a Saved<B>) -> &'a Normalized<B> {
        match saved {
            Saved::Norm { normalized, .. } => normalized,
            other => unreachable!("a batch norm keeps its normalised input, found {other:?}"),
        }
    }

    /// γ̇ and β̇, zero where the parameters do not move.
    fn tangents<B: Kernels>(
        &self,
        p: &Tensor<B, 1>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        match p_dot {
            Some(p_dot) => (self.gamma(p_dot), self.beta(p_dot)),
            None => {
                let zero = Tensor::zeros([self.channels], &p.device());
                (zero.clone(), zero)
            }
        }
    }
}

impl<B: Kernels> Layer<B> for BatchNorm {
    fn forward(&self, p: &Tensor<B, 1>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved<B>) {
        let [batch, _, height, width] = x.dims();
        let (y, normalized, statistics) = B::norm(&x, &self.gamma(p), &self.beta(p), EPSILON);
        (y, Saved::Norm { normalized, statistics, count: batch * height * width })
    }

    fn evaluate(&self, p: &Tensor<B, 1>, running: &Tensor<B, 1>, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let per_channel = [1, self.channels, 1, 1];
        let mean: Tensor<B, 1> = part(running, self.statistics, [self.channels]);
        let variance: Tensor<B, 1> =
            part(running, self.statistics + self.channels, [self.channels]);
        let scale = self.gamma(p) * (variance + EPSILON).sqrt().recip();
        let shift = self.beta(p) - mean * scale.clone();
        x * scale.reshape(per_channel) + shift.reshape(per_channel)
    }

    fn tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<&Tensor<B, 1>>,
    ) -> Option<Tensor<B, 4>> {
        if x_dot.is_none() && p_dot.is_none() {
            return None;
        }
        let saved = self.saved(saved);
        let (gamma_dot, beta_dot) = self.tangents(p, p_dot);
        let zero;
        let x_dot = match x_dot {
            Some(x_dot) => x_dot,
            None => {
                zero = saved.normalized.zeros_like();
                &zero
            }
        };
        Some(B::norm_tangent(saved, &self.gamma(p), x_dot, &gamma_dot, &beta_dot))
    }

    fn backward(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let (x_bar, gamma, beta) = B::norm_backward(self.saved(saved), &self.gamma(p), y_bar);
        out.parameter(self.gamma, || gamma);
        out.parameter(self.beta, || beta);
        out.input(|| x_bar)
    }

    fn backward_tangent(
        &self,
        p: &Tensor<B, 1>,
        saved: &Saved<B>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let saved = self.saved(saved);
        let (gamma_dot, _) = self.tangents(p, direction.p_dot);
        let zero;
        let x_dot = match direction.x_dot {
            Some(x_dot) => x_dot,
            None => {
                zero = saved.normalized.zeros_like();
                &zero
            }
        };
        let (x_bar, gamma, beta) = B::norm_backward_tangent(
            saved,
            &self.gamma(p),
            (x_dot, &gamma_dot),
            (y_bar, direction.y_bar_dot),
        );
        out.parameter(self.gamma, || gamma);
        out.parameter(self.beta, || beta);
        out.input(|| x_bar)
    }
}
