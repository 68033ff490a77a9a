//! The pretext losses against their oracles in f64, and their Gauss-Newton operators against dense
//! matrices.

use bissl::network::loss::{Loss, gauss_newton_product, hessian_product, value_and_gradient};
use bissl::network::pretext::{BarlowTwins, Byol, Method, Oracle, PretextTask, Vicreg};

use crate::backend::{B, precision};
use crate::eigen::{Rows, asymmetry, dense, eigenvalues};
use crate::losses::{SHAPE, agrees, gauss_newton_matrix, gradient, joined, point, views};
use crate::support::{error, noise};

/// Images and features of the example.
const BATCH: usize = SHAPE.0 / 2;
const FEATURES: usize = SHAPE.1;

/// The paper's coefficients, but a deviation between those of the example's features.
const VICREG: Vicreg =
    Vicreg { invariance: 25.0, variance: 25.0, covariance: 1.0, deviation: 0.85, epsilon: 1e-4 };
/// A weight with which both sums count.
const BARLOW_TWINS: BarlowTwins = BarlowTwins { off_diagonal: 0.2 };

fn byol() -> Byol {
    Byol { decay: 0.9, predictor: vec![FEATURES] }
}

/// What a target network makes of the views; nothing where the method has none.
fn targets(method: &dyn PretextTask) -> Vec<f64> {
    let projections = || noise(17, SHAPE.0 * FEATURES);
    method.target_decay().map_or_else(Vec::new, |_| projections())
}

fn loss(method: &dyn Method<B>) -> Box<dyn Loss<B>> {
    let targets = targets(method);
    method.loss(if targets.is_empty() { Vec::new() } else { views(&targets) })
}

fn oracle<'a>(method: &'a dyn Method<B>) -> &'a (dyn Oracle + 'a) {
    method.oracle().expect("built-in methods have one")
}

/// Value, gradient and Hessian against the oracle's.
fn agrees_with_its_oracle(method: &dyn Method<B>) {
    let targets = targets(method);
    agrees(&*loss(method), |flat| oracle(method).loss(flat, SHAPE.0, &targets));
}

/// Jᵀ ∇²outer J with J by differences of the oracle's variables.
fn dense_gauss_newton(oracle: &dyn Oracle) -> Rows {
    let at = point();
    let inner = oracle.inner(&at, SHAPE.0);
    let jacobian: Rows =
        (0..inner.len()).map(|k| gradient(|x| oracle.inner(x, SHAPE.0)[k], &at)).collect();
    let column = |a: usize| jacobian.iter().map(|row| row[a]).collect::<Vec<f64>>();
    let form = |t: &[f64]| oracle.quadratic_form(&inner, t, SHAPE.0);
    let entry = |a: usize, b: usize| {
        let (a, b) = (column(a), column(b));
        let moved = |sign: f64| a.iter().zip(&b).map(|(a, b)| a + sign * b).collect::<Vec<f64>>();
        (form(&moved(1.0)) - form(&moved(-1.0))) / 4.0
    };
    (0..at.len()).map(|a| (0..at.len()).map(|b| entry(a, b)).collect()).collect()
}

fn gauss_newton_is_the_dense_one_and_semidefinite(method: &dyn Method<B>) {
    let found = gauss_newton_matrix(&*loss(method));
    let error = error(&found.concat(), &dense_gauss_newton(oracle(method)).concat());
    assert!(error <= precision::<B>().equal.max(1e-9), "differs by {error:e}");
    assert!(asymmetry(&found) <= precision::<B>().equal, "asymmetric");
    let spectrum = eigenvalues(&found);
    let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
    let floor = -precision::<B>().equal.max(1e-10);
    assert!(top > 0.0 && bottom >= floor * top, "from {bottom:e} to {top:e}");
}

#[test]
fn byol_agrees_with_plain_loops() {
    agrees_with_its_oracle(&byol());
}

#[test]
fn vicreg_agrees_with_plain_loops() {
    for loss in [VICREG, Vicreg { variance: 0.0, ..VICREG }, Vicreg { covariance: 30.0, ..VICREG }]
    {
        agrees_with_its_oracle(&loss);
    }
}

#[test]
fn barlow_twins_agrees_with_plain_loops() {
    for off_diagonal in [0.0, 5e-3, 0.2, 3.0] {
        agrees_with_its_oracle(&BarlowTwins { off_diagonal });
    }
}

#[test]
fn the_example_has_features_on_both_sides_of_the_hinge_and_none_near_its_corner() {
    let variables = Oracle::inner(&VICREG, &point(), SHAPE.0);
    let matrices = variables[BATCH * FEATURES..].chunks(FEATURES * FEATURES);
    let deviations: Vec<f64> = matrices
        .flat_map(|matrix| matrix.iter().step_by(FEATURES + 1).map(|variance| variance.sqrt()))
        .collect();
    assert!(deviations.iter().any(|x| *x < VICREG.deviation), "{deviations:?}");
    assert!(deviations.iter().any(|x| *x > VICREG.deviation), "{deviations:?}");
    let nearest = deviations.iter().map(|x| (x - VICREG.deviation).abs()).fold(1.0, f64::min);
    assert!(nearest > 0.01, "{deviations:?}");
}

#[test]
fn gauss_newton_of_byol_is_the_dense_one_and_semidefinite() {
    gauss_newton_is_the_dense_one_and_semidefinite(&byol());
}

#[test]
fn gauss_newton_of_vicreg_is_the_dense_one_and_semidefinite() {
    gauss_newton_is_the_dense_one_and_semidefinite(&VICREG);
}

#[test]
fn gauss_newton_of_barlow_twins_is_the_dense_one_and_semidefinite() {
    gauss_newton_is_the_dense_one_and_semidefinite(&BARLOW_TWINS);
}

#[test]
fn the_hessians_are_symmetric_and_not_their_gauss_newton_parts() {
    let methods: [&dyn Method<B>; 3] = [&byol(), &VICREG, &BARLOW_TWINS];
    for method in methods {
        let (at, loss) = (point(), loss(method));
        let product = |u: &[f64]| joined(&hessian_product(&*loss, &views(&at), &views(u)));
        let hessian = dense(at.len(), product);
        assert!(asymmetry(&hessian) <= precision::<B>().equal, "{method:?}");
        let gauss_newton = gauss_newton_matrix(&*loss);
        assert!(error(&gauss_newton.concat(), &hessian.concat()) > 0.01, "{method:?}");
    }
}

#[test]
fn features_that_do_not_vary_have_finite_derivatives() {
    let mut at = point();
    // A feature that is constant in both views, and equal views: the root is at its ε.
    at.iter_mut().skip(1).step_by(FEATURES).for_each(|x| *x = 0.5);
    let direction = noise(6, at.len());
    let methods: [&dyn Method<B>; 2] = [&VICREG, &BARLOW_TWINS];
    for method in methods {
        let loss = loss(method);
        let (value, gradients) = value_and_gradient(&*loss, &views(&at));
        let expected = oracle(method).loss(&at, SHAPE.0, &[]);
        let bound = precision::<B>().equal * expected;
        assert!((value - expected).abs() <= bound, "{method:?}: {value}, {expected}");
        for derivative in [
            gradients,
            hessian_product(&*loss, &views(&at), &views(&direction)),
            gauss_newton_product(&*loss, &views(&at), &views(&direction)),
        ] {
            assert!(joined(&derivative).iter().all(|x| x.is_finite()), "{method:?}");
        }
    }
}

/// Standardised features do not see shifts and, but for ε, scales.
#[test]
fn barlow_twins_does_not_see_shifts_of_a_feature_and_hardly_its_scale() {
    let (at, loss) = (point(), loss(&BARLOW_TWINS));
    let (value, gradients) = value_and_gradient(&*loss, &views(&at));
    let moved: Vec<f64> =
        at.iter().enumerate().map(|(i, x)| 1.5 * x + (i % FEATURES) as f64).collect();
    let (again, _) = value_and_gradient(&*loss, &views(&moved));
    assert!((value - again).abs() <= 1e-4 * value, "{value}, {again}");
    for view in gradients {
        let gradient = joined(&[view]);
        for j in 0..FEATURES {
            let sum: f64 = gradient.iter().skip(j).step_by(FEATURES).sum();
            assert!(sum.abs() <= precision::<B>().equal * value, "feature {j}: {sum:e}");
        }
    }
}
