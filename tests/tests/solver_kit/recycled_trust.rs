//! When `recycled-cg` takes its prediction without a product, and when it does not.

use bissl_core::{CgSettings, RecycledCgSettings, Termination};

use crate::matrix::{add, distance, dot, draws, gaussian, norm};
use crate::precision::{self, close};
use crate::recycled_series::{Series, Solved, curved, drifting, limited};
use crate::systems::{self, System};

/// A prediction has to be better than its tolerance by this much before the next one is taken.
const CAUTION: f64 = 1.5;

fn settings(stop: CgSettings, verify_every: u8) -> RecycledCgSettings {
    RecycledCgSettings::new(stop, 16, verify_every).unwrap()
}

/// ‖b − A x₀‖ of the prediction beside ‖x‖, and beside ‖x − b‖, x what the solve returned first.
fn predicted_ratios(solved: &Solved, prediction: &[f64]) -> (f64, f64) {
    let residual = norm(&solved.system.residual(prediction));
    let x = &solved.solve.iterates[0];
    (residual / norm(x), residual / norm(&add(x, -1.0, &solved.system.b)))
}

/// A prediction that was taken: x₀ to rounding, and a report that claims no more than is known.
fn is_the_prediction(solved: &Solved, prediction: &[f64]) {
    let (report, b, x) = (&solved.solve.report, &solved.system.b, &solved.solve.x);
    let name = &solved.system.name;
    assert_eq!(report.termination, Termination::Unverified, "{name}");
    assert_eq!((report.products, solved.solve.quotients.len()), (0, 0), "{name}");
    assert_eq!((report.residual_sq, report.residual()), (None, None), "{name}");
    assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None), "{name}");
    assert!(solved.written.is_empty(), "{name}: nothing was learnt, nothing is kept");
    let error = distance(x, prediction);
    assert!(error <= precision::SOLUTION, "{name}: {error:e} off the prediction");
    assert!(close(report.rhs_sq.into(), dot(b, b), precision::REPORT, 0.0), "{name}");
    assert!(close(report.solution_sq.into(), dot(x, x), precision::REPORT, 0.0), "{name}");
    let allowed = precision::REPORT * norm(b) * norm(x);
    assert!((f64::from(report.alignment) - dot(b, x)).abs() <= allowed, "{name}");
}

/// Runs a series and holds every solve against the rule, computed from the vectors.
///
/// Returns how many solves were unverified. A prediction within a hundredth of its tolerance ends
/// the series: there rounding decides.
fn follows_the_rule(
    system: &System,
    right_hand_sides: &[Vec<f64>],
    (tolerance, share, verify_every): (f32, f32, u8),
) -> usize {
    let stop = CgSettings::new(tolerance, 40).unwrap().with_correction_tolerance(share).unwrap();
    let mut series = Series::new(system, settings(stop, verify_every));
    let (mut trusted, mut since, mut unverified) = (false, 0, 0);
    for b in right_hand_sides {
        let prediction = series.prediction(b);
        let solved = series.solve(b);
        if trusted && since + 1 < verify_every {
            is_the_prediction(&solved, &prediction);
            (since, unverified) = (since + 1, unverified + 1);
            continue;
        }
        assert!(solved.solve.report.products > 0, "{}: not verified", system.name);
        assert!(solved.solve.report.residual_sq.is_some(), "{}", system.name);
        assert_eq!(solved.solve.report.termination, Termination::Converged, "{}", system.name);
        let (by_norm, by_correction) = predicted_ratios(&solved, &prediction);
        let margins = [by_norm / f64::from(tolerance), by_correction / f64::from(share)];
        let margins = margins.map(|margin| CAUTION * margin);
        if margins.iter().any(|margin| (0.99..1.01).contains(margin)) {
            break;
        }
        (trusted, since) = (margins.iter().any(|margin| *margin < 1.0), 0);
    }
    unverified
}

#[test]
fn a_prediction_is_taken_only_where_the_last_verified_one_was_good_enough() {
    let (mut taken, mut all) = (0, 0);
    for seed in 0..6 {
        for system in
            [systems::near_identity(seed, 30), curved(seed, 30, 2.0), curved(seed, 30, 20.0)]
        {
            for step in [0.02, 0.1, 0.5] {
                for rule in [(0.01, 0.0, 3), (0.0, 0.2, 3), (0.02, 0.1, 4), (0.05, 0.5, 1)] {
                    let b = drifting(seed, 30, 10, step);
                    taken += follows_the_rule(&system, &b, rule);
                    all += b.len();
                }
            }
        }
    }
    assert!(taken > all / 10 && taken < all / 2, "{taken} of {all} were unverified");
}

/// The first, then each k-th: k − 1 between two that are verified.
#[test]
fn every_kth_solve_is_verified() {
    let system = curved(1, 30, 0.2);
    // At the slower drift the span holds all of b but rounding, and the projection is the
    // prediction.
    for (step, verify_every) in [0.01, 1e-5].into_iter().flat_map(|s| [1, 2, 3, 5].map(|k| (s, k)))
    {
        let stop = CgSettings::new(0.3, 40).unwrap();
        let mut series = Series::new(&system, settings(stop, verify_every));
        for (k, b) in (0..).zip(drifting(1, 30, 12, step)) {
            let verified = series.solve(&b).solve.report.termination != Termination::Unverified;
            assert_eq!(verified, k % u32::from(verify_every) == 0, "solve {k} of {verify_every}");
        }
    }
}

/// ‖r₀‖ of the prediction comes from the vectors of the solve after it: 2 % about it decide.
#[test]
fn the_residual_of_the_prediction_is_known_exactly() {
    for seed in 0..8 {
        for system in
            [systems::near_identity(seed, 30), curved(seed, 30, 2.0), curved(seed, 30, 20.0)]
        {
            let b = drifting(seed, 30, 4, 0.1);
            let after = |tolerance: f64| {
                let mut series = Series::new(&system, limited(5, 16));
                series.solve(&b[0]);
                series.solve(&b[1]);
                let prediction = series.prediction(&b[2]);
                series.settings = settings(CgSettings::new(tolerance as f32, 1).unwrap(), 9);
                let solved = series.solve(&b[2]);
                let next = series.solve(&b[3]).solve.report.termination;
                (predicted_ratios(&solved, &prediction).0, next == Termination::Unverified)
            };
            let (ratio, trusted) = after(0.0);
            assert!(!trusted && ratio < 0.6, "{}: {ratio}", system.name);
            assert!(after(1.02 * CAUTION * ratio).1, "{}: not trusted", system.name);
            assert!(!after(0.98 * CAUTION * ratio).1, "{}: trusted", system.name);
        }
    }
}

/// A jump is noticed by the next verified solve, and no prediction is taken after it.
#[test]
fn a_jump_of_the_right_hand_side_costs_the_trust() {
    for seed in 0..10 {
        let system = curved(seed, 30, 20.0);
        let mut series = Series::new(&system, settings(CgSettings::new(0.05, 40).unwrap(), 3));
        let near = drifting(seed, 30, 5, 0.001);
        let ends = near.iter().map(|b| series.solve(b).solve.report.termination);
        let ends: Vec<Termination> = ends.collect();
        // The prediction of the first solve is b itself, which is not good enough here.
        let expected = [
            Termination::Converged,
            Termination::Converged,
            Termination::Unverified,
            Termination::Unverified,
            Termination::Converged,
        ];
        assert_eq!(ends, expected, "{}", system.name);
        let mut draws = draws(seed, 44);
        let mut ends = Vec::new();
        for _ in 0..4 {
            ends.push(series.solve(&gaussian(&mut draws, 30)).solve.report.termination);
        }
        // Two are still taken unseen: that is what `verify_every` says.
        assert_eq!(ends[..2], [Termination::Unverified; 2], "{}", system.name);
        assert_eq!(ends[2..], [Termination::Converged; 2], "{}", system.name);
    }
}

/// The same b again and again: each product improves a projection that is not yet good enough.
#[test]
fn a_projection_outside_the_tolerance_is_not_trusted() {
    let system = curved(2, 30, 20.0);
    let mut series = Series::new(&system, settings(CgSettings::new(1e-4, 1).unwrap(), 9));
    for repeat in 0..4 {
        let report = series.solve(&system.b).solve.report;
        let found = (report.termination, report.products);
        assert_eq!(found, (Termination::IterationLimit, 1), "repeat {repeat}");
    }
}

#[test]
fn a_prediction_along_negative_curvature_is_never_trusted() {
    let system = systems::indefinite(3, 8);
    for seed in 0..20 {
        let mut series = Series::new(&system, settings(CgSettings::new(0.999, 1).unwrap(), 9));
        let b = gaussian(&mut draws(seed, 45), 8);
        let first = series.solve(&b).solve.report.termination;
        if first == Termination::NegativeCurvature {
            let again = series.solve(&b).solve.report;
            assert_eq!((again.termination, again.products), (first, 1), "seed {seed}");
        }
    }
}

#[test]
fn settings_need_a_capacity_and_a_verification() {
    use bissl_core::ConfigError::{OutOfRange, Zero};
    let stop = CgSettings::new(0.1, 5).unwrap();
    assert_eq!(RecycledCgSettings::new(stop, 0, 1), Err(Zero { name: "capacity" }));
    assert_eq!(RecycledCgSettings::new(stop, 1, 0), Err(Zero { name: "verify_every" }));
    assert_eq!(RecycledCgSettings::new(stop, 7, 1).unwrap().capacity(), 7);
    assert!(RecycledCgSettings::new(stop, u8::MAX, u8::MAX).is_ok());
    for share in [-0.1, 1.0, f32::NAN, f32::INFINITY] {
        let error = stop.with_correction_tolerance(share).unwrap_err();
        assert!(matches!(error, OutOfRange { name: "correction_tolerance", .. }), "{share}");
    }
    assert!(stop.with_correction_tolerance(0.0).is_ok());
}
