//! NT-Xent and cross entropy against plain loops in f64, and their curvature against dense
//! matrices.

use bissl::network::dual::Dual;
use bissl::network::loss::{
    CrossEntropy, Loss, WeightedCrossEntropy, gauss_newton_product, hessian_product, value,
    value_and_gradient,
};
use bissl::network::pretext::{NtXent, Oracle};
use burn_autodiff::Autodiff;
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::eigen::{Rows, asymmetry, dense, eigenvalues};
use crate::support::{dot, error, noise, tensor, values};

/// Rows and columns of the example: two views of four images.
pub(crate) const SHAPE: (usize, usize) = (8, 4);

/// Step of second differences in f64: the error is about step² + 1e-16/step².
const STEP: f64 = 1e-4;

/// Relative error of second differences.
fn second_difference() -> f64 {
    precision::<B>().difference.max(1e-6)
}

pub(crate) fn rows(flat: &[f64]) -> Rows {
    flat.chunks_exact(SHAPE.1).map(<[f64]>::to_vec).collect()
}

/// Similarities of the normalised rows over τ.
fn logits(flat: &[f64], temperature: f64) -> Rows {
    let logits = Oracle::inner(&NtXent { temperature }, flat, SHAPE.0);
    logits.chunks(SHAPE.0).map(<[f64]>::to_vec).collect()
}

fn nt_xent(flat: &[f64], temperature: f64) -> f64 {
    let oracle: &dyn Oracle = &NtXent { temperature };
    oracle.loss(flat, SHAPE.0, &[])
}

/// Σ w ℓ / Σ w with the weight of each row's class.
fn cross_entropy(flat: &[f64], labels: &[u32], class_weights: &[f32]) -> f64 {
    let weight = |label: &u32| f64::from(class_weights[*label as usize]);
    let row = |(row, label): (&Vec<f64>, &u32)| {
        let total: f64 = row.iter().map(|v| v.exp()).sum();
        weight(label) * (total.ln() - row[*label as usize])
    };
    let sum: f64 = rows(flat).iter().zip(labels).map(row).sum();
    sum / labels.iter().map(weight).sum::<f64>()
}

/// The halves of a flat vector as two views.
pub(crate) fn views(flat: &[f64]) -> Vec<Tensor<B, 2>> {
    let shape = [SHAPE.0 / 2, SHAPE.1];
    flat.chunks_exact(flat.len() / 2).map(|half| tensor(half, shape)).collect()
}

pub(crate) fn joined(parts: &[Tensor<B, 2>]) -> Vec<f64> {
    parts.iter().flat_map(values).collect()
}

/// Central differences of a scalar function, coordinate by coordinate.
pub(crate) fn gradient(f: impl Fn(&[f64]) -> f64, at: &[f64]) -> Vec<f64> {
    let difference = |i: usize| {
        let moved = |step: f64| {
            let mut x = at.to_vec();
            x[i] += step;
            f(&x)
        };
        // Fourth order, so that a step of 1e-3 leaves an error near 1e-12.
        let step = 1e-3;
        (8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step)))
            / (12.0 * step)
    };
    (0..at.len()).map(difference).collect()
}

/// The point at which everything is compared: away from zero rows.
pub(crate) fn point() -> Vec<f64> {
    noise(3, SHAPE.0 * SHAPE.1)
}

fn labels() -> Vec<u32> {
    vec![0, 3, 1, 1, 2, 0, 3, 2]
}

/// Value, gradient and Hessian of `loss` against differences of `reference`.
pub(crate) fn agrees(loss: &dyn Loss<B>, reference: impl Fn(&[f64]) -> f64) {
    let tolerance = precision::<B>();
    let at = point();
    let (found, gradients) = value_and_gradient(loss, &views(&at));
    let expected = reference(&at);
    assert!((found - expected).abs() <= tolerance.equal * expected, "{found} for {expected}");
    assert_eq!(value(loss, &views(&at)), found, "the value alone");
    let slope = error(&joined(&gradients), &gradient(&reference, &at));
    assert!(slope <= tolerance.equal.max(1e-9), "gradient differs by {slope:e}");

    let direction = noise(5, at.len());
    let found = joined(&hessian_product(loss, &views(&at), &views(&direction)));
    let moved = |step: f64| -> Vec<f64> {
        let at: Vec<f64> = at.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
        gradient(&reference, &at)
    };
    let expected = crate::support::central(&moved(STEP), &moved(-STEP), STEP);
    let curved = error(&found, &expected);
    assert!(curved <= second_difference(), "Hessian product differs by {curved:e}");
}

#[test]
fn nt_xent_agrees_with_plain_loops() {
    for temperature in [0.1, 0.5, 2.0] {
        agrees(&NtXent { temperature }, |flat| nt_xent(flat, temperature));
    }
}

#[test]
fn cross_entropy_agrees_with_plain_loops() {
    agrees(&CrossEntropy { labels: labels() }, |flat| cross_entropy(flat, &labels(), &[1.0; 4]));
}

/// Exact in f32; the last class has no weight.
const CLASS_WEIGHTS: [f32; 4] = [0.5, 3.0, 1.25, 0.0];

fn weighted(class_weights: &[f32]) -> WeightedCrossEntropy {
    WeightedCrossEntropy { labels: labels(), class_weights: class_weights.into() }
}

#[test]
fn weighted_cross_entropy_agrees_with_plain_loops() {
    for class_weights in [CLASS_WEIGHTS, [2.0; 4]] {
        let expected = |flat: &[f64]| cross_entropy(flat, &labels(), &class_weights);
        agrees(&weighted(&class_weights), expected);
    }
}

#[test]
fn weights_of_one_change_no_bit_of_cross_entropy() {
    let (at, direction) = (point(), noise(5, SHAPE.0 * SHAPE.1));
    let all = |loss: &dyn Loss<B>| {
        let (value, gradient) = value_and_gradient(loss, &views(&at));
        let product = hessian_product(loss, &views(&at), &views(&direction));
        let gauss_newton = gauss_newton_product(loss, &views(&at), &views(&direction));
        (value, [gradient, product, gauss_newton].map(|parts| joined(&parts)))
    };
    assert_eq!(all(&weighted(&[1.0; 4])), all(&CrossEntropy { labels: labels() }));
}

#[test]
fn rows_of_a_class_without_weight_have_no_derivative() {
    let (at, direction) = (point(), noise(5, SHAPE.0 * SHAPE.1));
    let loss = weighted(&CLASS_WEIGHTS);
    let (_, gradient) = value_and_gradient::<B>(&loss, &views(&at));
    let product = hessian_product::<B>(&loss, &views(&at), &views(&direction));
    for derivative in [gradient, product] {
        for (row, label) in joined(&derivative).chunks(SHAPE.1).zip(labels()) {
            assert_eq!(row.iter().all(|x| *x == 0.0), label == 3, "class {label}: {row:?}");
        }
    }
}

/// JᵀHJ with J by differences of `inner` and H = (diag p − ppᵀ)/rows of the softmax of every row.
fn dense_gauss_newton(inner: impl Fn(&[f64]) -> Rows, skip_diagonal: bool) -> Rows {
    let at = point();
    let u = inner(&at);
    let (n, m) = (u.len(), u[0].len());
    let jacobian: Vec<Vec<f64>> =
        (0..n * m).map(|k| gradient(|x| inner(x)[k / m][k % m], &at)).collect();
    let mut total = vec![vec![0.0; at.len()]; at.len()];
    for (i, row) in u.iter().enumerate() {
        let weight = |j: usize| if skip_diagonal && i == j { 0.0 } else { row[j].exp() };
        let sum: f64 = (0..m).map(weight).sum();
        let p: Vec<f64> = (0..m).map(|j| weight(j) / sum).collect();
        for (a, line) in total.iter_mut().enumerate() {
            for (b, entry) in line.iter_mut().enumerate() {
                let of = |k: usize, column: usize| jacobian[i * m + k][column];
                let mean = |column: usize| (0..m).map(|k| p[k] * of(k, column)).sum::<f64>();
                let square: f64 = (0..m).map(|k| p[k] * of(k, a) * of(k, b)).sum();
                *entry += (square - mean(a) * mean(b)) / n as f64;
            }
        }
    }
    total
}

pub(crate) fn gauss_newton_matrix(loss: &dyn Loss<B>) -> Rows {
    let at = point();
    dense(at.len(), |unit| joined(&gauss_newton_product(loss, &views(&at), &views(unit))))
}

#[test]
fn gauss_newton_of_nt_xent_is_the_dense_one() {
    let temperature = 0.5;
    let expected = dense_gauss_newton(|x| logits(x, temperature), true);
    let found = gauss_newton_matrix(&NtXent { temperature });
    let error = error(&found.concat(), &expected.concat());
    assert!(error <= precision::<B>().equal.max(1e-9), "differs by {error:e}");
}

#[test]
fn gauss_newton_of_cross_entropy_is_its_hessian() {
    let loss = CrossEntropy { labels: labels() };
    let expected = dense_gauss_newton(rows, false);
    let found = is_its_hessian(&loss);
    let dense_error = error(&found.concat(), &expected.concat());
    assert!(dense_error <= precision::<B>().equal.max(1e-9), "differs by {dense_error:e}");
}

#[test]
fn gauss_newton_of_weighted_cross_entropy_is_its_hessian_and_positive_semidefinite() {
    let matrix = is_its_hessian(&weighted(&CLASS_WEIGHTS));
    let spectrum = eigenvalues(&matrix);
    let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
    assert!(bottom >= -precision::<B>().equal.max(1e-10) * top, "from {bottom:e} to {top:e}");
}

/// The Gauss-Newton matrix of a loss that is convex in the outputs.
fn is_its_hessian(loss: &dyn Loss<B>) -> Rows {
    let (at, found) = (point(), gauss_newton_matrix(loss));
    let hessian = dense(at.len(), |u| joined(&hessian_product(loss, &views(&at), &views(u))));
    let error = error(&found.concat(), &hessian.concat());
    assert!(error <= precision::<B>().equal, "differs from the Hessian by {error:e}");
    found
}

/// NT-Xent split at the outputs: what is left outside is not convex.
struct SplitAtOutputs(NtXent);

impl Loss<B> for SplitAtOutputs {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, variables: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let logits = Loss::<B>::inner(&self.0, vec![variables]);
        Loss::<B>::outer(&self.0, logits)
    }
}

#[test]
fn gauss_newton_of_nt_xent_is_positive_semidefinite_and_a_split_at_the_outputs_would_not_be() {
    let loss = NtXent { temperature: 0.5 };
    // Rounding of the products themselves, in units of the largest eigenvalue.
    let floor = -precision::<B>().equal.max(1e-10);
    let matrix = gauss_newton_matrix(&loss);
    assert!(asymmetry(&matrix) <= precision::<B>().equal, "asymmetric");
    let spectrum = eigenvalues(&matrix);
    let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
    assert!(bottom >= floor * top, "smallest eigenvalue {bottom:e}, largest {top:e}");
    let spectrum = eigenvalues(&gauss_newton_matrix(&SplitAtOutputs(loss)));
    let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
    assert!(bottom < -0.01 * top, "smallest eigenvalue {bottom:e}, largest {top:e}");
}

#[test]
fn scaling_a_row_changes_neither_nt_xent_nor_its_slope_along_the_row() {
    let loss = NtXent { temperature: 0.5 };
    let at = point();
    let mut scaled = at.clone();
    scaled[..SHAPE.1].iter_mut().for_each(|v| *v *= 4.0);
    let (before, gradients) = value_and_gradient::<B>(&loss, &views(&at));
    let after = value::<B>(&loss, &views(&scaled));
    assert!((before - after).abs() <= precision::<B>().equal * before, "{before} and {after}");
    let gradients = joined(&gradients);
    for (row, gradient) in at.chunks_exact(SHAPE.1).zip(gradients.chunks_exact(SHAPE.1)) {
        assert!(dot(row, gradient).abs() <= precision::<B>().equal, "slope along the row");
    }
}

#[test]
fn a_row_of_zeros_gives_finite_values_and_no_derivative_of_that_row() {
    let loss = NtXent { temperature: 0.5 };
    let mut at = point();
    at[SHAPE.1..2 * SHAPE.1].fill(0.0);
    let direction = noise(6, at.len());
    let (found, gradients) = value_and_gradient::<B>(&loss, &views(&at));
    let expected = nt_xent(&at, 0.5);
    assert!((found - expected).abs() <= precision::<B>().equal * expected, "{found}");
    let products = [
        gradients,
        hessian_product::<B>(&loss, &views(&at), &views(&direction)),
        gauss_newton_product::<B>(&loss, &views(&at), &views(&direction)),
    ];
    for (which, product) in products.iter().enumerate() {
        let product = joined(product);
        assert!(product.iter().all(|v| v.is_finite()), "derivative {which}: {product:?}");
        assert_eq!(product[SHAPE.1..2 * SHAPE.1], [0.0; SHAPE.1], "derivative {which}");
        assert!(product.iter().any(|v| *v != 0.0), "derivative {which} of the other rows");
    }
}

#[test]
fn a_batch_of_one_has_no_negatives_and_no_derivative() {
    let loss = NtXent { temperature: 0.5 };
    let outputs = [tensor::<B, 2>(&[1.0, 2.0], [1, 2]), tensor(&[-3.0, 0.5], [1, 2])];
    let (value, gradients) = value_and_gradient::<B>(&loss, &outputs);
    assert!(value.abs() <= precision::<B>().equal, "{value}");
    assert!(joined(&gradients).iter().all(|v| v.abs() <= precision::<B>().equal));
}

#[test]
fn large_logits_do_not_overflow() {
    let labels = vec![1, 0];
    let logits = tensor::<B, 2>(&[800.0, -800.0, 30.0, 30.0], [2, 2]);
    let (value, gradients) = value_and_gradient::<B>(&CrossEntropy { labels }, &[logits]);
    let expected = (1600.0 + 2f64.ln()) / 2.0;
    assert!((value - expected).abs() <= precision::<B>().equal * expected, "{value}");
    let error = error(&values(&gradients[0]), &[0.5, -0.5, -0.25, 0.25]);
    assert!(error <= precision::<B>().equal, "{error:e}");
}
