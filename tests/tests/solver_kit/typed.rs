//! A machine over one solver against the same machine over a `Solver`, which may be any.

use std::mem::size_of;

use bissl_core::{
    Alternation, AlternationSettings, Bank, CgSettings, ConfigError, ConjugateGradient, Coupling,
    Group, Hypergradient, HypergradientSettings, Identity, Layerwise, LayerwiseSettings,
    LinearSolver, Mfac, MfacSettings, Neumann, NeumannSettings, Nystrom, NystromSettings,
    RecycledCg, RecycledCgSettings, Register, Reply, Request, Soba, SobaSettings, Solver,
    SolverFacts, SolverSettings, Training,
};

use crate::dense::{DenseDriver, banks};
use crate::protocol::{LARS, SGD, level, small};
use crate::quadratic::Quadratic;
use crate::tape::{Tape, check, record};

const BY_PROXIMITY: Coupling = Coupling::Proximity { weight: 0.5 };

fn driver(seed: u64) -> DenseDriver<Quadratic> {
    use Register::{Direction, Product, Residual, Solution};
    [Solution, Direction, Product, Residual]
        .into_iter()
        .fold(small(seed), |driver, register| driver.with_segments(register, &[2, 3]))
        .unwritten(5, &banks())
}

fn hypergradient<S: LinearSolver>(solver: S::Settings) -> HypergradientSettings<S> {
    HypergradientSettings::with_solver(BY_PROXIMITY, 0.7, 0.4, solver).unwrap()
}

/// Three alternations, so that whatever is kept from solve to solve is dropped, or kept, twice.
fn stage<S: LinearSolver>(solver: S::Settings) -> Alternation<S> {
    let (lower, upper) = (level(SGD, 3, 3), level(LARS, 4, 3));
    Alternation::new(AlternationSettings::new(3, lower, upper, hypergradient(solver)).unwrap())
}

/// What a conversation looked like from outside, to the bit: what was pending, the workspace handed
/// over and given back.
fn seen<M>(tape: &Tape<M>) -> Vec<(&str, [Vec<u32>; 2])> {
    let bits = |scalars: &[f32]| scalars.iter().map(|x| x.to_bits()).collect();
    let exchanges = tape.exchanges.iter();
    exchanges.map(|e| (e.pending.as_str(), [bits(&e.given), bits(&e.returned)])).collect()
}

/// What a stage asks for is what the solver's facts say.
fn stays_within_its_facts<M>(tape: &Tape<M>, facts: SolverFacts) {
    let (mut products, mut longest, mut vectors) = (0, 0, [0; 2]);
    for exchange in &tape.exchanges {
        match exchange.request {
            Some(Request::Product { .. }) => products += 1,
            // Whatever is kept was written once.
            Some(
                Request::Copy { dst: Register::Banked(bank, i), .. }
                | Request::Axpby { y: Register::Banked(bank, i), .. },
            ) => {
                let count = &mut vectors[usize::from(bank == Bank::BasisProduct)];
                *count = (i + 1).max(*count);
            }
            _ => {}
        }
        if let Reply::Scalars(count) = exchange.reply {
            longest = count.max(longest);
        }
    }
    assert_eq!(products > 0, facts.uses_products, "{facts:?}");
    assert_eq!(vectors, [facts.basis, facts.basis_products], "{facts:?}");
    assert!(longest as usize <= facts.scalars(2), "{longest}, {facts:?}");
}

/// The same questions over a whole stage; and the typed storey below it keeps the protocol.
fn asks_the_same<S: LinearSolver>(typed: S::Settings, choice: SolverSettings) {
    for seed in 0..3 {
        let (mut one, mut any) = (driver(seed), driver(seed));
        let found = record(stage::<S>(typed), &mut Training(&mut one), 16);
        let expected = record(stage::<Solver>(choice), &mut Training(&mut any), 16);
        assert_eq!(seen(&found), seen(&expected), "{choice:?}, seed {seed}");
        stays_within_its_facts(&found, choice.facts());
        assert_eq!((found.output, expected.output), ("Finished".into(), "Finished".into()));
        for group in [Group::LowerBackbone, Group::UpperBackbone, Group::DownstreamHead] {
            let parameter = Register::Parameter(group);
            assert_eq!(one.read(parameter), any.read(parameter), "{choice:?}, seed {seed}");
        }
    }
    let mut driver = driver(3);
    driver.problem.linearized = Some(0);
    let machine = Hypergradient::new(hypergradient::<S>(typed), 2);
    check(&record(machine, &mut Training(&mut driver), 16));
}

#[test]
fn a_typed_stage_asks_what_the_chosen_one_asks() {
    let cg = CgSettings::new(1e-3, 4).unwrap();
    asks_the_same::<ConjugateGradient>(cg, SolverSettings::ConjugateGradient(cg));
    asks_the_same::<Identity>((), SolverSettings::Identity);
    let neumann = NeumannSettings::new(1e-3, 6).unwrap();
    asks_the_same::<Neumann>(neumann, SolverSettings::Neumann(neumann));
    let layerwise = LayerwiseSettings::new(4).unwrap();
    asks_the_same::<Layerwise>(layerwise, SolverSettings::Layerwise(layerwise));
}

/// Those that keep something in the banks, and so go through the memory between two solves.
#[test]
fn a_typed_stage_remembers_what_the_chosen_one_remembers() {
    let stop = CgSettings::new(1e-3, 4).unwrap();
    let recycled = RecycledCgSettings::new(stop, 3, 2).unwrap();
    asks_the_same::<RecycledCg>(recycled, SolverSettings::RecycledCg(recycled));
    let mfac = MfacSettings::new(3, 0.5).unwrap();
    asks_the_same::<Mfac>(mfac, SolverSettings::Mfac(mfac));
    let nystrom = NystromSettings::new(2).unwrap();
    asks_the_same::<Nystrom>(nystrom, SolverSettings::Nystrom(nystrom));
    let soba = SobaSettings::new(0.3).unwrap();
    asks_the_same::<Soba>(soba, SolverSettings::Soba(soba));
}

#[test]
fn a_typed_solver_that_does_not_fit_the_coupling_is_refused_like_the_chosen_one() {
    let refused = |coupling, typed: Result<(), ConfigError>, choice: SolverSettings| {
        let chosen = HypergradientSettings::new(coupling, 0.1, 0.1, choice);
        assert_eq!(typed, Err(chosen.unwrap_err()), "{choice:?}, {coupling:?}");
    };
    for (coupling, proximity) in [(Coupling::General, 0.5), (BY_PROXIMITY, 0.25)] {
        let mfac = MfacSettings::new(3, proximity).unwrap();
        let typed = HypergradientSettings::<Mfac>::with_solver(coupling, 0.1, 0.1, mfac);
        refused(coupling, typed.map(|_| ()), SolverSettings::Mfac(mfac));
    }
    let nystrom = NystromSettings::new(2).unwrap();
    let typed = HypergradientSettings::<Nystrom>::with_solver(Coupling::General, 0.1, 0.1, nystrom);
    refused(Coupling::General, typed.map(|_| ()), SolverSettings::Nystrom(nystrom));
}

/// Nothing of the other solvers is in it, nor a memory that it has no use for.
#[test]
fn a_typed_machine_is_smaller() {
    assert!(size_of::<Alternation<ConjugateGradient>>() < size_of::<Alternation>());
    assert!(size_of::<Hypergradient<ConjugateGradient>>() < size_of::<Hypergradient>());
    assert_eq!(size_of::<<ConjugateGradient as LinearSolver>::Memory>(), 0);
}

/// A stage over `Solver` keeps the form that files and traces have; a typed one does not name its
/// solver.
#[test]
fn a_typed_machine_stores_its_own_solver_only() {
    let cg = CgSettings::new(1e-3, 4).unwrap();
    let typed = serde_json::to_value(stage::<ConjugateGradient>(cg)).unwrap();
    let chosen =
        serde_json::to_value(stage::<Solver>(SolverSettings::ConjugateGradient(cg))).unwrap();
    let solver = |value: &serde_json::Value| value["settings"]["hypergradient"]["solver"].clone();
    assert_eq!(solver(&chosen)["ConjugateGradient"], solver(&typed));
    assert!(solver(&typed).is_object());
    assert!(typed["memory"].is_null() && chosen["memory"].is_object());
}
