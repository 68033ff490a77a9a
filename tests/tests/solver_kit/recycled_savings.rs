//! What recycling is for: fewer products at the same accuracy, and a stop that promises the
//! accuracy.

use bissl_core::{CgSettings, ConjugateGradient, RecycledCgSettings, Termination};

use crate::matrix::{add, norm};
use crate::recycled_series::{Series, Solved, curved, drifting, until};
use crate::solve::{Solve, watch};
use crate::systems::{self, System};

/// ‖x − x*‖ / ‖b − x*‖: the share of the second-order correction that is missed.
fn missed(system: &System, x: &[f64]) -> f64 {
    let exact = system.a.solve(&system.b);
    norm(&add(x, -1.0, &exact)) / norm(&add(&system.b, -1.0, &exact))
}

fn cg_with(system: &System, stop: CgSettings) -> Solve {
    watch(ConjugateGradient::new(stop), system)
}

fn products(solves: &[Solved]) -> u16 {
    solves.iter().map(|solved| solved.solve.report.products).sum()
}

/// Eight solves as in an alternation, all to a share of `share`; with recycling and without.
fn alternation(system: &System, b: &[Vec<f64>], stop: CgSettings) -> (Vec<Solved>, u16) {
    let settings = RecycledCgSettings::new(stop, 16, 1).unwrap();
    let mut series = Series::new(system, settings);
    let solves: Vec<Solved> = b.iter().map(|b| series.solve(b)).collect();
    let cold = solves.iter().map(|solved| cg_with(&solved.system, stop).report.products).sum();
    (solves, cold)
}

/// Of the products of cold conjugate gradients at the same accuracy, at most this share.
#[test]
fn drifting_right_hand_sides_take_fewer_products_than_cold_solves() {
    for seed in 0..4 {
        for (top, share, most) in [
            (20.0, 0.05, 0.5),
            (20.0, 0.3, 0.5),
            (2.0, 0.05, 0.7),
            (2.0, 0.1, 0.7),
            (0.02, 0.1, 0.9),
        ] {
            let system = curved(seed, 100, top);
            let stop = CgSettings::new(0.0, 60).unwrap().with_correction_tolerance(share).unwrap();
            let (solves, cold) = alternation(&system, &drifting(seed, 100, 8, 0.1), stop);
            for solved in &solves {
                let missed = missed(&solved.system, &solved.solve.x);
                let bound = f64::from(share / (1.0 - share)) * SLACK;
                assert!(missed <= bound, "{}: {missed:e} > {bound:e}", system.name);
            }
            let warm = products(&solves);
            let allowed = most * f64::from(cold);
            assert!(f64::from(warm) <= allowed, "{}: {warm} of {cold}", system.name);
        }
    }
}

/// Rounding of ‖x − b‖ from squares in f32, where the correction is half a per cent of b or more.
const SLACK: f64 = 1.05;

/// Systems with A ⪰ I and a correction that f32 squares can tell.
fn curved_systems() -> Vec<System> {
    let of = |seed| {
        let (near, curved) = (systems::near_identity(seed, 40), curved(seed, 40, 20.0));
        [near, systems::block_coupled(seed, 30), curved]
    };
    (0..10).flat_map(of).collect()
}

/// Each solver on a system of its own, the recycling one with full banks from two earlier solves.
fn each_solver(system: &System, stop: CgSettings) -> [Solve; 3] {
    let settings = RecycledCgSettings::new(stop, 16, 1).unwrap();
    let cold = Series::new(system, settings).solve(&system.b).solve;
    let mut series = Series::new(system, until(0.0, 3, 16));
    for b in drifting(7, system.b.len(), 2, 0.2) {
        series.solve(&add(&b, 1.0, &system.b));
    }
    series.settings = settings;
    [cg_with(system, stop), cold, series.solve(&system.b).solve]
}

#[test]
fn a_correction_tolerance_bounds_the_share_that_is_missed() {
    for system in curved_systems() {
        for share in [0.5, 0.3, 0.1, 0.03] {
            let stop = CgSettings::new(0.0, 60).unwrap().with_correction_tolerance(share).unwrap();
            for solve in each_solver(&system, stop) {
                assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
                let missed = missed(&system, &solve.x);
                let bound = f64::from(share / (1.0 - share)) * SLACK;
                assert!(missed <= bound, "{}: {missed:e} > {bound:e}", system.name);
            }
        }
    }
}

#[test]
fn a_tolerance_bounds_the_error() {
    for system in curved_systems() {
        let exact = system.a.solve(&system.b);
        for tolerance in [0.3, 0.1, 1e-2, 1e-3, 1e-4] {
            let stop = CgSettings::new(tolerance, 100).unwrap();
            for solve in each_solver(&system, stop) {
                assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
                let error = norm(&add(&solve.x, -1.0, &exact)) / norm(&solve.x);
                assert!(error <= 1.00001 * f64::from(tolerance), "{}: {error:e}", system.name);
            }
        }
    }
}

/// Not one product too many: the iterate before is outside both tolerances, the returned one
/// inside.
#[test]
fn the_first_good_iterate_is_returned() {
    let mut late = 0;
    for system in curved_systems() {
        for (tolerance, share) in [(0.0, 0.2), (0.02, 0.0), (0.02, 0.02), (1e-4, 0.2)] {
            let stop = CgSettings::new(tolerance, 60).unwrap();
            let stop = stop.with_correction_tolerance(share).unwrap();
            for solve in each_solver(&system, stop) {
                let by_correction = |x: &Vec<f64>| {
                    let residual = norm(&system.residual(x));
                    let correction = norm(&add(x, -1.0, &system.b));
                    (residual / norm(x) / f64::from(tolerance))
                        .min(residual / correction / f64::from(share))
                };
                let [before @ .., last] = &solve.iterates[..] else { panic!("no iterate") };
                assert!(by_correction(last) <= SLACK, "{}", system.name);
                assert!(before.iter().all(|x| by_correction(x) >= 1.0 / SLACK), "{}", system.name);
                late += usize::from(!before.is_empty());
            }
        }
    }
    assert!(late > 100, "only {late} solves took more than one product");
}
