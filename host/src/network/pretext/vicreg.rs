//! VICReg (Bardes et al. 2022): equal views, features that vary, features that are not correlated.

use burn_autodiff::Autodiff;
use burn_tensor::{Bool, Tensor};

use crate::kernels::Kernels;
use crate::network::arithmetic::Arithmetic;
use crate::network::dual::Dual;
use crate::network::loss::Loss;

/// Variance-invariance-covariance loss of two views `[batch, feature]` (dimensionless).
///
/// Bardes et al. (2022), eq. 1 to 6, over n images and d features, with the unbiased covariance C of each
/// view:
///
/// ```text
/// invariance/(n d) Σ (a − b)²  +  Σ over views of
///     variance/d Σ_j max(0, deviation − √(C_jj + epsilon))  +  covariance/d Σ_{i≠j} C_ij²
/// ```
///
/// One departure from the equations: the squared distance of the views is divided by d, as in the paper's
/// algorithm and in the code that its coefficients were chosen with.
///
/// Inner up to the differences of the views and both covariance matrices, outer the sum of squares and of
/// hinges: `max(0, γ − √(v + ε))` is convex in a variance v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vicreg {
    /// Weight of the distance of the views, at least 0.
    pub invariance: f64,
    /// Weight of the hinges, at least 0.
    pub variance: f64,
    /// Weight of the squared covariances, at least 0.
    pub covariance: f64,
    /// γ > 0: standard deviation that a feature should have.
    pub deviation: f64,
    /// ε > 0: added to a variance under its root, which has no derivative at 0.
    pub epsilon: f64,
}

impl Vicreg {
    /// The terms of one view's covariance matrix `[feature, feature]`.
    fn spread<B: Arithmetic>(&self, matrix: Dual<B, 2>) -> Dual<B, 1> {
        let [features, _] = matrix.value.dims();
        let identity = Tensor::<B, 2>::eye(features, &matrix.value.device());
        let diagonal: Tensor<B, 2, Bool> = identity.clone().equal_elem(1.0);
        let variances = matrix.clone().map(|x| (x * identity.clone()).sum_dim(1));
        let others = matrix.map(|x| x.mask_fill(diagonal.clone(), 0.0));
        let share = 1.0 / features as f64;
        let hinges = self.hinges(variances).scale(self.variance * share);
        hinges.plus(others.square_sum().scale(self.covariance * share))
    }

    /// Σ max(0, γ − √(v + ε)); its derivative at the corner is taken as 0.
    fn hinges<B: Arithmetic>(&self, variances: Dual<B, 2>) -> Dual<B, 1> {
        let deviations = (variances.value + self.epsilon).sqrt();
        let gap = deviations.clone().neg() + self.deviation;
        let closed: Tensor<B, 2, Bool> = gap.clone().lower_equal_elem(0.0);
        let value = B::total(gap.mask_fill(closed.clone(), 0.0));
        let tangent = variances.tangent.map(|t| {
            let slope = deviations.recip().mask_fill(closed, 0.0) * -0.5;
            B::total(slope * t)
        });
        Dual { value, tangent }
    }
}

impl<B: Kernels> Loss<B> for Vicreg {
    /// `[batch + 2·feature, feature]`: differences, covariances of view A, covariances of view B.
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        let [a, b] = outputs
            .try_into()
            .unwrap_or_else(|found: Vec<_>| panic!("VICReg has two views, found {}", found.len()));
        let differences = a.clone().minus(b.clone());
        Dual::cat(vec![differences, a.covariance(), b.covariance()])
    }

    fn outer(&self, variables: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, features] = variables.value.dims();
        let batch = rows - 2 * features;
        let part = |from: usize, len: usize| variables.clone().map(|x| x.narrow(0, from, len));
        let distance = part(0, batch).square_sum();
        distance
            .scale(self.invariance / (batch * features) as f64)
            .plus(self.spread(part(batch, features)))
            .plus(self.spread(part(batch + features, features)))
    }
}
