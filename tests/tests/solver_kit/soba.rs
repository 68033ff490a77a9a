//! `soba`: one step a solve towards a solution that it keeps in sight.

use bissl_core::{
    Alternation, AlternationSettings, Bank, CgSettings, ConfigError, Coupling,
    HypergradientSettings, Linear, RecycledCgSettings, Register, Request, Soba, SobaSettings,
    Solver, SolverMemory, SolverSettings, Termination, Training,
};

use crate::dense::{DenseDriver, linear};
use crate::laws;
use crate::matrix::{Matrix, add, distance, norm};
use crate::precision;
use crate::protocol::{SGD, level, small};
use crate::solve::{Solve, watch_on};
use crate::systems::{self, System, block_coupled, near_identity, positive_definite, scalar};
use crate::tape::{Tape, check, record};

/// Solves on the same registers, the memory going from one to the next.
struct Series {
    driver: DenseDriver<Matrix>,
    settings: SobaSettings,
    memory: SolverMemory,
}

impl Series {
    fn new(system: &System, step: f32) -> Self {
        let driver = linear(system.a.clone(), system.b.clone());
        let settings = SobaSettings::new(step).unwrap();
        Self { driver, settings, memory: SolverMemory::default() }
    }

    /// One more solve, with this system's A and b.
    fn solve(&mut self, system: &System) -> Solve {
        self.driver.problem = system.a.clone();
        self.driver = self.driver.clone().with(Register::Residual, system.b.clone());
        let mut machine = Soba::new(self.settings, self.memory);
        let solve = watch_on(&mut self.driver, &mut machine);
        self.memory = machine.memory();
        solve
    }
}

/// `x + ρ (b − A x)`.
fn stepped(system: &System, step: f32, x: &[f64]) -> Vec<f64> {
    add(x, f64::from(step), &system.residual(x))
}

#[test]
fn every_solve_is_one_step_from_where_the_last_one_ended() {
    for (seed, n) in (0..10).flat_map(|seed| [2, 7, 30].map(|n| (seed, n))) {
        for (system, step) in [(near_identity(seed, n), 1.0), (block_coupled(seed, n), 0.15)] {
            let mut series = Series::new(&system, step);
            let mut expected = system.b.clone();
            for _ in 0..6 {
                expected = stepped(&system, step, &expected);
                let solve = series.solve(&system);
                assert!(distance(&solve.x, &expected) <= precision::DENSE, "{}", system.name);
                assert_eq!(solve.report.products, 1);
                assert_eq!(series.memory.count(), 1);
                let kept = series.driver.read(Register::Banked(Bank::Basis, 0));
                assert_eq!(kept, solve.x, "{}", system.name);
                assert_eq!(series.driver.read(Register::Residual), system.b);
            }
        }
    }
}

/// ρ below 2 over the largest eigenvalue.
#[test]
fn a_fixed_system_is_solved_in_the_long_run() {
    for seed in 0..10 {
        for (system, solves) in [(near_identity(seed, 20), 40), (block_coupled(seed, 20), 400)] {
            let step = (1.8 / system.spectrum.1).min(1.0) as f32;
            let mut series = Series::new(&system, step);
            let last = (0..solves).map(|_| series.solve(&system)).last().unwrap();
            let error = distance(&last.x, &system.a.solve(&system.b));
            assert!(error <= precision::SOLUTION, "{}: error {error:e}", system.name);
        }
    }
}

#[test]
fn a_step_beyond_two_over_the_largest_eigenvalue_grows() {
    let system = systems::scaled_solution(1, 20);
    let mut series = Series::new(&system, 1.0);
    let sizes: Vec<f64> = (0..6).map(|_| norm(&series.solve(&system).x)).collect();
    assert!(sizes.windows(2).all(|pair| pair[1] > 5.0 * pair[0]), "{sizes:?}");
}

/// The right-hand side turns slowly; the kept x stays nearer to the solution than x = b.
#[test]
fn a_solution_that_moves_slowly_is_followed() {
    for seed in 0..10 {
        let mut system = block_coupled(seed, 20);
        let other = block_coupled(seed + 100, 20).b;
        let mut series = Series::new(&system, 0.2);
        let mut last = series.solve(&system);
        for _ in 0..100 {
            system.b = add(&system.b, 0.003, &other);
            last = series.solve(&system);
        }
        let exact = system.a.solve(&system.b);
        let (error, identity) = (distance(&last.x, &exact), distance(&system.b, &exact));
        assert!(error < 0.1 * identity, "{}: {error:e}, x = b {identity:e}", system.name);
    }
}

#[test]
fn an_exact_solution_stays_to_the_last_bit_and_is_verified() {
    let system = System {
        a: Matrix::new(2, 2, |i, j| [[2.0, 1.0], [1.0, 4.0]][i][j]),
        b: vec![2.0, 4.5],
        spectrum: (1.5, 4.5),
        name: "dyadic".into(),
    };
    let exact = vec![0.5, 1.0];
    let mut series = Series::new(&system, 0.3);
    series.solve(&system);
    series.driver = series.driver.clone().with(Register::Banked(Bank::Basis, 0), exact.clone());
    let solve = series.solve(&system);
    assert_eq!(solve.x, exact);
    let report = solve.report;
    assert_eq!((report.termination, report.residual_sq), (Termination::Converged, Some(0.0)));
    assert_eq!((report.products, report.solution_sq, report.alignment), (1, 1.25, 5.5));
}

#[test]
fn the_report_describes_the_x_that_is_returned_and_claims_no_residual() {
    for seed in 0..10 {
        let system = positive_definite(seed, 13);
        let mut series = Series::new(&system, 0.05);
        for _ in 0..4 {
            let solve = series.solve(&system);
            let report = solve.report;
            assert_eq!(report.termination, Termination::IterationLimit, "{}", system.name);
            assert_eq!((report.residual_sq, report.residual()), (None, None));
            laws::report_without_residual_describes(&system, &solve);
        }
    }
}

#[test]
fn zero_is_a_start_like_any_other() {
    let mut system = positive_definite(1, 5);
    let mut zero = system.clone();
    zero.b = vec![0.0; 5];
    let mut series = Series::new(&zero, 0.05);
    let solve = series.solve(&zero);
    let report = solve.report;
    assert_eq!((report.termination, report.residual_sq), (Termination::Converged, Some(0.0)));
    assert_eq!((solve.x, report.rayleigh_min, report.rayleigh_max), (vec![0.0; 5], None, None));
    // The next right-hand side is not zero, the start still is.
    system.name += " from zero";
    let expected = stepped(&system, 0.05, &[0.0; 5]);
    let solve = series.solve(&system);
    assert_eq!(solve.report.termination, Termination::IterationLimit);
    assert!(distance(&solve.x, &expected) <= precision::DENSE);
}

#[test]
fn a_solve_that_is_not_finite_drops_what_was_kept() {
    let sound = scalar(1.5, 2.0);
    // b; the curvature; a product that has no number; the residual; x itself; bᵀx.
    for bad in [
        scalar(1.5, f64::INFINITY),
        scalar(1e39, 2.0),
        scalar(f64::NAN, 2.0),
        scalar(1e30, 2.0),
        scalar(1.5, 1e30),
    ] {
        let mut series = Series::new(&sound, 0.5);
        series.solve(&sound);
        let report = series.solve(&bad).report;
        let found = (report.termination, report.products, report.residual_sq);
        assert_eq!(found, (Termination::NonFinite, 1, None), "{}", bad.name);
        assert_eq!(series.memory, SolverMemory::default(), "{}", bad.name);
        let again = series.solve(&sound).x;
        assert_eq!(again, stepped(&sound, 0.5, &sound.b), "{}", bad.name);
    }
}

#[test]
fn only_its_memory_outlives_a_linearisation() {
    let soba = SolverSettings::Soba(SobaSettings::new(0.5).unwrap());
    let stop = CgSettings::new(0.0, 2).unwrap();
    let recycled = SolverSettings::RecycledCg(RecycledCgSettings::new(stop, 3, 1).unwrap());
    let system = positive_definite(1, 6);
    for (settings, count) in [(soba, 1), (recycled, 0)] {
        let mut solver = Solver::new(settings, SolverMemory::default());
        watch_on(&mut linear(system.a.clone(), system.b.clone()), &mut solver);
        assert!(solver.memory().count() > 0);
        let kept = solver.memory().relinearized(&settings);
        assert_eq!(kept.count(), count);
        assert_eq!(kept == solver.memory(), count > 0);
        assert_eq!(kept == SolverMemory::default(), count == 0);
    }
}

/// Where each solve of a bilevel stage of two alternations starts from.
fn starts(solver: SolverSettings) -> (Tape<Alternation>, Vec<Register>) {
    let coupling = Coupling::Proximity { weight: 0.5 };
    let hypergradient = HypergradientSettings::new(coupling, 0.5, 0.5, solver).unwrap();
    let (lower, upper) = (level(SGD, 2, 2), level(SGD, 2, 2));
    let settings = AlternationSettings::new(2, lower, upper, hypergradient).unwrap();
    let mut driver = small(4).unwritten(5, &[Register::Banked(Bank::Basis, 0)]);
    let tape = record(Alternation::new(settings), &mut Training(&mut driver), 6);
    let starts = tape
        .exchanges
        .iter()
        .filter_map(|exchange| match exchange.request {
            Some(Request::Copy { src, dst: Register::Solution }) => Some(src),
            _ => None,
        })
        .collect();
    (tape, starts)
}

#[test]
fn over_a_bilevel_stage_only_the_first_solve_starts_from_the_right_hand_side() {
    let (tape, starts) = starts(SolverSettings::Soba(SobaSettings::new(0.4).unwrap()));
    let kept = Register::Banked(Bank::Basis, 0);
    assert_eq!(starts, [Register::Residual, kept, kept, kept]);
    check(&tape);
    let products = tape.exchanges.iter();
    let products = products.filter(|e| matches!(e.request, Some(Request::Product { .. })));
    assert_eq!(products.count(), 4, "one a solve");
}

#[test]
fn it_keeps_the_protocol() {
    let system = positive_definite(1, 4);
    let settings = SobaSettings::new(0.1).unwrap();
    let choice = SolverSettings::Soba(settings);
    let facts = choice.facts();
    assert!(facts.uses_products);
    assert_eq!((facts.basis, facts.basis_products, facts.scalars(100)), (1, 0, 5));
    let mut driver = linear(system.a.clone(), system.b.clone());
    let mut memory = SolverMemory::default();
    // The last product is not finite.
    let huge = system.a.scaled_and_shifted(1e39, 0.0);
    for (a, b) in [(&system.a, 1.0), (&system.a, 2.0), (&huge, 3.0)] {
        driver.problem = a.clone();
        driver = driver.with(Register::Residual, vec![b; 4]);
        let mut other = driver.clone();
        let tape = record(Soba::new(settings, memory), &mut Linear(&mut driver), 5);
        check(&tape);
        let chosen = record(Solver::new(choice, memory), &mut Linear(&mut other), 5);
        check(&chosen);
        assert_eq!(chosen.output, tape.output);
        assert_eq!(chosen.end.memory(), tape.end.memory());
        memory = tape.end.memory();
        assert_eq!(memory.count(), u8::from(b < 3.0));
    }
}

#[test]
fn it_needs_a_step_between_zero_and_one() {
    for bad in [0.0, -0.5, 1.001, f32::NAN, f32::INFINITY] {
        let refused = SobaSettings::new(bad).unwrap_err();
        assert!(matches!(refused, ConfigError::OutOfRange { name: "step", .. }), "{refused}");
    }
    assert!(SobaSettings::new(1.0).is_ok() && SobaSettings::new(f32::MIN_POSITIVE).is_ok());
}
