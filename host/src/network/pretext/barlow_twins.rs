//! Barlow Twins (Zbontar et al. 2021): each feature agrees between the views, and different
//! features do not.

use burn_autodiff::Autodiff;
use burn_tensor::{Bool, Tensor};

use super::oracle::{add, centred, dot};
use super::{Method, Oracle, PretextTask};
use crate::kernels::Kernels;
use crate::network::EPSILON;
use crate::network::arithmetic::Arithmetic;
use crate::network::dual::Dual;
use crate::network::loss::Loss;

/// Cross-correlation loss of two views `[batch, feature]` (dimensionless).
///
/// Zbontar et al. (2021), eq. 1 and 2, with the features ẑ standardised over the batch of n images:
///
/// ```text
/// Σ_i (1 − C_ii)²  +  off_diagonal Σ_{i≠j} C_ij²,    C = ẑ_Aᵀ ẑ_B / n
/// ```
///
/// ẑ = (z − mean)/√(variance + [`EPSILON`]) with the biased variance, as in the paper's code: a
/// batch norm without weights.
///
/// The inner map ends at C, and the outer part is the sum of squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarlowTwins {
    /// λ ≥ 0: weight of the squared correlations between features.
    pub off_diagonal: f64,
}

/// The columns minus their mean, divided by their deviation.
///
/// With s = 1/√(variance + ε) and the tangent's centred columns ċ, the tangent is s (ċ − ẑ mean(ẑ
/// ċ)).
fn standardized<B: Arithmetic>(z: Dual<B, 2>) -> Dual<B, 2> {
    let [rows, _] = z.value.dims();
    // A product, because autodiff's backward pass of a division by a scalar rounds it to f32.
    let share = 1.0 / rows as f64;
    let mean = |x: Tensor<B, 2>| x.sum_dim(0) * share;
    let centred = z.map(|x| x.clone() - mean(x));
    let variance = mean(centred.value.clone() * centred.value.clone());
    let inverse = (variance + EPSILON).sqrt().recip();
    let value = centred.value * inverse.clone();
    let tangent =
        centred.tangent.map(|t| (t.clone() - value.clone() * mean(value.clone() * t)) * inverse);
    Dual { value, tangent }
}

/// `aᵀ b`.
fn crossed<B: Arithmetic>(a: Dual<B, 2>, b: Dual<B, 2>) -> Dual<B, 2> {
    let product = |a: Tensor<B, 2>, b: Tensor<B, 2>| B::product(a.transpose(), b);
    let of_a = a.tangent.map(|t| product(t, b.value.clone()));
    let of_b = b.tangent.map(|t| product(a.value.clone(), t));
    let tangent = match (of_a, of_b) {
        (Some(x), Some(y)) => Some(x + y),
        (x, y) => x.or(y),
    };
    Dual { value: product(a.value, b.value), tangent }
}

impl<B: Kernels> Loss<B> for BarlowTwins {
    /// C, `[feature, feature]`.
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        let [a, b] = outputs.try_into().unwrap_or_else(|found: Vec<_>| {
            panic!("Barlow Twins has two views, found {}", found.len())
        });
        let [rows, _] = a.value.dims();
        crossed(standardized(a), standardized(b)).scale(1.0 / rows as f64)
    }

    fn outer(&self, correlations: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [features, _] = correlations.value.dims();
        let identity = Tensor::<Autodiff<B>, 2>::eye(features, &correlations.value.device());
        let diagonal: Tensor<Autodiff<B>, 2, Bool> = identity.clone().equal_elem(1.0);
        let others = correlations.clone().map(|x| x.mask_fill(diagonal.clone(), 0.0));
        let own = correlations.map(|x| x * identity.clone());
        let gaps = own.minus(Dual::new(identity.clone(), None));
        gaps.square_sum().plus(others.square_sum().scale(self.off_diagonal))
    }
}

impl PretextTask for BarlowTwins {
    fn settings_in_words(&self) -> Option<String> {
        Some(format!("off_diagonal {}", self.off_diagonal))
    }

    fn loss_label(&self) -> &'static str {
        "Barlow Twins"
    }

    fn oracle(&self) -> Option<&dyn Oracle> {
        Some(self)
    }
}

impl<B: Kernels> Method<B> for BarlowTwins {
    fn loss(&self, _: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(*self)
    }
}

/// The standardised columns of a view, and 1/√(variance + ε) of each.
fn columns(view: &[f64], width: usize) -> Vec<(Vec<f64>, f64)> {
    let rows = centred(view, width);
    let column = |j: usize| {
        let column: Vec<f64> = rows.iter().map(|row| row[j]).collect();
        let inverse = (dot(&column, &column) / rows.len() as f64 + EPSILON).sqrt().recip();
        (column.iter().map(|x| x * inverse).collect(), inverse)
    };
    (0..width).map(column).collect()
}

impl BarlowTwins {
    /// Weight and target of the entry of C at index `at`.
    fn aim(&self, at: usize, width: usize) -> (f64, f64) {
        if at / width == at % width { (1.0, 1.0) } else { (self.off_diagonal, 0.0) }
    }

    /// Number of features for `len` correlations.
    fn width(len: usize) -> usize {
        (1..).find(|width| width * width >= len).unwrap_or(1)
    }
}

/// The variables are the entries of C.
impl Oracle for BarlowTwins {
    fn inner(&self, outputs: &[f64], rows: usize) -> Vec<f64> {
        let (width, batch) = (outputs.len() / rows, rows / 2);
        let (a, b) = outputs.split_at(outputs.len() / 2);
        let (a, b) = (columns(a, width), columns(b, width));
        let entry = |at: usize| dot(&a[at / width].0, &b[at % width].0) / batch as f64;
        (0..width * width).map(entry).collect()
    }

    fn outer(&self, inner: &[f64], _: usize, _: &[f64]) -> f64 {
        let width = Self::width(inner.len());
        let term = |(at, entry): (usize, &f64)| {
            let (weight, aim) = self.aim(at, width);
            weight * (entry - aim).powi(2)
        };
        inner.iter().enumerate().map(term).sum()
    }

    fn gradient(&self, outputs: &[f64], rows: usize, _: &[f64]) -> Vec<f64> {
        let (width, batch) = (outputs.len() / rows, rows / 2);
        let (a, b) = outputs.split_at(outputs.len() / 2);
        let (a, b) = (columns(a, width), columns(b, width));
        let bar = |(at, entry): (usize, f64)| {
            let (weight, aim) = self.aim(at, width);
            2.0 * weight * (entry - aim) / batch as f64
        };
        let inner = Oracle::inner(self, outputs, rows);
        let bars: Vec<f64> = inner.into_iter().enumerate().map(bar).collect();
        let mut gradient = vec![0.0; outputs.len()];
        for (first, own, other) in [(0, &a, &b), (batch, &b, &a)] {
            for (j, (z, inverse)) in own.iter().enumerate() {
                let mut z_bar = vec![0.0; batch];
                for (i, (partner, _)) in other.iter().enumerate() {
                    let at = if first == 0 { j * width + i } else { i * width + j };
                    z_bar = add(&z_bar, bars[at], partner);
                }
                let share = 1.0 / batch as f64;
                let mean: f64 = z_bar.iter().sum::<f64>() * share;
                let along = dot(&z_bar, z) * share;
                for (row, (z_bar, z)) in z_bar.iter().zip(z).enumerate() {
                    gradient[(first + row) * width + j] = inverse * (z_bar - mean - z * along);
                }
            }
        }
        gradient
    }

    fn quadratic_form(&self, inner: &[f64], tangents: &[f64], _: usize) -> f64 {
        let width = Self::width(inner.len());
        let term = |(at, tangent): (usize, &f64)| 2.0 * self.aim(at, width).0 * tangent * tangent;
        tangents.iter().enumerate().map(term).sum()
    }
}
