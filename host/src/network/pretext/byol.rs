//! BYOL (Grill et al. 2020): each view predicts what a slower copy of the network makes of the other.

use burn_autodiff::Autodiff;
use burn_tensor::Tensor;

use crate::kernels::Kernels;
use crate::network::dual::Dual;
use crate::network::loss::Loss;

/// The settings of BYOL.
#[derive(Clone, Debug, PartialEq)]
pub struct Byol {
    /// Share of the old parameters in the target network's moving average, in `[0, 1]`.
    pub decay: f64,
    /// Widths of the predictor's hidden layers; its output is as wide as the projector's.
    pub predictor: Vec<usize>,
}

impl Byol {
    /// Widths of the predictor on a projector that ends in `output` features: it predicts such features.
    pub fn predictor_widths(&self, output: usize) -> Vec<usize> {
        self.predictor.iter().copied().chain([output]).collect()
    }
}

/// BYOL's loss of two views, mean over the batch (squared distance, in `[0, 8]`).
///
/// Grill et al. (2020), eq. 2, both ways: `[2 − 2 cos(q(x), t(y))] + [2 − 2 cos(q(y), t(x))]` with the
/// predictions q of the online network and the target network's projections t, which are constants. On
/// normalised vectors that is `‖u − t‖²`: inner up to the normalised predictions u, outer the squared
/// distance. A row of zeros counts as itself, at distance 1 from every unit vector.
#[derive(Clone, Debug)]
pub struct Prediction<B: Kernels> {
    /// Normalised, `[2·batch, feature]`: for every prediction the other view's.
    targets: Tensor<B, 2>,
}

impl<B: Kernels> Prediction<B> {
    /// `projections`: the target network's of both views, `[batch, feature]`, rows need not be normalised.
    ///
    /// # Panics
    /// If there are not two.
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
        // Two predictions an image.
        predictions.minus(targets).square_sum().scale(2.0 / rows as f64)
    }
}
