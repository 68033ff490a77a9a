//! `recycled-cg` against what its iterates are by definition, each solve on its own and in series.

use bissl_core::{Bank, Termination};

use crate::laws;
use crate::matrix::{add, distance, dot, gaussian, norm};
use crate::precision;
use crate::recycled_series::{Series, Solved, curved, drifting, galerkin, limited, until};
use crate::systems::{self, DIMENSIONS, System, definite, seeds};

/// With empty banks and room for all directions it is conjugate gradients.
#[test]
fn a_first_solve_obeys_every_law_of_conjugate_gradients() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            for (tolerance, limit) in [(1e-3, 16), (0.0, 3.min(n))] {
                let stop = (f64::from(tolerance as f32), limit);
                let settings = until(tolerance as f32, limit as u16, 16);
                let solved = Series::new(&system, settings).solve(&system.b);
                laws::all(&system, &solved.solve, stop).unwrap();
                assert!(solved.projection.iter().all(|x| *x == 0.0), "{}", system.name);
            }
        }
    }
}

#[test]
fn n_dimensions_take_n_products() {
    for n in [1, 2, 3, 4, 5, 6, 8, 10] {
        for seed in 0..40 {
            let system = systems::positive_definite(seed, n);
            let solve = Series::new(&system, limited(n as u16, 16)).solve(&system.b).solve;
            let residual = norm(&system.residual(&solve.x)) / norm(&system.b);
            assert!(residual <= precision::N_STEPS, "{}: residual {residual:e}", system.name);
        }
    }
}

/// Once all directions are kept, any right-hand side is solved by the projection.
#[test]
fn full_banks_solve_without_a_product() {
    for n in [2, 4, 8] {
        for seed in 0..10 {
            let system = systems::positive_definite(seed, n);
            let mut series = Series::new(&system, limited(n as u16, 16));
            series.solve(&system.b);
            assert_eq!(usize::from(series.memory.count()), n, "{}", system.name);
            let b = gaussian(&mut crate::matrix::draws(seed, 42), n);
            let solved = series.solve(&b);
            let residual = norm(&solved.system.residual(&solved.projection)) / norm(&b);
            assert!(residual <= precision::N_STEPS, "{}: residual {residual:e}", system.name);
        }
    }
}

fn systems_in_series() -> Vec<System> {
    let of = |seed| {
        [7, 30, 64].into_iter().flat_map(move |n| {
            [
                systems::positive_definite(seed, n),
                systems::near_identity(seed, n),
                systems::block_coupled(seed, n),
                curved(seed, n, 20.0),
            ]
        })
    };
    (0..3).flat_map(of).collect()
}

/// Right-hand sides of a series: unrelated ones, and ones that drift slowly or fast.
fn right_hand_sides(system: &System, seed: u64) -> Vec<Vec<Vec<f64>>> {
    let n = system.b.len();
    let mut draws = crate::matrix::draws(seed, 43);
    let unrelated = (0..5).map(|_| gaussian(&mut draws, n)).collect();
    vec![
        unrelated,
        drifting(seed, n, 5, 0.005),
        drifting(seed, n, 5, 0.03),
        drifting(seed, n, 5, 0.3),
    ]
}

/// Every solve of every series that keeps all its directions, with the series behind it.
fn each_solve(limit: u16, mut check: impl FnMut(&Solved, &Series, &[f64])) {
    for (seed, system) in (0..).zip(systems_in_series()) {
        for series_of_b in right_hand_sides(&system, seed) {
            let mut series = Series::new(&system, limited(limit, 16));
            for b in series_of_b {
                let prediction = series.prediction(&b);
                let solved = series.solve(&b);
                check(&solved, &series, &prediction);
            }
        }
    }
}

/// The span grows by b and then by each residual; the iterate is its Galerkin projection.
#[test]
fn every_iterate_is_the_best_of_its_span() {
    let mut checked = 0;
    each_solve(3, |solved, _, _| {
        let system = &solved.system;
        let mut span = solved.before.clone();
        if !span.is_empty() {
            let error = distance(&solved.projection, &galerkin(system, &span));
            assert!(error <= precision::KRYLOV, "{}: projection off by {error:e}", system.name);
        }
        span.push(system.b.clone());
        for (k, iterate) in solved.solve.iterates.iter().enumerate() {
            let error = distance(iterate, &galerkin(system, &span));
            assert!(error <= precision::KRYLOV, "{}: iterate {k} off by {error:e}", system.name);
            span.push(system.residual(iterate));
            checked += 1;
        }
    });
    assert!(checked > 1000, "only {checked} iterates");
}

#[test]
fn the_error_in_the_norm_of_a_never_grows() {
    each_solve(3, |solved, _, _| {
        let system = &solved.system;
        let exact = system.a.solve(&system.b);
        let error_of = |x: &[f64]| {
            let error = add(x, -1.0, &exact);
            dot(&error, &system.a.times(&error)).sqrt()
        };
        let floor = precision::SCALAR * error_of(&vec![0.0; exact.len()]);
        let mut last = error_of(&solved.projection);
        for iterate in &solved.solve.iterates {
            let error = error_of(iterate);
            assert!(error <= last + floor, "{}: {error:e} after {last:e}", system.name);
            last = error;
        }
    });
}

#[test]
fn the_report_describes_the_returned_vector() {
    each_solve(2, |solved, _, _| {
        laws::report_describes_norms(&solved.system, &solved.solve).unwrap();
        laws::report_describes_alignment(&solved.system, &solved.solve).unwrap();
        laws::report_describes_products(&solved.system, &solved.solve).unwrap();
        laws::returns_its_last_iterate(&solved.system, &solved.solve).unwrap();
        assert_eq!(solved.solve.report.termination, Termination::IterationLimit);
    });
}

#[test]
fn kept_directions_are_conjugate_and_their_products_are_theirs() {
    each_solve(3, |solved, series, _| {
        let name = &solved.system.name;
        let error = series.conjugacy_error();
        assert!(error <= precision::CONJUGACY, "{name}: PᵀAP is off by {error:e}");
        let (basis, products) = (series.bank(Bank::Basis), series.bank(Bank::BasisProduct));
        for (p, product) in basis.iter().zip(&products) {
            let error = distance(product, &solved.system.a.times(p));
            assert!(error <= precision::SCALAR, "{name}: AP is off by {error:e}");
        }
    });
}

/// The first iterate lies on the line from the projection to the prediction.
#[test]
fn the_first_step_goes_towards_the_prediction() {
    each_solve(1, |solved, _, prediction| {
        let towards = add(prediction, -1.0, &solved.projection);
        let b = &solved.system.b;
        if norm(&towards) <= 2e-3 * norm(b) {
            // b lies in the span; the first direction is the residual.
            return;
        }
        let step = add(&solved.solve.iterates[0], -1.0, &solved.projection);
        let length = dot(&step, &towards) / dot(&towards, &towards);
        // Rounding is that of the vectors; the part that is left of them may be much smaller.
        let error = norm(&add(&step, -length, &towards)) / norm(&solved.system.b);
        assert!(error <= precision::SOLUTION, "{}: {error:e} beside the line", solved.system.name);
    });
}
