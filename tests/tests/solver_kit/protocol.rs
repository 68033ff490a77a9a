//! The promises of `Machine`, for every machine, at every state of whole runs.
//!
//! (`Update` cannot be built from outside; its own half of the protocol is tested in the core.)

use bissl_core::{
    Alternation, AlternationSettings, CgSettings, ConjugateGradient, Coupling, Descent,
    DescentSettings, DescentStep, Evaluation, Group, Hypergradient, HypergradientSettings,
    Identity, Level, Linear, Optimizer, Register, Request, Schedule, Solver, SolverMemory,
    SolverSettings, Training,
};

use crate::dense::{DenseDriver, linear};
use crate::quadratic::{Quadratic, bilevel};
use crate::ridge::{Ridge, RidgeProblem};
use crate::systems::{System, indefinite, positive_definite};
use crate::tape::{check, record};

pub(crate) const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 };
pub(crate) const LARS: Optimizer =
    Optimizer::Lars { momentum: 0.9, weight_decay: 0.01, trust: 0.02 };
pub(crate) const ADAMW: Optimizer =
    Optimizer::Adamw { beta1: 0.9, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.1 };

fn cg(tolerance: f32, limit: u16) -> SolverSettings {
    SolverSettings::ConjugateGradient(CgSettings::new(tolerance, limit).unwrap())
}

/// Converging, limited, negative early and late, and b = 0.
fn solves() -> Vec<(System, CgSettings)> {
    let mut zero = positive_definite(1, 3);
    zero.b = vec![0.0; 3];
    let cases = [
        (positive_definite(1, 4), 1e-3, 9),
        (positive_definite(2, 6), 0.0, 3),
        (indefinite(3, 6), 0.0, 6),
        (indefinite(4, 6), 0.0, 6),
        (zero, 0.5, 1),
    ];
    cases.map(|(system, tol, limit)| (system, CgSettings::new(tol, limit).unwrap())).to_vec()
}

/// A small bilevel problem with two parameter tensors in each backbone.
pub(crate) fn small(seed: u64) -> DenseDriver<Quadratic> {
    let mut problem = Quadratic::new(seed, &[0.2, 0.5, 1.0, 2.0, 3.0], 2);
    problem.batch_noise = 0.3;
    problem.linearized = None;
    [Group::LowerBackbone, Group::UpperBackbone].into_iter().fold(
        bilevel(problem, seed),
        |driver, group| {
            driver
                .with_segments(Register::Parameter(group), &[2, 3])
                .with_segments(Register::Momentum(group), &[2, 3])
        },
    )
}

pub(crate) fn level(optimizer: Optimizer, steps: u32, alternations: u32) -> Level {
    let schedule = Schedule::new(0.1, 1, steps * alternations, 0.01).unwrap();
    Level { steps, optimizer, schedule, clip: Some(0.5) }
}

#[test]
fn conjugate_gradients_keep_the_protocol() {
    for (system, settings) in solves() {
        let mut driver = linear(system.a, system.b);
        check(&record(ConjugateGradient::new(settings), &mut Linear(&mut driver), 6));
    }
}

#[test]
fn identity_keeps_the_protocol() {
    for (system, _) in solves() {
        let mut driver = linear(system.a, system.b);
        check(&record(Identity::new(), &mut Linear(&mut driver), 6));
    }
}

#[test]
fn the_choice_of_a_solver_keeps_the_protocol() {
    for (system, settings) in solves() {
        for choice in [SolverSettings::Identity, SolverSettings::ConjugateGradient(settings)] {
            let mut driver = linear(system.a.clone(), system.b.clone());
            check(&record(
                Solver::new(choice, SolverMemory::default()),
                &mut Linear(&mut driver),
                6,
            ));
        }
    }
}

#[test]
fn hypergradients_keep_the_protocol() {
    let proximity = Coupling::Proximity { weight: 0.5 };
    for (gamma, solver) in [
        (1.0, cg(1e-3, 9)),
        (0.0, cg(0.0, 2)),
        (0.5, SolverSettings::Identity),
        (0.0, SolverSettings::Identity),
    ] {
        let settings = HypergradientSettings::new(proximity, 0.5, gamma, solver).unwrap();
        let mut driver = small(1);
        driver.problem.linearized = Some(0);
        check(&record(Hypergradient::new(settings, 3), &mut Training(&mut driver), 6));
    }
}

#[test]
fn hypergradients_of_general_problems_keep_the_protocol() {
    for gamma in [0.0, 0.7] {
        let ridge = Ridge::new(1, 4);
        let (lower, upper) = (ridge.solution(&[0.5; 4]), vec![0.5; 4]);
        let problem = RidgeProblem { ridge, weights_are_upper: true };
        let mut driver = crate::ridge::driver(problem, lower, upper, 0.0);
        let settings =
            HypergradientSettings::new(Coupling::General, 0.1, gamma, cg(1e-3, 9)).unwrap();
        check(&record(Hypergradient::new(settings, 0), &mut Training(&mut driver), 6));
    }
}

#[test]
fn descent_steps_keep_the_protocol() {
    let schedule = Schedule::new(0.1, 2, 9, 0.1).unwrap();
    for optimizer in [SGD, LARS, ADAMW] {
        for evaluation in [Evaluation::Lower, Evaluation::UpperAtUpper, Evaluation::UpperAtLower] {
            let settings =
                DescentSettings::new(evaluation, optimizer, schedule, Some(0.5)).unwrap();
            for settings in [settings, settings.frozen_backbone()] {
                let mut driver = small(2);
                check(&record(DescentStep::new(settings, 4), &mut Training(&mut driver), 6));
            }
        }
    }
}

#[test]
fn stages_of_descent_keep_the_protocol() {
    let schedule = Schedule::new(0.1, 1, 3, 0.1).unwrap();
    for optimizer in [SGD, LARS, ADAMW] {
        let settings = DescentSettings::new(Evaluation::Lower, optimizer, schedule, None).unwrap();
        let mut driver = small(3);
        check(&record(Descent::new(settings), &mut Training(&mut driver), 6));
    }
}

#[test]
fn alternations_keep_the_protocol() {
    for (lower, upper, solver) in [
        (SGD, LARS, cg(1e-2, 2)),
        (LARS, SGD, SolverSettings::Identity),
        (ADAMW, ADAMW, cg(0.0, 1)),
    ] {
        let coupling = Coupling::Proximity { weight: 0.5 };
        let hypergradient = HypergradientSettings::new(coupling, 0.5, 0.5, solver).unwrap();
        let settings =
            AlternationSettings::new(2, level(lower, 2, 2), level(upper, 2, 2), hypergradient)
                .unwrap();
        let mut driver = small(4);
        check(&record(Alternation::new(settings), &mut Training(&mut driver), 6));
    }
}

#[test]
fn diverged_stages_keep_the_protocol() {
    let schedule = Schedule::new(0.1, 1, 3, 0.1).unwrap();
    let settings = DescentSettings::new(Evaluation::Lower, SGD, schedule, None).unwrap();
    let mut driver = small(3);
    driver = driver.with(Register::Parameter(Group::PretextHead), vec![f64::INFINITY; 2]);
    let tape = record(Descent::new(settings), &mut Training(&mut driver), 6);
    crate::tape::nothing_is_taken_after_the_end(&tape);
    assert_eq!(tape.output, "Diverged { index: 0 }");
}

/// The driver's answers are all that a machine can depend on: a second run asks the same.
#[test]
fn the_same_problem_gives_the_same_conversation() {
    let coupling = Coupling::Proximity { weight: 0.5 };
    let hypergradient = HypergradientSettings::new(coupling, 0.5, 0.5, cg(1e-2, 3)).unwrap();
    let settings =
        AlternationSettings::new(2, level(SGD, 2, 2), level(SGD, 2, 2), hypergradient).unwrap();
    let run = || {
        let mut driver = small(5);
        record(Alternation::new(settings), &mut Training(&mut driver), 6)
    };
    let (one, two) = (run(), run());
    let asked = |tape: &crate::tape::Tape<Alternation>| -> Vec<String> {
        tape.exchanges.iter().map(|exchange| exchange.pending.clone()).collect()
    };
    assert_eq!(asked(&one), asked(&two));
    assert!(one.exchanges.iter().any(|e| matches!(e.request, Some(Request::Product { .. }))));
}
