//! What damping does to the hypergradient, eigenvalue by eigenvalue.
//!
//! Exactly, `J = (I + H/λ)^{-1}` has the eigenvalue `λ/(λ + q)`; damped it is `(λ + δ)/(λ + δ +
//! q)`: too large by the factor `(1 + δ/λ)(λ + q)/(λ + δ + q)`, 1 where q = 0, and near 1 + δ/λ for
//! large q.

use bissl_core::{Coupling, HypergradientSettings, Register, Termination};

use crate::hypergradient::{exact, run};
use crate::matrix::gaussian;
use crate::precision;
use crate::quadratic::{Quadratic, bilevel};

const EIGENVALUES: [f64; 7] = [0.0, 0.01, 0.3, 1.0, 3.0, 10.0, 40.0];

/// J's eigenvalues as the machine's result shows them.
fn response(lambda: f32, delta: f32, seed: u64) -> Vec<f64> {
    let problem = Quadratic::new(seed, &EIGENVALUES, 1);
    // Every eigendirection is present with a coefficient far from 0.
    let mut draws = crate::matrix::draws(seed, 40);
    let coefficients: Vec<f64> =
        gaussian(&mut draws, EIGENVALUES.len()).iter().map(|x| 1.0 + 0.3 * x.tanh()).collect();
    let gradient = problem.curvature.in_standard_basis(&coefficients);
    let mut driver = bilevel(problem.with_upper_gradient(&gradient), seed);
    let coupling = Coupling::Proximity { weight: lambda };
    let settings = HypergradientSettings::new(coupling, delta, 0.0, exact()).unwrap();
    let record = run(&mut driver, settings, 0);
    assert_eq!(record.solve.termination, Termination::Converged);
    let result = driver.problem.curvature.in_eigenbasis(driver.read(Register::Solution));
    result.iter().zip(coefficients).map(|(found, given)| found / given).collect()
}

#[test]
fn each_eigenvalue_of_the_response_is_the_damped_one() {
    for seed in 0..5 {
        for (lambda, delta) in [(0.1f32, 0.0f32), (0.1, 0.4), (1.0, 10.0), (1e-3, 10.0)] {
            let damped = f64::from(lambda) + f64::from(delta);
            for (found, q) in response(lambda, delta, seed).into_iter().zip(EIGENVALUES) {
                let expected = damped / (damped + q);
                let error = (found - expected).abs();
                let case = format!("seed {seed}, λ {lambda}, δ {delta}, q {q}");
                assert!(error <= precision::HYPERGRADIENT, "{case}: {found} against {expected}");
            }
        }
    }
}

#[test]
fn the_bias_of_damping_is_its_formula_and_grows_with_curvature() {
    let (lambda, delta) = (0.5f32, 2.0f32);
    let (wide_lambda, wide_delta) = (f64::from(lambda), f64::from(delta));
    let exact = response(lambda, 0.0, 1);
    let damped = response(lambda, delta, 1);
    let mut last = 0.0;
    for ((exact, damped), q) in exact.into_iter().zip(damped).zip(EIGENVALUES) {
        let bias = damped / exact;
        let formula =
            (1.0 + wide_delta / wide_lambda) * (wide_lambda + q) / (wide_lambda + wide_delta + q);
        assert!((bias / formula - 1.0).abs() <= 1e-3, "q {q}: {bias} against {formula}");
        assert!(bias > last, "q {q}");
        last = bias;
    }
    assert!(last < 1.0 + wide_delta / wide_lambda);
}
