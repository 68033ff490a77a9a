//! The promises of `Machine` for `recycled-cg`, alone and inside the machines above it.

use bissl_core::{
    Alternation, AlternationSettings, Bank, CgSettings, Completion, Coupling, Group, Hypergradient,
    HypergradientSettings, Linear, Machine, Pending, Progress, RecycledCg, RecycledCgSettings,
    Register, Reply, Request, Solver, SolverMemory, SolverSettings, Termination, Training, drive,
};

use crate::dense::{DenseDriver, banks};
use crate::matrix::distance;
use crate::precision;
use crate::protocol::{SGD, level, small};
use crate::quadratic::Quadratic;
use crate::recycled_series::{Series, curved, drifting, limited};
use crate::systems::{System, indefinite, positive_definite};
use crate::tape::{check, record};

fn settings(tolerance: f32, limit: u16, verify_every: u8) -> RecycledCgSettings {
    let stop = CgSettings::new(tolerance, limit).unwrap();
    RecycledCgSettings::new(stop, 4, verify_every).unwrap()
}

/// Converging, limited, evicting, trusting, negative early and late, and stepping without a
/// product.
fn cases() -> Vec<(System, RecycledCgSettings)> {
    let stop = CgSettings::new(0.0, 9).unwrap().with_correction_tolerance(0.1).unwrap();
    let free = |capacity| RecycledCgSettings::new(stop, capacity, 5).unwrap().extrapolating();
    vec![
        (positive_definite(1, 6), settings(1e-3, 9, 1)),
        (positive_definite(2, 9), settings(0.0, 3, 1)),
        (curved(1, 12, 0.2), settings(0.3, 5, 3)),
        (indefinite(3, 6), settings(0.0, 6, 1)),
        (indefinite(4, 6), settings(0.0, 6, 1)),
        (curved(1, 12, 0.02), free(4)),
        (curved(2, 12, 0.5), free(2)),
    ]
}

/// Slow and fast drift, no change at all, and nothing.
fn right_hand_sides(n: usize) -> Vec<Vec<f64>> {
    let mut all = drifting(5, n, 3, 0.2);
    all.push(all[2].clone());
    all.extend(drifting(6, n, 2, 1e-4));
    all.push(vec![0.0; n]);
    all
}

#[test]
fn every_solve_of_a_series_keeps_the_protocol() {
    let (mut ends, mut free) = (Vec::new(), 0);
    for (system, settings) in cases() {
        let mut series = Series::new(&system, settings);
        for b in right_hand_sides(system.b.len()) {
            series.driver = series.driver.with(Register::Residual, b);
            let machine = RecycledCg::new(settings, series.memory);
            let before = series.driver.clone();
            let tape = record(machine, &mut Linear(&mut series.driver), 16);
            check(&tape);
            let mut driver = before;
            let choice = Solver::new(SolverSettings::RecycledCg(settings), series.memory);
            let by_choice = record(choice, &mut Linear(&mut driver), 16);
            check(&by_choice);
            assert_eq!(by_choice.output, tape.output);
            assert_eq!(by_choice.end.memory(), tape.end.memory());
            series.memory = tape.end.memory();
            let Pending::Done(report) = tape.end.pending() else { panic!("no end") };
            ends.push(report.termination);
            free += u32::from(report.termination == Termination::Unverified && report.products > 0);
        }
    }
    assert!(free > 0, "no solve took a free step");
    use Termination::{Converged, IterationLimit, NegativeCurvature, Unverified};
    for end in [Converged, IterationLimit, NegativeCurvature, Unverified] {
        assert!(ends.contains(&end), "no solve ended in {end:?}");
    }
}

/// A device pays for every scalar that it sends back: four before the first product, two with each,
/// and one more where a free step may be taken.
#[test]
fn a_solve_reads_scalars_twice_a_product() {
    for (system, settings) in cases() {
        let mut series = Series::new(&system, settings);
        for b in right_hand_sides(system.b.len()) {
            let empty = series.memory.count() == 0;
            let solved = series.solve(&b);
            let products = usize::from(solved.solve.report.products);
            let before = if empty { 1 } else { 4 };
            let (name, each) = (&system.name, if settings.extrapolates() { 3 } else { 2 });
            assert!(solved.reads <= before + each * products, "{name}: {}", solved.reads);
        }
    }
}

#[test]
fn the_longest_reply_is_the_one_that_is_stated() {
    for (system, settings) in cases() {
        let stated = SolverSettings::RecycledCg(settings).facts().scalars(2);
        let mut series = Series::new(&system, settings);
        let mut longest = 0;
        for b in right_hand_sides(system.b.len()) {
            series.driver = series.driver.with(Register::Residual, b);
            let machine = RecycledCg::new(settings, series.memory);
            let tape = record(machine, &mut Linear(&mut series.driver), stated);
            for exchange in &tape.exchanges {
                if let Reply::Scalars(count) = exchange.reply {
                    longest = longest.max(count as usize);
                }
            }
            series.memory = tape.end.memory();
        }
        assert!(longest <= stated, "{}: {longest} of {stated}", system.name);
    }
}

fn with_banks(seed: u64) -> DenseDriver<Quadratic> {
    small(seed).unwritten(5, &banks())
}

fn hypergradient(solver: SolverSettings) -> HypergradientSettings {
    HypergradientSettings::new(Coupling::Proximity { weight: 0.5 }, 0.5, 0.5, solver).unwrap()
}

#[test]
fn hypergradients_hand_the_memory_on_and_keep_the_protocol() {
    let solver = SolverSettings::RecycledCg(settings(1e-4, 9, 1));
    let exact = SolverSettings::ConjugateGradient(CgSettings::new(1e-7, 60).unwrap());
    let mut driver = with_banks(1);
    driver.problem.linearized = Some(0);
    let mut memory = SolverMemory::default();
    for index in 0..4 {
        let machine = Hypergradient::new(hypergradient(solver), index).with_memory(memory);
        let tape = record(machine, &mut Training(&mut driver), 16);
        check(&tape);
        memory = tape.end.memory();
        assert!(memory.count() > 0, "step {index}");
        let found = driver.read(Register::Solution).to_vec();
        let mut alone = with_banks(1);
        alone.problem.linearized = Some(0);
        let mut machine = Hypergradient::new(hypergradient(exact), index);
        let end = drive(&mut machine, &mut Training(&mut alone), &mut [f32::NAN; 8]).unwrap();
        assert!(matches!(end, Progress::Done(_)));
        let error = distance(&found, alone.read(Register::Solution));
        assert!(error <= 2e-4, "step {index}: {error:e}");
    }
}

fn stage(solver: SolverSettings) -> Alternation {
    let settings =
        AlternationSettings::new(3, level(SGD, 2, 3), level(SGD, 4, 3), hypergradient(solver));
    Alternation::new(settings.unwrap())
}

/// Kept within an alternation, dropped at each new linearisation.
#[test]
fn a_stage_recycles_within_each_alternation_only() {
    let solver = SolverSettings::RecycledCg(settings(1e-5, 9, 1));
    let mut driver = with_banks(4);
    let tape = record(stage(solver), &mut Training(&mut driver), 16);
    check(&tape);
    let mut counts: Vec<Vec<u8>> = Vec::new();
    for exchange in &tape.exchanges {
        match exchange.request {
            Some(Request::Linearize { .. }) => counts.push(Vec::new()),
            // The first request of a solve.
            Some(Request::BasisDots { bank: Bank::Basis, count, .. }) => {
                counts.last_mut().unwrap().push(count);
            }
            _ => {}
        }
    }
    assert_eq!(counts.len(), 3);
    for within in counts {
        assert_eq!((within.len(), within[0]), (4, 0), "{within:?}");
        assert!(within[1..].iter().all(|count| *count > 0), "{within:?}");
    }
}

#[test]
fn a_stage_ends_where_one_with_exact_solves_does() {
    let solvers = [
        SolverSettings::RecycledCg(settings(1e-6, 30, 1)),
        SolverSettings::ConjugateGradient(CgSettings::new(1e-7, 60).unwrap()),
    ];
    let [recycled, exact] = solvers.map(|solver| {
        let mut driver = with_banks(5);
        let (mut machine, mut events) = (stage(solver), 0);
        loop {
            match drive(&mut machine, &mut Training(&mut driver), &mut [f32::NAN; 8]).unwrap() {
                Progress::Event(_) => events += 1,
                Progress::Done(end) => {
                    assert_eq!((end, events), (Completion::Finished, 3 * (2 + 4 + 1)));
                    return driver;
                }
            }
        }
    });
    for group in [Group::LowerBackbone, Group::UpperBackbone, Group::DownstreamHead] {
        let parameter = Register::Parameter(group);
        let error = distance(recycled.read(parameter), exact.read(parameter));
        assert!(error <= precision::RECURRENCE, "{group:?}: {error:e}");
    }
}

/// A solver's memory says nothing to a solver that keeps nothing.
#[test]
fn solvers_without_a_bank_begin_anew() {
    let system = positive_definite(3, 6);
    let mut series = Series::new(&system, limited(2, 4));
    series.solve(&system.b);
    assert_eq!(series.memory.count(), 2);
    for choice in [
        SolverSettings::Identity,
        SolverSettings::ConjugateGradient(CgSettings::new(0.1, 5).unwrap()),
    ] {
        assert_eq!(Solver::new(choice, series.memory).memory(), SolverMemory::default());
        assert_eq!(choice.facts().vectors(), 0);
    }
    let recycled = SolverSettings::RecycledCg(limited(2, 4));
    let facts = recycled.facts();
    assert_eq!((facts.basis, facts.basis_products), (4, 4));
    assert!(facts.uses_products);
    assert_eq!(Solver::new(recycled, series.memory).memory(), series.memory);
}
