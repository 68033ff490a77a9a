//! Batch normalisation (Ioffe, Szegedy 2015), functional: statistics are an output, never a side
//! effect.

use burn_tensor::Tensor;

use super::Init;
use super::layer::{Cotangents, Direction, Layer, Layout, Passes};
use super::parameters::Parameters;
use super::shape::{Shape, Unfit};
use crate::kernels::{BatchStatistics, Kernels, Normalized};

/// Added to the variance, as torch's default; part of the layer's definition.
pub const EPSILON: f64 = 1e-5;

const GAMMA: usize = 0;
const BETA: usize = 1;
const MEAN: usize = 0;
const VARIANCE: usize = 1;

/// `y = γ (x − μ)/√(σ² + ε) + β` per channel, with parameters `weight` and `bias` and running
/// statistics `running_mean` and `running_var`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Initial value of γ.
    pub gamma: Init,
}

/// What a batch norm keeps of its forward pass.
#[derive(Debug)]
pub struct NormSaved<B: Kernels> {
    /// x̂ and 1/σ.
    normalized: Normalized<B>,
    /// μ and σ².
    statistics: BatchStatistics<B>,
    /// Number of values per channel: batch · pixels.
    count: usize,
}

/// ẋ, γ̇ and β̇; zeros replace a `None`.
fn tangents<B: Kernels>(
    saved: &Normalized<B>,
    x_dot: Option<&Tensor<B, 4>>,
    p_dot: Option<Parameters<'_, B>>,
) -> (Tensor<B, 4>, Tensor<B, 1>, Tensor<B, 1>) {
    let x_dot = x_dot.cloned().unwrap_or_else(|| saved.normalized.zeros_like());
    match p_dot {
        Some(p_dot) => (x_dot, p_dot.tensor(GAMMA), p_dot.tensor(BETA)),
        None => {
            let zero = Tensor::zeros(saved.inv_std.dims(), &saved.inv_std.device());
            (x_dot, zero.clone(), zero)
        }
    }
}

impl Layer for BatchNorm {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        let (channels, _) = input.maps()?;
        Ok(Layout::new(input)
            .parameter("weight", &[channels], self.gamma)
            .parameter("bias", &[channels], Init::Zero)
            .statistic("running_mean", channels, Init::Zero)
            .statistic("running_var", channels, Init::One))
    }
}

impl<B: Kernels> Passes<B> for BatchNorm {
    type Saved = NormSaved<B>;

    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, NormSaved<B>) {
        let [batch, _, height, width] = x.dims();
        let (y, normalized, statistics) = B::norm(&x, &p.tensor(GAMMA), &p.tensor(BETA), EPSILON);
        (y, NormSaved { normalized, statistics, count: batch * height * width })
    }

    fn evaluate(
        &self,
        p: Parameters<'_, B>,
        running: Parameters<'_, B>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        let [_, channels, _, _] = x.dims();
        let per_channel = [1, channels, 1, 1];
        let mean: Tensor<B, 1> = running.tensor(MEAN);
        let variance: Tensor<B, 1> = running.tensor(VARIANCE);
        let scale = p.tensor::<1>(GAMMA) * (variance + EPSILON).sqrt().recip();
        let shift = p.tensor::<1>(BETA) - mean * scale.clone();
        x * scale.reshape(per_channel) + shift.reshape(per_channel)
    }

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &NormSaved<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        if x_dot.is_none() && p_dot.is_none() {
            return None;
        }
        let saved = &saved.normalized;
        let (x_dot, gamma_dot, beta_dot) = tangents(saved, x_dot, p_dot);
        Some(B::norm_tangent(saved, &p.tensor(GAMMA), &x_dot, &gamma_dot, &beta_dot))
    }

    fn backward(
        &self,
        p: Parameters<'_, B>,
        saved: &NormSaved<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let (x_bar, gamma, beta) = B::norm_backward(&saved.normalized, &p.tensor(GAMMA), y_bar);
        out.parameter(GAMMA, || gamma);
        out.parameter(BETA, || beta);
        out.input(|| x_bar)
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &NormSaved<B>,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let saved = &saved.normalized;
        let (x_dot, gamma_dot, _) = tangents(saved, direction.x_dot, direction.p_dot);
        let (x_bar, gamma, beta) = B::norm_backward_tangent(
            saved,
            &p.tensor(GAMMA),
            (&x_dot, &gamma_dot),
            (y_bar, direction.y_bar_dot),
        );
        out.parameter(GAMMA, || gamma);
        out.parameter(BETA, || beta);
        out.input(|| x_bar)
    }

    /// μ, and σ² unbiased.
    fn batch_statistics(&self, saved: &NormSaved<B>) -> Vec<Tensor<B, 1>> {
        let NormSaved { statistics, count, .. } = saved;
        let unbiased = *count as f64 / (count.saturating_sub(1).max(1)) as f64;
        vec![statistics.mean.clone(), statistics.variance.clone() * unbiased]
    }
}
