//! `cg` solves: against dense references, in the steps that theory gives it.

use bissl_core::Termination;

use crate::laws;
use crate::matrix::{Matrix, distance, norm};
use crate::precision;
use crate::solve::cg;
use crate::systems::{self, DIMENSIONS, definite, repeated, seeds, singular, singular_outside};

#[test]
fn solution_agrees_with_elimination() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            let solve = cg(&system, 1e-7, 200);
            assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
            let error = distance(&solve.x, &system.a.solve(&system.b));
            assert!(error <= precision::SOLUTION, "{}: error {error:e}", system.name);
        }
    }
}

#[test]
fn every_law_holds_on_every_definite_family() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            for stop in [(1e-6, 60), (1e-3, 60), (0.0, 3.min(n))] {
                let solve = cg(&system, stop.0 as f32, stop.1 as u16);
                laws::all(&system, &solve, stop).unwrap();
            }
        }
    }
}

#[test]
fn n_dimensions_take_n_products() {
    for n in [1, 2, 3, 4, 5, 6, 8, 10] {
        for seed in 0..40 {
            let system = systems::positive_definite(seed, n);
            let solve = cg(&system, 0.0, n as u16);
            let residual = norm(&system.residual(&solve.x)) / norm(&system.b);
            assert!(residual <= precision::N_STEPS, "{}: residual {residual:e}", system.name);
        }
    }
}

#[test]
fn as_many_products_as_distinct_eigenvalues() {
    for n in DIMENSIONS {
        for distinct in 1..=5.min(n) {
            for seed in 0..4 {
                let system = repeated(seed, n, distinct);
                let solve = cg(&system, 1e-4, 200);
                let found = (solve.report.termination, usize::from(solve.report.products));
                assert_eq!(found, (Termination::Converged, distinct), "{}", system.name);
            }
        }
    }
}

#[test]
fn an_operator_without_curvature_returns_the_right_hand_side_after_one_product() {
    for seed in 0..5 {
        let mut system = systems::near_identity(seed, 20);
        system.a = Matrix::new(20, 20, |i, j| f64::from(u8::from(i == j)));
        let solve = cg(&system, 0.0, 9);
        assert_eq!(solve.x, system.b);
        assert_eq!(solve.report.termination, Termination::Converged);
        assert_eq!(solve.report.products, 1);
        assert_eq!(solve.report.residual_sq, Some(0.0));
        assert!((solve.report.cosine().unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(solve.report.rayleigh_max, solve.report.rayleigh_min);
    }
}

#[test]
fn one_dimension_takes_one_product() {
    for (a, b) in [(1.0, 1.0), (4.0, -3.0), (0.001, 5.0), (8.0, 2e-3)] {
        let system = systems::scalar(a, b);
        let solve = cg(&system, 1e-6, 9);
        assert_eq!(solve.report.products, 1, "{}", system.name);
        assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
        assert!((solve.x[0] - b / a).abs() <= precision::SCALAR * (b / a).abs());
    }
}

#[test]
fn a_right_hand_side_of_zero_takes_no_product() {
    for n in [1, 5, 40] {
        let mut system = systems::positive_definite(1, n);
        system.b = vec![0.0; n];
        let solve = cg(&system, 0.1, 7);
        let report = solve.report;
        assert_eq!((report.termination, report.products), (Termination::Converged, 0));
        assert_eq!(solve.x, vec![0.0; n]);
        assert_eq!((report.rhs_sq, report.solution_sq, report.alignment), (0.0, 0.0, 0.0));
        assert_eq!(report.residual_sq, Some(0.0));
        assert_eq!(
            (report.residual(), report.cosine(), report.solution_ratio()),
            (None, None, None)
        );
        assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None));
    }
}

#[test]
fn a_singular_operator_is_solved_where_the_right_hand_side_is_in_its_range() {
    for n in [3, 6, 12, 60] {
        for seed in seeds(n) {
            let system = singular(seed, n);
            let solve = cg(&system, 1e-6, 100);
            assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
            laws::report_describes_norms(&system, &solve).unwrap();
            laws::iterates_are_optimal(&system, &solve, 4).unwrap();
            let residual = norm(&system.residual(&solve.x));
            assert!(residual <= 1.01e-6 * norm(&solve.x), "{}", system.name);
        }
    }
}

/// What no x can reach stays in the residual, whatever the run ends with; the report does not hide
/// it.
#[test]
fn a_singular_operator_keeps_the_unreachable_residual() {
    for n in [3, 6, 12, 60] {
        for seed in seeds(n) {
            let system = singular_outside(seed, n);
            for limit in [1, 2, n as u16, 3 * n as u16] {
                let solve = cg(&system, 0.0, limit);
                assert_ne!(solve.report.termination, Termination::Converged, "{}", system.name);
                if solve.report.termination != Termination::NonFinite {
                    laws::report_describes_norms(&system, &solve).unwrap();
                }
            }
        }
    }
}

#[test]
fn the_quotients_lie_within_the_spectrum() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            let report = cg(&system, 1e-5, 40).report;
            let (low, high) = (report.rayleigh_min.unwrap(), report.rayleigh_max.unwrap());
            let slack = precision::REPORT * system.spectrum.1;
            assert!(f64::from(low) >= system.spectrum.0 - slack, "{}", system.name);
            assert!(f64::from(high) <= system.spectrum.1 + slack, "{}", system.name);
            assert!(low <= high, "{}", system.name);
        }
    }
}
