//! `neumann`: the partial sums of the series, each measured, and divergence that is seen.

use bissl_core::{
    ConfigError, Linear, Neumann, NeumannSettings, Solver, SolverMemory, SolverSettings,
    Termination,
};

use crate::dense::linear;
use crate::laws;
use crate::matrix::{Spectral, add, distance, draws, gaussian, norm};
use crate::precision;
use crate::solve::{Solve, watch};
use crate::systems::{self, DIMENSIONS, System, near_identity, scalar, seeds};
use crate::tape::{check, record};

fn neumann(system: &System, tolerance: f32, iterations: u16) -> Solve {
    watch(Neumann::new(NeumannSettings::new(tolerance, iterations).unwrap()), system)
}

/// A system whose A has eigenvalues spread over `[low, high]`, both ends among them.
fn spread(seed: u64, n: usize, low: f64, high: f64) -> System {
    let mut draws = draws(seed, 40);
    let step = (high - low) / (n - 1) as f64;
    let spectral = Spectral::new((0..n).map(|i| low + step * i as f64).collect(), &mut draws);
    let b = gaussian(&mut draws, n);
    System::of("spread", seed, &spectral, b)
}

/// Systems on which the series converges.
fn convergent() -> Vec<System> {
    DIMENSIONS
        .into_iter()
        .flat_map(|n| seeds(n).map(move |seed| (seed, n)))
        .flat_map(|(seed, n)| {
            [near_identity(seed, n), spread(seed, n, 0.4, 1.6), spread(seed, n, 1.0, 1.9)]
        })
        .collect()
}

/// The terms (I − A)^k b for k = 0, 1, …, in f64.
fn terms(system: &System, count: usize) -> Vec<Vec<f64>> {
    let mut terms = vec![system.b.clone()];
    while terms.len() < count {
        let last = &terms[terms.len() - 1];
        terms.push(add(last, -1.0, &system.a.times(last)));
    }
    terms
}

/// The partial sums of 1, 2, … terms.
fn sums(system: &System, count: usize) -> Vec<Vec<f64>> {
    let zero = vec![0.0; system.b.len()];
    terms(system, count)
        .iter()
        .scan(zero, |sum, term| {
            *sum = add(sum, 1.0, term);
            Some(sum.clone())
        })
        .collect()
}

/// Norms, alignment and quotients of the report against the vectors.
fn report_holds(system: &System, solve: &Solve) {
    laws::report_describes_norms(system, solve).unwrap();
    laws::report_describes_alignment(system, solve).unwrap();
    laws::report_describes_products(system, solve).unwrap();
}

#[test]
fn as_many_products_as_allowed_give_as_many_terms() {
    for system in convergent() {
        let expected = sums(&system, 6);
        for limit in 1..=6 {
            let solve = neumann(&system, 0.0, limit as u16);
            assert_eq!(solve.report.termination, Termination::IterationLimit, "{}", system.name);
            assert_eq!(usize::from(solve.report.products), limit, "{}", system.name);
            let error = distance(&solve.x, &expected[limit - 1]);
            assert!(error <= precision::DENSE, "{}: {limit} terms, {error:e}", system.name);
            for (found, expected) in solve.iterates.iter().zip(&expected[1..]) {
                assert!(distance(found, expected) <= precision::DENSE, "{}", system.name);
            }
            assert_eq!(solve.iterates.len(), limit - 1);
            report_holds(&system, &solve);
        }
    }
}

#[test]
fn where_the_spectrum_lies_between_zero_and_two_it_converges_to_the_solution() {
    for system in convergent() {
        let solve = neumann(&system, 1e-6, 500);
        assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
        let error = distance(&solve.x, &system.a.solve(&system.b));
        assert!(error <= precision::SOLUTION, "{}: error {error:e}", system.name);
        report_holds(&system, &solve);
    }
}

#[test]
fn the_first_sum_within_the_tolerance_is_returned() {
    let mut tried = 0;
    for system in convergent() {
        let sums = sums(&system, 12);
        let ratios: Vec<f64> = sums.iter().map(|x| norm(&system.residual(x)) / norm(x)).collect();
        for k in 1..sums.len() {
            if ratios[k] < 0.9 * ratios[k - 1] && ratios[k] > 1e-7 {
                let tolerance = (ratios[k] * ratios[k - 1]).sqrt();
                // The first term alone may have been good enough.
                if tolerance >= 1.0 || ratios[..k].iter().any(|ratio| *ratio <= tolerance) {
                    continue;
                }
                let solve = neumann(&system, tolerance as f32, 20);
                let found = (solve.report.termination, usize::from(solve.report.products));
                assert_eq!(found, (Termination::Converged, k + 1), "{}", system.name);
                assert!(distance(&solve.x, &sums[k]) <= precision::DENSE, "{}", system.name);
                tried += 1;
            }
        }
    }
    assert!(tried > 300, "only {tried} tolerances lay clearly between two sums");
}

#[test]
fn the_share_of_the_correction_stops_it_too() {
    for system in convergent() {
        let share = 0.2;
        let settings = NeumannSettings::new(0.0, 500).unwrap();
        let solve =
            watch(Neumann::new(settings.with_correction_tolerance(share).unwrap()), &system);
        assert_eq!(solve.report.termination, Termination::Converged, "{}", system.name);
        let missed = |x: &[f64]| norm(&system.residual(x)) / distance_to_rhs(&system, x);
        // The correction is formed from squares in f32: for a hundredth of x some digits are lost.
        assert!(missed(&solve.x) <= 1.05 * f64::from(share), "{}", system.name);
        let before = solve.iterates.len().checked_sub(2).map(|last| &solve.iterates[last]);
        if let Some(before) = before {
            assert!(missed(before) > 0.95 * f64::from(share), "{}", system.name);
        }
    }
}

fn distance_to_rhs(system: &System, x: &[f64]) -> f64 {
    norm(&add(x, -1.0, &system.b))
}

/// Where the first term grows, by the dense terms: the number of products that see it.
fn growth(system: &System, count: usize) -> Option<usize> {
    let norms: Vec<f64> = terms(system, count).iter().map(|term| norm(term)).collect();
    norms.windows(2).position(|pair| pair[1] > pair[0]).map(|last| last + 1)
}

#[test]
fn an_eigenvalue_outside_zero_to_two_is_seen_at_the_first_longer_term() {
    let mut late = 0;
    for n in [2, 3, 7, 13, 30] {
        for seed in seeds(n) {
            for (low, high) in [(0.5, 2.5), (1.0, 20.0), (-0.5, 1.0), (-3.0, 4.0), (0.9, 2.05)] {
                let system = spread(seed, n, low, high);
                let expected = growth(&system, 400).unwrap();
                let solve = neumann(&system, 0.0, 400);
                let found = (solve.report.termination, usize::from(solve.report.products));
                assert_eq!(found, (Termination::Diverging, expected), "{}", system.name);
                let sum = &sums(&system, expected)[expected - 1];
                assert!(distance(&solve.x, sum) <= precision::DENSE, "{}", system.name);
                report_holds(&system, &solve);
                late += usize::from(expected > 3);
            }
        }
    }
    assert!(late > 50, "only {late} series shrank before they grew");
}

/// The law behind the verdict: for a symmetric A the ratio of successive norms never falls.
#[test]
fn terms_that_have_grown_once_grow_for_ever() {
    for seed in 0..20 {
        for (low, high) in [(0.5, 2.5), (-0.5, 1.0), (0.4, 1.6)] {
            let system = spread(seed, 9, low, high);
            let norms: Vec<f64> = terms(&system, 40).iter().map(|term| norm(term)).collect();
            let ratios: Vec<f64> = norms.windows(2).map(|pair| pair[1] / pair[0]).collect();
            for pair in ratios.windows(2) {
                assert!(pair[1] >= pair[0] * (1.0 - 1e-9), "{}: {pair:?}", system.name);
            }
        }
    }
}

/// Neither shorter nor longer: that is no divergence, and no convergence either.
#[test]
fn terms_of_the_same_length_use_up_the_limit() {
    for (a, sum) in [(2.0, 0.0), (0.0, 4.0)] {
        let solve = neumann(&scalar(a, 1.0), 0.0, 4);
        assert_eq!(solve.report.termination, Termination::IterationLimit, "A = {a}");
        assert_eq!((solve.x, solve.report.residual_sq), (vec![sum], Some(1.0)));
        assert_eq!(solve.report.rayleigh_min, Some(a as f32));
    }
}

#[test]
fn an_operator_without_curvature_returns_the_right_hand_side_after_one_product() {
    let mut system = near_identity(1, 9);
    system.a = crate::matrix::Matrix::new(9, 9, |i, j| f64::from(u8::from(i == j)));
    let solve = neumann(&system, 0.0, 9);
    assert_eq!((solve.report.termination, solve.report.products), (Termination::Converged, 1));
    assert_eq!((solve.x, solve.report.residual_sq), (system.b, Some(0.0)));
}

#[test]
fn a_right_hand_side_of_zero_takes_no_product() {
    let mut system = near_identity(1, 6);
    system.b = vec![0.0; 6];
    let solve = neumann(&system, 0.5, 5);
    let report = solve.report;
    assert_eq!((report.termination, report.products), (Termination::Converged, 0));
    assert_eq!((solve.x, report.residual_sq), (vec![0.0; 6], Some(0.0)));
    assert_eq!((report.solution_sq, report.alignment), (0.0, 0.0));
    assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None));
}

#[test]
fn what_leaves_the_range_of_f32_is_not_finite() {
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut system = near_identity(2, 6);
        system.b[3] = bad;
        let report = neumann(&system, 0.1, 6).report;
        assert_eq!((report.termination, report.products), (Termination::NonFinite, 0), "{bad}");
        assert_ne!(report.residual_sq, Some(0.0), "{bad}");
    }
    // The curvature; the next term; the sum, whose terms are inside the range; and bᵀx alone.
    for (system, products) in [
        (scalar(1e30, 1e5), 1),
        (scalar(f64::NAN, 1.0), 1),
        (scalar(1e25, 1.0), 1),
        (scalar(0.0, 1.1e19), 2),
    ] {
        let report = neumann(&system, 0.0, 6).report;
        let found = (report.termination, report.products);
        assert_eq!(found, (Termination::NonFinite, products), "{}", system.name);
    }
}

#[test]
fn it_keeps_the_protocol() {
    let mut zero = near_identity(1, 4);
    zero.b = vec![0.0; 4];
    for (system, tolerance, limit) in [
        (near_identity(1, 4), 1e-4, 9),
        (spread(1, 5, 0.4, 1.6), 0.0, 3),
        (spread(1, 5, 0.5, 2.5), 0.0, 30),
        (scalar(1e30, 1e5), 0.0, 3),
        (zero, 0.5, 2),
    ] {
        let settings = NeumannSettings::new(tolerance, limit).unwrap();
        let choice = SolverSettings::Neumann(settings);
        let mut driver = linear(system.a.clone(), system.b.clone());
        let tape =
            record(Neumann::new(settings), &mut Linear(&mut driver), choice.facts().scalars(2));
        check(&tape);
        let mut driver = linear(system.a, system.b);
        let solver = Solver::new(choice, SolverMemory::default());
        let chosen = record(solver, &mut Linear(&mut driver), choice.facts().scalars(2));
        check(&chosen);
        assert_eq!(chosen.output, tape.output);
        assert_eq!(chosen.end.memory(), SolverMemory::default());
        let facts = choice.facts();
        assert!(facts.uses_products);
        assert_eq!((facts.basis, facts.basis_products, facts.scalars(100)), (0, 0, 4));
    }
}

#[test]
fn it_needs_a_tolerance_below_one_and_an_iteration() {
    let good = NeumannSettings::new(0.5, 1).unwrap();
    for bad in [-1.0, 1.0, f32::NAN, f32::INFINITY] {
        for (name, result) in [
            ("tolerance", NeumannSettings::new(bad, 5)),
            ("correction_tolerance", good.with_correction_tolerance(bad)),
        ] {
            let refused = result.unwrap_err();
            assert!(
                matches!(refused, ConfigError::OutOfRange { name: found, .. } if found == name)
            );
        }
    }
    assert_eq!(NeumannSettings::new(0.5, 0), Err(ConfigError::Zero { name: "iterations" }));
    // The sum of one term is still a term: `systems` has none that is shorter.
    assert_eq!(neumann(&systems::scalar(1.5, 1.0), 0.0, 1).x, [1.0]);
}
