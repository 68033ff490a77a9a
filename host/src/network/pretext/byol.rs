//! BYOL (Grill et al. 2020): each view predicts the other view's projection by a slower copy of the
//! network.

use burn_autodiff::Autodiff;
use burn_tensor::Tensor;

use super::oracle::{add, dot, scale, through_norm, unit};
use super::{Method, Oracle, PretextTask, Projector};
use crate::kernels::Kernels;
use crate::network::Network;
use crate::network::dual::Dual;
use crate::network::loss::Loss;

/// The settings of BYOL.
#[derive(Clone, Debug, PartialEq)]
pub struct Byol {
    /// Weight of the old parameters in the target network's moving average, in `[0, 1]`.
    pub decay: f64,
    /// Widths of the predictor's hidden layers; its output is as wide as the projector's.
    pub predictor: Vec<usize>,
}

/// BYOL's loss of two views, mean over the batch (squared distance, in `[0, 8]`).
///
/// Grill et al. (2020), eq. 2, in both directions:
/// `[2 − 2 cos(q(x), t(y))] + [2 − 2 cos(q(y), t(x))]`, with the online network's predictions q and
/// the target network's projections t, which are constants. For normalised vectors each term is
/// `‖u − t‖²`. The inner map ends at the normalised predictions u, and the outer part is the
/// squared distance. A row of zeros stays zero, at distance 1 from every unit vector.
#[derive(Clone, Debug)]
pub struct Prediction<B: Kernels> {
    /// Normalised, `[2·batch, feature]`: for every prediction the other view's projection.
    targets: Tensor<B, 2>,
}

impl<B: Kernels> Prediction<B> {
    /// `projections`: the target network's, `[batch, feature]` for each view; rows need not be
    /// normalised.
    ///
    /// # Panics
    /// If there are not two projections.
    pub fn new(projections: Vec<Tensor<B, 2>>) -> Self {
        let [x, y] = projections.try_into().unwrap_or_else(|found: Vec<_>| {
            panic!("a target network projects two views, found {}", found.len())
        });
        let others = Dual::new(Tensor::cat(vec![y, x], 0), None);
        Self { targets: others.normalize_rows().value }
    }
}

impl<B: Kernels> Loss<B> for Prediction<B> {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs).normalize_rows()
    }

    fn outer(&self, predictions: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, _] = predictions.value.dims();
        let targets = Dual::new(Tensor::from_inner(self.targets.clone()), None);
        // There are two predictions per image.
        predictions.minus(targets).square_sum().scale(2.0 / rows as f64)
    }
}

impl PretextTask for Byol {
    fn head(&self, projector: &Projector<'_>) -> Network {
        projector.predicting(&self.predictor)
    }

    fn target_decay(&self) -> Option<f64> {
        Some(self.decay)
    }

    fn beyond_projector(&self) -> Option<String> {
        Some(format!("predictor {:?}", self.predictor))
    }

    fn loss_label(&self) -> &'static str {
        "BYOL, squared distance"
    }

    fn oracle(&self) -> Option<&dyn Oracle> {
        Some(self)
    }
}

impl<B: Kernels> Method<B> for Byol {
    fn loss(&self, targets: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(Prediction::new(targets))
    }
}

/// The rows to predict, normalised: each view's rows stand in the other view's place.
fn predicted(targets: &[f64], width: usize) -> Vec<f64> {
    let (a, b) = targets.split_at(targets.len() / 2);
    b.chunks(width).chain(a.chunks(width)).flat_map(unit).collect()
}

/// The variables are the normalised predictions. There are two predictions per image, so 2/rows
/// replaces 1/batch.
impl Oracle for Byol {
    fn inner(&self, outputs: &[f64], rows: usize) -> Vec<f64> {
        outputs.chunks(outputs.len() / rows).flat_map(unit).collect()
    }

    fn outer(&self, units: &[f64], rows: usize, targets: &[f64]) -> f64 {
        let distance = add(units, -1.0, &predicted(targets, units.len() / rows));
        2.0 / rows as f64 * dot(&distance, &distance)
    }

    fn gradient(&self, outputs: &[f64], rows: usize, targets: &[f64]) -> Vec<f64> {
        let width = outputs.len() / rows;
        let predicted = predicted(targets, width);
        // The distance's slope along the unit vector itself does not reach the output.
        let row = |(output, target): (&[f64], &[f64])| {
            through_norm(output, &scale(-4.0 / rows as f64, target))
        };
        outputs.chunks(width).zip(predicted.chunks(width)).flat_map(row).collect()
    }

    fn quadratic_form(&self, _: &[f64], tangents: &[f64], rows: usize) -> f64 {
        4.0 / rows as f64 * dot(tangents, tangents)
    }
}
