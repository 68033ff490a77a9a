//! `recycled-cg` where it is short of room, of curvature, of directions, or of finite numbers.

use bissl_core::{Bank, CgSettings, RecycledCgSettings, Register, Termination};

use crate::laws;
use crate::matrix::{Matrix, add, distance, dot, draws, gaussian, norm, scale};
use crate::precision;
use crate::recycled_series::{Series, curved, drifting, limited, until};
use crate::systems::{self, System};

#[test]
fn a_full_bank_drops_the_oldest_and_still_converges() {
    for capacity in [1u8, 2, 3] {
        for seed in 0..4 {
            for system in [systems::positive_definite(seed, 30), curved(seed, 30, 20.0)] {
                let mut series = Series::new(&system, until(1e-4, 300, capacity));
                let mut next = 0;
                for b in drifting(seed, 30, 12, 0.2) {
                    let solved = series.solve(&b);
                    laws::report_describes_norms(&solved.system, &solved.solve).unwrap();
                    laws::report_describes_alignment(&solved.system, &solved.solve).unwrap();
                    let report = solved.solve.report;
                    assert_eq!(report.termination, Termination::Converged, "{}", system.name);
                    assert!(solved.count_max <= capacity, "{}", system.name);
                    // Slots in turn: the one that is written has been there longest.
                    for pair in solved.written.chunks(2) {
                        let expected = [Bank::Basis, Bank::BasisProduct];
                        assert_eq!(*pair, expected.map(|bank| Register::Banked(bank, next)));
                        next = (next + 1) % capacity;
                    }
                }
                assert_eq!(series.memory.count(), capacity);
                let error = series.conjugacy_error();
                assert!(error <= precision::CONJUGACY, "{}: {error:e}", system.name);
            }
        }
    }
}

/// x still holds a part along a direction that has been dropped, and later ones are not conjugate
/// to it.
#[test]
fn the_alignment_counts_what_was_dropped() {
    for seed in 0..8 {
        for system in [systems::positive_definite(seed, 20), curved(seed, 20, 20.0)] {
            for capacity in [1, 2] {
                let mut series = Series::new(&system, limited(u16::from(capacity), capacity));
                let b = drifting(seed, 20, 2, 0.5);
                series.solve(&b[0]);
                series.settings = limited(5, capacity);
                let solved = series.solve(&b[1]);
                laws::report_describes_alignment(&solved.system, &solved.solve).unwrap();
            }
        }
    }
}

/// Once a direction was dropped the next one is not conjugate to x, and without a product nothing
/// says by how much: no step along it is taken.
#[test]
fn after_a_direction_was_dropped_no_step_is_free() {
    let stop = CgSettings::new(0.0, 9).unwrap().with_correction_tolerance(0.2).unwrap();
    let mut free = 0;
    for seed in 0..8 {
        for (top, capacity) in [(0.2, 1), (0.5, 1), (0.5, 2), (2.0, 3)] {
            let settings = RecycledCgSettings::new(stop, capacity, 9).unwrap().extrapolating();
            let mut series = Series::new(&curved(seed, 20, top), settings);
            for b in drifting(seed, 20, 8, 0.5) {
                let solved = series.solve(&b);
                laws::report_describes_alignment(&solved.system, &solved.solve).unwrap();
                let report = &solved.solve.report;
                let unverified = report.termination == Termination::Unverified;
                free += u32::from(unverified && report.products > 0);
            }
        }
    }
    assert!(free > 0, "no step was free before anything was dropped either");
}

/// One direction of memory is all that conjugate gradients need.
#[test]
fn a_capacity_of_one_gives_the_iterates_of_conjugate_gradients() {
    for system in (0..10).map(|seed| systems::positive_definite(seed, 12)) {
        let solved = Series::new(&system, limited(6, 1)).solve(&system.b);
        laws::iterates_are_optimal(&system, &solved.solve, 6).unwrap();
        laws::report_describes_alignment(&system, &solved.solve).unwrap();
    }
}

/// Negative curvature ends a solve before it enters the bank or, but for the prediction, x.
#[test]
fn negative_curvature_is_never_kept() {
    let (mut first, mut later) = (0, 0);
    for seed in 0..60 {
        let system = systems::indefinite(seed, 12);
        let mut series = Series::new(&system, limited(6, 16));
        let mut draws = draws(seed, 46);
        for _ in 0..4 {
            let b = gaussian(&mut draws, 12);
            let prediction = series.prediction(&b);
            let solved = series.solve(&b);
            let (solve, name) = (&solved.solve, &system.name);
            laws::report_describes_norms(&solved.system, solve).unwrap();
            laws::report_describes_products(&solved.system, solve).unwrap();
            laws::returns_its_last_iterate(&solved.system, solve).unwrap();
            let positive = solve.quotients.iter().filter(|quotient| **quotient > 0.0).count();
            assert!(solved.written.len() <= 2 * positive, "{name}");
            let error = series.conjugacy_error();
            assert!(error <= precision::CONJUGACY, "{name}: {error:e}");
            if solve.report.termination != Termination::NegativeCurvature {
                assert_eq!(positive, solve.quotients.len(), "{name}");
                continue;
            }
            assert_eq!(positive + 1, solve.quotients.len(), "{name}: it ends at the first");
            if positive == 0 {
                let error = distance(&solve.x, &prediction);
                assert!(error <= precision::SOLUTION, "{name}: {error:e} off the prediction");
                first += 1;
            } else {
                assert_eq!(solve.iterates.len(), positive, "{name}");
                later += 1;
            }
        }
    }
    assert!(first > 10 && later > 10, "{first} at once, {later} later");
}

#[test]
fn negative_curvature_at_once_returns_the_right_hand_side() {
    let mut system = systems::near_identity(1, 6);
    for diagonal in [-2.0, 0.0] {
        system.a = Matrix::new(6, 6, |i, j| if i == j { diagonal } else { 0.0 });
        let mut series = Series::new(&system, limited(5, 4));
        let solved = series.solve(&system.b);
        let report = solved.solve.report;
        assert_eq!((report.termination, report.products), (Termination::NegativeCurvature, 1));
        assert_eq!((solved.solve.x, series.memory.count()), (system.b.clone(), 0));
        let residual = (1.0 - diagonal) as f32;
        assert!((report.residual().unwrap() - residual).abs() < 1e-5);
        assert_eq!(report.rayleigh_max, Some(diagonal as f32));
    }
}

#[test]
fn a_right_hand_side_of_zero_takes_no_product_and_keeps_the_bank() {
    let system = systems::positive_definite(2, 9);
    let mut series = Series::new(&system, limited(3, 8));
    for kept in [0, 3] {
        let report = series.solve(&[0.0; 9]).solve.report;
        assert_eq!((report.termination, report.products), (Termination::Converged, 0));
        assert_eq!((report.rhs_sq, report.solution_sq, report.alignment), (0.0, 0.0, 0.0));
        assert_eq!((report.residual_sq, report.cosine()), (Some(0.0), None));
        assert_eq!(series.driver.read(Register::Solution), [0.0; 9]);
        assert_eq!(series.memory.count(), kept);
        series.solve(&system.b);
    }
}

/// H = 0: x = b after one product, and the bank holds b; what follows must not live on its
/// rounding.
#[test]
fn an_operator_without_curvature_is_solved_at_once_again_and_again() {
    let mut system = systems::near_identity(5, 20);
    system.a = Matrix::new(20, 20, |i, j| f64::from(u8::from(i == j)));
    let mut series = Series::new(&system, until(1e-6, 4, 3));
    for (k, b) in drifting(5, 20, 6, 0.1).iter().enumerate() {
        for repeat in 0..3 {
            let solved = series.solve(b);
            assert_eq!(solved.solve.report.termination, Termination::Converged, "{k} {repeat}");
            assert!(solved.solve.report.products <= 1, "{k} {repeat}");
            let error = distance(&solved.solve.x, b);
            assert!(error <= precision::SCALAR, "{k} {repeat}: {error:e}");
            assert!(series.conjugacy_error() <= precision::CONJUGACY, "{k} {repeat}");
        }
    }
}

/// b in the span of the bank, exactly or but for a small part.
#[test]
fn a_right_hand_side_within_the_span_does_no_harm() {
    for system in (0..6).flat_map(|s| [systems::positive_definite(s, 20), curved(s, 20, 20.0)]) {
        for part in [0.0, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3, 1e-2] {
            let mut series = Series::new(&system, limited(3, 8));
            series.solve(&system.b);
            let mut draws = draws(3, 47);
            for _ in 0..6 {
                let basis = series.bank(Bank::Basis);
                let within = basis
                    .iter()
                    .fold(vec![0.0; 20], |sum, p| add(&sum, f64::from(draws.normal()), p));
                let outside = gaussian(&mut draws, 20);
                let b = add(&within, part * norm(&within) / norm(&outside), &outside);
                let solved = series.solve(&b);
                laws::report_describes_norms(&solved.system, &solved.solve).unwrap();
                let error = series.conjugacy_error();
                assert!(error <= precision::CONJUGACY, "{} {part}: {error:e}", system.name);
            }
        }
    }
}

/// The same b twice goes on where the first solve was stopped: nothing of its products is wasted.
#[test]
fn the_same_right_hand_side_again_goes_on_where_it_was_stopped() {
    for system in (0..6).flat_map(|s| [systems::positive_definite(s, 20), curved(s, 20, 20.0)]) {
        let mut series = Series::new(&system, limited(2, 16));
        series.solve(&system.b);
        let twice = series.solve(&system.b).solve;
        let once = Series::new(&system, limited(4, 16)).solve(&system.b).solve;
        let error = distance(&twice.x, &once.x);
        assert!(error <= precision::KRYLOV, "{}: {error:e}", system.name);
    }
}

/// Long series of slow drift: errors of the kept directions are not magnified from solve to solve.
#[test]
fn a_long_slow_drift_leaves_the_bank_conjugate() {
    for seed in 0..3 {
        for step in [3e-4, 3e-3, 3e-2] {
            let system = curved(seed, 40, 20.0);
            let mut series = Series::new(&system, until(1e-3, 2, 16));
            for b in drifting(seed, 40, 40, step) {
                series.solve(&b);
                let error = series.conjugacy_error();
                assert!(error <= 0.1 * precision::CONJUGACY, "{}, {step}: {error:e}", system.name);
            }
        }
    }
}

#[test]
fn numbers_that_are_not_finite_end_the_solve_and_empty_the_bank() {
    let system = systems::positive_definite(4, 9);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for solves_before in [0, 1] {
            let warm = || {
                let mut series = Series::new(&system, limited(3, 8));
                (0..solves_before).for_each(|_| drop(series.solve(&system.b)));
                series
            };
            let mut b = gaussian(&mut draws(9, 48), 9);
            for call in 0..2 {
                let mut series = warm();
                let solved = series.solve_with_faults(&b, |i, mut product| {
                    if i == call {
                        product[2] = bad;
                    }
                    product
                });
                let report = solved.solve.report;
                assert_eq!(report.termination, Termination::NonFinite, "{bad} in call {call}");
                assert_eq!(usize::from(report.products), call + 1);
                assert_eq!(series.memory.count(), 0);
            }
            b[3] = bad;
            let mut series = warm();
            let report = series.solve(&b).solve.report;
            assert_eq!((report.termination, report.products), (Termination::NonFinite, 0), "{bad}");
            assert_eq!(series.memory.count(), 0);
        }
    }
}

/// What is large squares to infinity, what is small to nothing; between them scale changes nothing.
#[test]
fn the_size_of_the_right_hand_side_changes_nothing_within_the_range_of_squares() {
    let system = curved(6, 20, 20.0);
    let series_at = |size: f64| {
        let mut series = Series::new(&system, until(1e-3, 9, 8));
        let b = drifting(6, 20, 4, 0.1);
        b.iter().map(|b| series.solve(&scale(size, b)).solve).collect::<Vec<_>>()
    };
    let reference = series_at(1.0);
    for size in [1e-15, 1e-9, 1e9, 1e15] {
        for (found, expected) in series_at(size).iter().zip(&reference) {
            assert_eq!(found.report.termination, expected.report.termination, "{size}");
            assert_eq!(found.report.products, expected.report.products, "{size}");
            let error = distance(&found.x, &scale(size, &expected.x));
            assert!(error <= precision::SOLUTION, "{size}: {error:e}");
        }
    }
    assert_eq!(series_at(1e30)[0].report.termination, Termination::NonFinite);
}

/// Below about 1e-19 a curvature has too few digits for a root; such directions are not kept.
#[test]
fn subnormal_squares_do_not_spoil_the_bank() {
    let system = systems::positive_definite(8, 9);
    for exponent in -24..=-16 {
        let mut series = Series::new(&system, limited(3, 8));
        series.solve(&scale(10f64.powi(exponent), &system.b));
        let error = series.conjugacy_error();
        assert!(error <= precision::CONJUGACY, "b of 1e{exponent}: {error:e}");
        let solved = series.solve(&system.b);
        laws::report_describes_norms(&solved.system, &solved.solve).unwrap();
        assert!(dot(&solved.solve.x, &system.b) > 0.0);
    }
}

/// b in no part reachable: the residual stays, the report does not hide it, and nothing breaks.
#[test]
fn a_singular_operator_keeps_the_unreachable_residual() {
    for seed in 0..10 {
        let system: System = systems::singular_outside(seed, 9);
        let mut series = Series::new(&system, limited(4, 8));
        for b in drifting(seed, 9, 3, 0.1) {
            let solved = series.solve(&b);
            let end = solved.solve.report.termination;
            assert_ne!(end, Termination::Converged, "{}", system.name);
            if end != Termination::NonFinite {
                laws::report_describes_norms(&solved.system, &solved.solve).unwrap();
            }
        }
    }
}
