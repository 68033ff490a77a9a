//! BYOL's and VICReg's losses against plain loops in f64, and their Gauss-Newton operators against dense
//! matrices.

use bissl::network::loss::{Loss, gauss_newton_product, hessian_product, value_and_gradient};
use bissl::network::pretext::{Prediction, Vicreg};

use crate::backend::{B, precision};
use crate::eigen::{Rows, asymmetry, dense, eigenvalues};
use crate::losses::{SHAPE, agrees, gauss_newton_matrix, gradient, joined, point, views};
use crate::support::{dot, error, noise};

/// Images and features of the example.
const BATCH: usize = SHAPE.0 / 2;
const FEATURES: usize = SHAPE.1;

/// The paper's coefficients, but a deviation between those of the example's features.
const VICREG: Vicreg =
    Vicreg { invariance: 25.0, variance: 25.0, covariance: 1.0, deviation: 0.85, epsilon: 1e-4 };

fn projections() -> Vec<f64> {
    noise(17, SHAPE.0 * FEATURES)
}

fn byol() -> Prediction<B> {
    Prediction::new(views(&projections()))
}

fn unit(row: &[f64]) -> Vec<f64> {
    let length = dot(row, row).sqrt();
    row.iter().map(|x| x / length).collect()
}

/// [2 − 2 cos(q(x), t(y))] + [2 − 2 cos(q(y), t(x))], mean over the images.
fn byol_loss(flat: &[f64]) -> f64 {
    let targets = projections();
    let row = |flat: &[f64], i: usize| unit(&flat[i * FEATURES..(i + 1) * FEATURES]);
    let pair = |q: usize, t: usize| 2.0 - 2.0 * dot(&row(flat, q), &row(&targets, t));
    (0..BATCH).map(|i| pair(i, BATCH + i) + pair(BATCH + i, i)).sum::<f64>() / BATCH as f64
}

/// Unbiased covariance of features `i` and `j` of one view.
fn covariance(view: &[f64], i: usize, j: usize) -> f64 {
    let column = |j: usize| view.iter().skip(j).step_by(FEATURES).copied().collect::<Vec<_>>();
    let (a, b) = (column(i), column(j));
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let sum: f64 = a.iter().zip(&b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    sum / (a.len() - 1) as f64
}

fn vicreg_loss(flat: &[f64], loss: &Vicreg) -> f64 {
    let (a, b) = flat.split_at(flat.len() / 2);
    let distance: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    let mut value = loss.invariance * distance / (BATCH * FEATURES) as f64;
    for view in [a, b] {
        for (i, j) in (0..FEATURES * FEATURES).map(|at| (at / FEATURES, at % FEATURES)) {
            let entry = covariance(view, i, j);
            value += if i == j {
                let gap = loss.deviation - (entry + loss.epsilon).sqrt();
                loss.variance * gap.max(0.0) / FEATURES as f64
            } else {
                loss.covariance * entry * entry / FEATURES as f64
            };
        }
    }
    value
}

/// Standard deviations of every feature of both views.
fn deviations(flat: &[f64]) -> Vec<f64> {
    let views = flat.chunks(flat.len() / 2);
    views.flat_map(|view| (0..FEATURES).map(|j| covariance(view, j, j).sqrt())).collect()
}

/// Jᵀ diag(curvature) J with J by differences of the inner variables.
fn dense_gauss_newton(inner: impl Fn(&[f64]) -> Vec<f64>, curvature: &[f64]) -> Rows {
    let at = point();
    let jacobian: Rows = (0..curvature.len()).map(|k| gradient(|x| inner(x)[k], &at)).collect();
    let entry = |a: usize, b: usize| {
        jacobian.iter().zip(curvature).map(|(row, c)| c * row[a] * row[b]).sum()
    };
    (0..at.len()).map(|a| (0..at.len()).map(|b| entry(a, b)).collect()).collect()
}

fn is_semidefinite(matrix: &Rows) {
    assert!(asymmetry(matrix) <= precision::<B>().equal, "asymmetric");
    let spectrum = eigenvalues(matrix);
    let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
    let floor = -precision::<B>().equal.max(1e-10);
    assert!(top > 0.0 && bottom >= floor * top, "from {bottom:e} to {top:e}");
}

fn is(found: &Rows, expected: &Rows) {
    let error = error(&found.concat(), &expected.concat());
    assert!(error <= precision::<B>().equal.max(1e-9), "differs by {error:e}");
}

#[test]
fn byol_agrees_with_plain_loops() {
    agrees(&byol(), byol_loss);
}

#[test]
fn vicreg_agrees_with_plain_loops() {
    for loss in [VICREG, Vicreg { variance: 0.0, ..VICREG }, Vicreg { covariance: 30.0, ..VICREG }]
    {
        agrees(&loss, |flat| vicreg_loss(flat, &loss));
    }
}

#[test]
fn the_example_has_features_on_both_sides_of_the_hinge_and_none_near_its_corner() {
    let deviations = deviations(&point());
    assert!(deviations.iter().any(|x| *x < VICREG.deviation), "{deviations:?}");
    assert!(deviations.iter().any(|x| *x > VICREG.deviation), "{deviations:?}");
    let nearest = deviations.iter().map(|x| (x - VICREG.deviation).abs()).fold(1.0, f64::min);
    assert!(nearest > 0.01, "{deviations:?}");
}

#[test]
fn gauss_newton_of_byol_is_the_dense_one_and_semidefinite() {
    let inner = |flat: &[f64]| flat.chunks(FEATURES).flat_map(unit).collect::<Vec<_>>();
    // ∇² of ‖u − t‖² over the batch.
    let curvature = vec![2.0 / BATCH as f64; SHAPE.0 * FEATURES];
    let found = gauss_newton_matrix(&byol());
    is(&found, &dense_gauss_newton(inner, &curvature));
    is_semidefinite(&found);
}

#[test]
fn gauss_newton_of_vicreg_is_the_dense_one_and_semidefinite() {
    let pairs = || (0..FEATURES * FEATURES).map(|at| (at / FEATURES, at % FEATURES));
    let inner = |flat: &[f64]| {
        let (a, b) = flat.split_at(flat.len() / 2);
        let mut inner: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        for view in [a, b] {
            inner.extend(pairs().map(|(i, j)| covariance(view, i, j)));
        }
        inner
    };
    let (share, at) = (1.0 / FEATURES as f64, point());
    let mut curvature = vec![2.0 * VICREG.invariance * share / BATCH as f64; BATCH * FEATURES];
    for view in at.chunks(at.len() / 2) {
        curvature.extend(pairs().map(|(i, j)| {
            let deviation = (covariance(view, i, j) + VICREG.epsilon).sqrt();
            match (i == j, deviation < VICREG.deviation) {
                (false, _) => 2.0 * VICREG.covariance * share,
                (true, true) => 0.25 * VICREG.variance * share / deviation.powi(3),
                (true, false) => 0.0,
            }
        }));
    }
    let found = gauss_newton_matrix(&VICREG);
    is(&found, &dense_gauss_newton(inner, &curvature));
    is_semidefinite(&found);
}

#[test]
fn both_hessians_are_symmetric_and_not_their_gauss_newton_parts() {
    let losses: [&dyn Loss<B>; 2] = [&byol(), &VICREG];
    for (which, loss) in losses.into_iter().enumerate() {
        let at = point();
        let hessian = dense(at.len(), |u| joined(&hessian_product(loss, &views(&at), &views(u))));
        assert!(asymmetry(&hessian) <= precision::<B>().equal, "loss {which}");
        let gauss_newton = gauss_newton_matrix(loss);
        assert!(error(&gauss_newton.concat(), &hessian.concat()) > 0.01, "loss {which}");
    }
}

#[test]
fn features_that_do_not_vary_have_finite_derivatives() {
    let mut at = point();
    // A feature that is constant in both views, and equal views: the root is at its ε.
    at.iter_mut().skip(1).step_by(FEATURES).for_each(|x| *x = 0.5);
    let direction = noise(6, at.len());
    let (value, gradients) = value_and_gradient::<B>(&VICREG, &views(&at));
    let expected = vicreg_loss(&at, &VICREG);
    assert!((value - expected).abs() <= precision::<B>().equal * expected, "{value}, {expected}");
    for derivative in [
        gradients,
        hessian_product::<B>(&VICREG, &views(&at), &views(&direction)),
        gauss_newton_product::<B>(&VICREG, &views(&at), &views(&direction)),
    ] {
        assert!(joined(&derivative).iter().all(|x| x.is_finite()));
    }
}
