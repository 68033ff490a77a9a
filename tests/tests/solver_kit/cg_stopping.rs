//! `cg` stops where it says: at the first good iterate, at the limit, and returns that very
//! iterate.

use bissl_core::Termination;

use crate::laws;
use crate::solve::cg;
use crate::systems::{self, System, scaled_solution};

/// Tolerances between the ratios of successive iterates: with each, one certain iterate is the
/// first.
fn tolerances(system: &System, count: u16) -> Vec<(f32, usize)> {
    let ratios = laws::ratios(system, &cg(system, 0.0, count));
    let mut best = 1.0f64;
    let mut tolerances = Vec::new();
    for (k, ratio) in ratios.into_iter().enumerate() {
        if ratio < 0.8 * best {
            tolerances.push(((ratio * best).sqrt() as f32, k + 1));
        }
        best = best.min(ratio);
    }
    tolerances
}

fn systems() -> Vec<System> {
    (0..12)
        .flat_map(|seed| [7, 20, 60].map(|n| (seed, n)))
        .flat_map(|(seed, n)| {
            [
                systems::positive_definite(seed, n),
                systems::block_coupled(seed, n),
                scaled_solution(seed, n),
            ]
        })
        .collect()
}

#[test]
fn the_first_iterate_within_the_tolerance_is_returned() {
    let mut tried = 0;
    for system in systems() {
        let reference = cg(&system, 0.0, 5);
        for (tolerance, first) in tolerances(&system, 5) {
            let solve = cg(&system, tolerance, 5);
            let stop = (f64::from(tolerance), 5);
            laws::stops_at_the_first_good_iterate(&system, &solve, stop).unwrap();
            assert_eq!(usize::from(solve.report.products), first, "{}", system.name);
            // The very vector, not one that is close: the runs agree up to here bit for bit.
            assert_eq!(solve.x, reference.iterates[first - 1], "{}", system.name);
            tried += 1;
        }
    }
    assert!(tried > 200, "only {tried} tolerances lay clearly between two iterates");
}

#[test]
fn the_limit_is_exact_and_returns_the_last_iterate() {
    for system in systems() {
        let reference = cg(&system, 0.0, 6);
        for limit in 1..=6 {
            let solve = cg(&system, 0.0, limit);
            assert_eq!(solve.report.termination, Termination::IterationLimit, "{}", system.name);
            assert_eq!(solve.report.products, limit, "{}", system.name);
            assert_eq!(solve.x, reference.iterates[usize::from(limit) - 1], "{}", system.name);
            laws::report_describes_norms(&system, &solve).unwrap();
            laws::report_describes_alignment(&system, &solve).unwrap();
        }
    }
}

#[test]
fn convergence_at_the_limit_counts_as_convergence() {
    for system in systems() {
        for (tolerance, first) in tolerances(&system, 5) {
            let solve = cg(&system, tolerance, first as u16);
            assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
        }
    }
}

#[test]
fn a_positive_semi_definite_h_makes_the_tolerance_an_error_bound() {
    for seed in 0..20 {
        for system in [systems::near_identity(seed, 30), systems::block_coupled(seed, 30)] {
            let exact = system.a.solve(&system.b);
            for tolerance in [0.3, 0.1, 1e-2, 1e-3, 1e-4] {
                let solve = cg(&system, tolerance, 100);
                let error = crate::matrix::norm(&crate::matrix::add(&solve.x, -1.0, &exact));
                let bound = f64::from(tolerance) * crate::matrix::norm(&solve.x);
                assert!(error <= bound, "{}: {error:e} > {bound:e}", system.name);
            }
        }
    }
}
