//! SimCLR (Chen et al. 2020): tells an image's other view from all other images.

use burn_autodiff::Autodiff;
use burn_tensor::Tensor;

use super::oracle::{add, dot, through_norm, unit};
use super::{Method, Oracle, PretextTask};
use crate::kernels::Kernels;
use crate::network::dual::Dual;
use crate::network::loss::{Loss, indices};

/// NT-Xent contrastive loss of two views, mean over the 2·batch anchors (nats).
///
/// Chen et al. (2020), eq. 1: logits `z zᵀ/τ` of the normalised outputs without the diagonal; the
/// target is the other view of the same image. The inner map ends at the masked logits, and the
/// outer part is the cross entropy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtXent {
    /// τ > 0, dimensionless.
    pub temperature: f64,
}

impl<B: Kernels> Loss<B> for NtXent {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs).normalize_rows().gram().scale(1.0 / self.temperature).without_diagonal()
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, _] = logits.value.dims();
        let targets = (0..rows).map(|i| (i + rows / 2) % rows);
        let targets = indices(targets, &logits.value);
        logits.softmax_cross_entropy(&targets)
    }
}

impl PretextTask for NtXent {
    fn settings_in_words(&self) -> Option<String> {
        Some(format!("temperature {}", self.temperature))
    }

    fn loss_label(&self) -> &'static str {
        "NT-Xent, nats"
    }

    fn oracle(&self) -> Option<&dyn Oracle> {
        Some(self)
    }
}

impl<B: Kernels> Method<B> for NtXent {
    fn loss(&self, _: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(*self)
    }
}

/// Softmax of row `i` without its own column.
fn probabilities(logits: &[f64], rows: usize, i: usize) -> Vec<f64> {
    let row = &logits[i * rows..(i + 1) * rows];
    let others = || row.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, x)| *x);
    let top = others().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = others().map(|x| (x - top).exp()).sum();
    let share = |(j, x): (usize, &f64)| if j == i { 0.0 } else { (x - top).exp() / total };
    row.iter().enumerate().map(share).collect()
}

/// Row of the other view of row `i`'s image.
fn other_view(rows: usize, i: usize) -> usize {
    (i + rows / 2) % rows
}

/// The variables are `z zᵀ/τ`; the diagonal is ignored.
impl Oracle for NtXent {
    fn inner(&self, outputs: &[f64], rows: usize) -> Vec<f64> {
        let units: Vec<_> = outputs.chunks(outputs.len() / rows).map(unit).collect();
        let logit = |at: usize| dot(&units[at / rows], &units[at % rows]) / self.temperature;
        (0..rows * rows).map(logit).collect()
    }

    fn outer(&self, logits: &[f64], rows: usize, _: &[f64]) -> f64 {
        let anchor = |i: usize| -probabilities(logits, rows, i)[other_view(rows, i)].ln();
        (0..rows).map(anchor).sum::<f64>() / rows as f64
    }

    fn gradient(&self, outputs: &[f64], rows: usize, _: &[f64]) -> Vec<f64> {
        let width = outputs.len() / rows;
        let logits = Oracle::inner(self, outputs, rows);
        let units: Vec<_> = outputs.chunks(width).map(unit).collect();
        let bar = |i: usize| {
            let target = other_view(rows, i);
            let shares = probabilities(&logits, rows, i).into_iter().enumerate();
            shares.map(move |(j, share)| (share - f64::from(j == target)) / rows as f64)
        };
        let logit_bars: Vec<Vec<f64>> = (0..rows).map(|i| bar(i).collect()).collect();
        let row = |(i, output): (usize, &[f64])| {
            // A unit vector enters its row and its column.
            let mut unit_bar = vec![0.0; width];
            for (j, other) in units.iter().enumerate() {
                let weight = (logit_bars[i][j] + logit_bars[j][i]) / self.temperature;
                unit_bar = add(&unit_bar, weight, other);
            }
            through_norm(output, &unit_bar)
        };
        outputs.chunks(width).enumerate().flat_map(row).collect()
    }

    /// Mean over the anchors of the variance of their logits' tangents under the softmax.
    fn quadratic_form(&self, logits: &[f64], tangents: &[f64], rows: usize) -> f64 {
        let anchor = |i: usize| {
            let shares = probabilities(logits, rows, i);
            let tangents = &tangents[i * rows..(i + 1) * rows];
            let mean = dot(&shares, tangents);
            let spread = |(share, tangent): (&f64, &f64)| share * (tangent - mean).powi(2);
            shares.iter().zip(tangents).map(spread).sum::<f64>()
        };
        (0..rows).map(anchor).sum::<f64>() / rows as f64
    }
}
