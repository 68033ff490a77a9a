//! VICReg (Bardes et al. 2022): views agree, features vary, features are uncorrelated.

use burn_autodiff::Autodiff;
use burn_tensor::{Bool, Tensor};

use super::oracle::{add, centred, dot};
use super::{Method, Oracle, PretextTask};
use crate::kernels::Kernels;
use crate::network::arithmetic::Arithmetic;
use crate::network::dual::Dual;
use crate::network::loss::Loss;

/// Variance-invariance-covariance loss of two views `[batch, feature]` (dimensionless).
///
/// Bardes et al. (2022), eq. 1 to 6, over n images and d features, with the unbiased covariance C
/// of each view:
///
/// ```text
/// invariance/(n d) Σ (a − b)²  +  Σ over views of
///     variance/d Σ_j max(0, deviation − √(C_jj + epsilon))  +  covariance/d Σ_{i≠j} C_ij²
/// ```
///
/// One departure from the equations: the squared distance of the views is divided by d, as in the
/// paper's algorithm and in the code for which its coefficients were chosen.
///
/// The inner map ends at the differences of the views and both covariance matrices. The outer part
/// is the sum of squares and hinges: `max(0, γ − √(v + ε))` is convex in a variance v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vicreg {
    /// Weight of the distance between the views, at least 0.
    pub invariance: f64,
    /// Weight of the hinges, at least 0.
    pub variance: f64,
    /// Weight of the squared covariances, at least 0.
    pub covariance: f64,
    /// γ > 0: the target standard deviation of a feature.
    pub deviation: f64,
    /// ε > 0: added to a variance before the square root, which has no derivative at 0.
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

    /// Σ max(0, γ − √(v + ε)); the derivative at the corner is 0.
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

impl PretextTask for Vicreg {
    fn settings_in_words(&self) -> Option<String> {
        let Self { invariance, variance, covariance, .. } = self;
        Some(format!("invariance {invariance} variance {variance} covariance {covariance}"))
    }

    fn loss_label(&self) -> &'static str {
        "VICReg"
    }

    fn oracle(&self) -> Option<&dyn Oracle> {
        Some(self)
    }
}

impl<B: Kernels> Method<B> for Vicreg {
    fn loss(&self, _: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(*self)
    }
}

/// The covariance matrix of the centred rows.
fn covariance(centred: &[Vec<f64>]) -> Vec<f64> {
    let width = centred[0].len();
    let entry = |at: usize| {
        let product = |row: &Vec<f64>| row[at / width] * row[at % width];
        centred.iter().map(product).sum::<f64>() / (centred.len() - 1) as f64
    };
    (0..width * width).map(entry).collect()
}

/// Number of images and features for `len` variables: batch · width differences and 2 width²
/// covariances.
fn sizes(len: usize, rows: usize) -> (usize, usize) {
    let batch = rows / 2;
    let width = (1..).find(|width| batch * width + 2 * width * width >= len).unwrap_or(1);
    (batch, width)
}

/// The variables are the differences of the views, followed by both covariance matrices.
impl Oracle for Vicreg {
    fn inner(&self, outputs: &[f64], rows: usize) -> Vec<f64> {
        let (a, b) = outputs.split_at(outputs.len() / 2);
        let mut inner = add(a, -1.0, b);
        for view in [a, b] {
            inner.extend(covariance(&centred(view, outputs.len() / rows)));
        }
        inner
    }

    fn outer(&self, inner: &[f64], rows: usize, _: &[f64]) -> f64 {
        let (batch, width) = sizes(inner.len(), rows);
        let (differences, matrices) = inner.split_at(batch * width);
        let distance = dot(differences, differences) / batch as f64;
        let term = |(at, entry): (usize, &f64)| {
            if at / width % width == at % width {
                self.variance * (self.deviation - (entry + self.epsilon).sqrt()).max(0.0)
            } else {
                self.covariance * entry * entry
            }
        };
        let spread: f64 = matrices.iter().enumerate().map(term).sum();
        (self.invariance * distance + spread) / width as f64
    }

    fn gradient(&self, outputs: &[f64], rows: usize, _: &[f64]) -> Vec<f64> {
        let (batch, width) = (rows / 2, outputs.len() / rows);
        let (a, b) = outputs.split_at(outputs.len() / 2);
        let difference = add(a, -1.0, b);
        let share = 1.0 / width as f64;
        let mut gradient = Vec::with_capacity(outputs.len());
        for (view, sign) in [(a, 2.0), (b, -2.0)] {
            let rows = centred(view, width);
            let bar = |(at, entry): (usize, &f64)| {
                let deviation = (entry + self.epsilon).sqrt();
                match (at / width == at % width, deviation < self.deviation) {
                    (false, _) => 2.0 * self.covariance * share * entry,
                    (true, true) => -0.5 * self.variance * share / deviation,
                    (true, false) => 0.0,
                }
            };
            let matrix_bar: Vec<f64> = covariance(&rows).iter().enumerate().map(bar).collect();
            for (row, difference) in rows.iter().zip(difference.chunks(width)) {
                // The matrix and its cotangent are symmetric, and the centred rows sum to 0
                // already.
                let through = |j: usize| {
                    let spread: f64 = (0..width).map(|i| row[i] * matrix_bar[i * width + j]).sum();
                    let pull = sign * self.invariance * share / batch as f64;
                    2.0 / (batch - 1) as f64 * spread + pull * difference[j]
                };
                gradient.extend((0..width).map(through));
            }
        }
        gradient
    }

    /// Second derivatives of squares and of hinges, which are convex in a variance.
    fn quadratic_form(&self, inner: &[f64], tangents: &[f64], rows: usize) -> f64 {
        let (batch, width) = sizes(inner.len(), rows);
        let (differences, matrices) = tangents.split_at(batch * width);
        let form = 2.0 * self.invariance / batch as f64 * dot(differences, differences);
        let term = |(at, (entry, tangent)): (usize, (&f64, &f64))| {
            let deviation = (entry + self.epsilon).sqrt();
            let weight = match (at / width % width == at % width, deviation < self.deviation) {
                (false, _) => 2.0 * self.covariance,
                (true, true) => 0.25 * self.variance / deviation.powi(3),
                (true, false) => 0.0,
            };
            weight * tangent * tangent
        };
        let entries = inner[batch * width..].iter().zip(matrices).enumerate();
        (form + entries.map(term).sum::<f64>()) / width as f64
    }
}
