//! The step that `recycled-cg` takes without its product: when, how long, and what it is worth.

use bissl_core::{CgSettings, RecycledCgSettings, SolverSettings, Termination};

use crate::matrix::{distance, dot, norm};
use crate::precision::{self, close};
use crate::recycled_series::{Series, Solved, curved, drifting};
use crate::systems::System;

/// At most `share` of the correction missed; one solve in `verify_every` verified.
fn extrapolating(share: f32, verify_every: u8) -> RecycledCgSettings {
    let stop = CgSettings::new(0.0, 40).unwrap().with_correction_tolerance(share).unwrap();
    RecycledCgSettings::new(stop, 16, verify_every).unwrap().extrapolating()
}

fn is_free(solved: &Solved) -> bool {
    let report = &solved.solve.report;
    report.termination == Termination::Unverified && report.products > 0
}

/// ‖x − x*‖/‖b − x*‖.
fn missed(solved: &Solved) -> f64 {
    let System { a, b, .. } = &solved.system;
    let exact = a.solve(b);
    distance(&solved.solve.x, &exact) / distance(b, &exact)
}

fn series_of(system: &System, settings: RecycledCgSettings, step: f64) -> Vec<Solved> {
    let mut series = Series::new(system, settings);
    drifting(7, system.b.len(), 12, step).iter().map(|b| series.solve(b)).collect()
}

/// The estimate is one and not a bound: it may be off by half, and only seldom.
#[test]
fn free_steps_save_products_at_the_same_accuracy() {
    let share = 0.1;
    let (mut saved, mut taken, mut beyond) = (0, 0, 0);
    for seed in 0..12 {
        for top in [0.1, 0.3, 1.0, 2.0, 60.0] {
            let system = curved(seed, 60, top);
            let with = series_of(&system, extrapolating(share, 8), 0.3);
            let without = series_of(&system, extrapolating(share, 1), 0.3);
            let products = |solves: &[Solved]| -> i32 {
                solves.iter().map(|solved| i32::from(solved.solve.report.products)).sum()
            };
            let gain = products(&without) - products(&with);
            assert!(gain >= 0, "{}: {gain}", system.name);
            saved += gain;
            for solved in with.iter().filter(|solved| is_free(solved)) {
                taken += 1;
                let missed = missed(solved);
                assert!(missed <= 1.5 * f64::from(share), "{}: {missed}", system.name);
                beyond += u32::from(missed > f64::from(share));
            }
        }
    }
    assert!(saved >= 60, "{saved} products saved in 60 series");
    assert!(taken >= 200 && beyond * 20 <= taken, "{beyond} of {taken} beyond the tolerance");
}

#[test]
fn a_free_step_is_reported_as_unverified_with_the_right_norms() {
    let mut taken = 0;
    for seed in 0..12 {
        for solved in series_of(&curved(seed, 40, 0.5), extrapolating(0.1, 8), 0.3) {
            if !is_free(&solved) {
                continue;
            }
            taken += 1;
            let (report, x, b) = (&solved.solve.report, &solved.solve.x, &solved.system.b);
            let name = &solved.system.name;
            assert_eq!((report.residual_sq, report.residual()), (None, None), "{name}");
            assert!(close(report.solution_sq.into(), dot(x, x), precision::REPORT, 0.0), "{name}");
            let allowed = precision::REPORT * norm(b) * norm(x);
            assert!((f64::from(report.alignment) - dot(b, x)).abs() <= allowed, "{name}");
            // One more iterate than products: the step without.
            let iterates = solved.solve.iterates.len();
            assert_eq!(iterates, usize::from(report.products) + 1, "{name}");
        }
    }
    assert!(taken >= 20, "{taken}");
}

/// Of `verify_every` solves in a row one is verified.
#[test]
fn one_in_every_k_solves_is_verified() {
    let mut longest = 0;
    for verify_every in [1, 2, 3, 5] {
        for seed in 0..6 {
            let mut row = 0;
            let settings = extrapolating(0.2, verify_every);
            for (k, solved) in series_of(&curved(seed, 40, 0.5), settings, 0.3).iter().enumerate() {
                let report = &solved.solve.report;
                let unverified = report.termination == Termination::Unverified;
                row = if unverified { row + 1 } else { 0 };
                assert!(row < usize::from(verify_every), "solve {k} of {verify_every}");
                longest = longest.max(row);
            }
        }
    }
    assert_eq!(longest, 4, "no row of free steps as long as it may be");
}

/// Before any residual's direction was measured, a free step is assumed to gain so little that only
/// a matrix near the identity allows it.
#[test]
fn the_first_solve_takes_a_free_step_only_where_the_matrix_is_nearly_the_identity() {
    for seed in 0..12 {
        for (top, products) in [(0.02, Some(1)), (0.3, None), (2.0, None)] {
            let solved = &series_of(&curved(seed, 60, top), extrapolating(0.1, 8), 0.3)[0];
            let name = &solved.system.name;
            let free = is_free(solved).then_some(solved.solve.report.products);
            assert!(free != Some(1) || products == Some(1), "{name}: {free:?} at {top}");
            assert!(products.is_none() || free == products, "{name}: {free:?} at {top}");
            assert!(missed(solved) <= 0.1, "{name}: {}", missed(solved));
        }
    }
}

/// The count of unverified solves goes on when the matrix changes, so that short alternations are
/// verified, too: with k above their length, the first solve of every second one.
#[test]
fn a_new_matrix_begins_with_a_verified_solve_at_half_the_count() {
    let settings = extrapolating(0.2, 16);
    let mut series = Series::new(&curved(1, 60, 0.02), settings);
    let mut verified = Vec::new();
    for (k, b) in drifting(8, 60, 32, 0.3).iter().enumerate() {
        if k % 8 == 0 {
            series.memory = series.memory.relinearized(&SolverSettings::RecycledCg(settings));
            assert_eq!(series.memory.count(), 0);
        }
        if series.solve(b).solve.report.termination != Termination::Unverified {
            verified.push(k);
        }
    }
    let firsts: Vec<_> = verified.iter().filter(|k| *k % 8 == 0).collect();
    assert_eq!(firsts, [&8, &24], "of four alternations of eight solves");
}

#[test]
fn without_leave_no_step_is_free() {
    let stop = CgSettings::new(0.0, 40).unwrap().with_correction_tolerance(0.1).unwrap();
    let settings = RecycledCgSettings::new(stop, 16, 8).unwrap();
    for seed in 0..4 {
        let solves = series_of(&curved(seed, 40, 0.5), settings, 0.2);
        assert!(!solves.iter().any(is_free));
    }
}
