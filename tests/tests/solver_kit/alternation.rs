//! The bilevel stage against a simulation of it in f64: order, numbers, divergence.

use bissl_core::{
    Alternation, AlternationSettings, CgSettings, Completion, Coupling, Evaluation, Event, Group,
    HypergradientSettings, Level, Optimizer, Register, Schedule, SolverSettings, UpperRecord,
};

use crate::dense::DenseDriver;
use crate::descent::{everything, parameter, records, run};
use crate::matrix::{add, distance, norm};
use crate::precision::{self, close};
use crate::protocol::{ADAMW, LARS, SGD, small};
use crate::quadratic::{Call, Quadratic};
use crate::recurrence::{Trained, update};

const ALTERNATIONS: u32 = 3;
const LOWER_STEPS: u32 = 4;
const UPPER_STEPS: u32 = 2;
const PROXIMITY: f32 = 0.5;
const DAMPING: f32 = 0.7;
const DIRECT: f32 = 0.4;

fn exact() -> SolverSettings {
    SolverSettings::ConjugateGradient(CgSettings::new(1e-7, 60).unwrap())
}

fn level(optimizer: Optimizer, steps: u32, clip: Option<f32>) -> Level {
    let schedule = Schedule::new(0.15, 2, steps * ALTERNATIONS, 0.1).unwrap();
    Level { steps, optimizer, schedule, clip }
}

fn settings(lower: Level, upper: Level, solver: SolverSettings) -> AlternationSettings {
    let coupling = Coupling::Proximity { weight: PROXIMITY };
    let hypergradient = HypergradientSettings::new(coupling, DAMPING, DIRECT, solver).unwrap();
    AlternationSettings::new(ALTERNATIONS, lower, upper, hypergradient).unwrap()
}

fn standard(solver: SolverSettings) -> AlternationSettings {
    settings(level(SGD, LOWER_STEPS, Some(0.5)), level(SGD, UPPER_STEPS, Some(0.5)), solver)
}

fn upper_records(events: &[Event]) -> Vec<UpperRecord> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::UpperStep(record) => Some(*record),
            _ => None,
        })
        .collect()
}

/// The stage as the paper states it, the implicit term by the spectrum of H.
struct Simulation {
    problem: Quadratic,
    lower_backbone: Trained,
    pretext_head: Trained,
    upper_backbone: Trained,
    downstream_head: Trained,
}

impl Simulation {
    fn new(driver: &DenseDriver<Quadratic>) -> Self {
        let trained = |group, tensors: &[usize]| Trained::new(parameter(driver, group), tensors);
        Self {
            problem: driver.problem.clone(),
            lower_backbone: trained(Group::LowerBackbone, &[2, 3]),
            pretext_head: trained(Group::PretextHead, &[2]),
            upper_backbone: trained(Group::UpperBackbone, &[2, 3]),
            downstream_head: trained(Group::DownstreamHead, &[2]),
        }
    }

    /// Loss, gradient norm, distance.
    fn lower_step(&mut self, level: &Level, index: u32) -> [f64; 3] {
        let (theta, phi) = (&self.lower_backbone.parameter, &self.pretext_head.parameter);
        let (loss, backbone, head) = self.problem.lower(theta, phi, index);
        let offset = add(theta, -1.0, &self.upper_backbone.parameter);
        let backbone = add(&backbone, PROXIMITY.into(), &offset);
        let mut parts = [(&mut self.lower_backbone, backbone), (&mut self.pretext_head, head)];
        let rate = level.schedule.rate(index).into();
        let total = update(&mut parts, (level.optimizer, level.clip), rate, index);
        [loss, total, norm(&offset)]
    }

    /// Both losses, gradient norm.
    fn upper_step(&mut self, level: &Level, index: u32) -> [f64; 3] {
        let phi = &self.downstream_head.parameter;
        let at_lower = self.problem.upper(&self.lower_backbone.parameter, phi, index);
        let at_upper = self.problem.upper(&self.upper_backbone.parameter, phi, index);
        let damped = f64::from(PROXIMITY) + f64::from(DAMPING);
        let implicit = self.problem.curvature.apply(&at_lower.1, |q| 1.0 / (1.0 + q / damped));
        let gamma = f64::from(DIRECT);
        let backbone = add(&implicit, gamma, &at_upper.1);
        let head = add(&at_lower.2, gamma, &at_upper.2);
        let mut parts = [(&mut self.upper_backbone, backbone), (&mut self.downstream_head, head)];
        let rate = level.schedule.rate(index).into();
        let total = update(&mut parts, (level.optimizer, level.clip), rate, index);
        [at_lower.0, at_upper.0, total]
    }
}

#[test]
fn parameters_and_records_are_those_of_the_simulated_stage() {
    for (lower, upper) in [(SGD, SGD), (LARS, SGD), (SGD, LARS), (ADAMW, ADAMW)] {
        for clip in [None, Some(0.4)] {
            for seed in 0..3 {
                agrees_with_simulation(
                    level(lower, LOWER_STEPS, clip),
                    level(upper, UPPER_STEPS, clip),
                    seed,
                );
            }
        }
    }
}

fn agrees_with_simulation(lower: Level, upper: Level, seed: u64) {
    let case =
        format!("{:?}, {:?}, clip {:?}, seed {seed}", lower.optimizer, upper.optimizer, lower.clip);
    let mut driver = small(seed);
    let mut simulation = Simulation::new(&driver);
    let (events, completion) = run(Alternation::new(settings(lower, upper, exact())), &mut driver);
    assert_eq!(completion, Completion::Finished, "{case}");
    let agree = |what: &str, found: f32, expected: f64| {
        let holds = close(found.into(), expected, 5.0 * precision::RECURRENCE, 1.0);
        assert!(holds, "{case}: {what} {found} {expected}");
    };
    for event in &events {
        match event {
            Event::Step(record) => {
                let [loss, total, offset] = simulation.lower_step(&lower, record.index);
                agree("loss", record.loss, loss);
                agree("norm", record.gradient_norm, total);
                agree("distance", record.distance.unwrap(), offset);
                assert_eq!(record.learning_rate, lower.schedule.rate(record.index));
            }
            Event::UpperStep(record) => {
                let [at_lower, at_upper, total] = simulation.upper_step(&upper, record.index);
                agree("loss at lower", record.hypergradient.loss_at_lower, at_lower);
                agree("loss at upper", record.hypergradient.loss_at_upper.unwrap(), at_upper);
                agree("norm", record.gradient_norm, total);
                assert_eq!(record.learning_rate, upper.schedule.rate(record.index));
            }
            Event::Alternation { .. } => {}
        }
    }
    for (group, expected) in [
        (Group::LowerBackbone, &simulation.lower_backbone),
        (Group::PretextHead, &simulation.pretext_head),
        (Group::UpperBackbone, &simulation.upper_backbone),
        (Group::DownstreamHead, &simulation.downstream_head),
    ] {
        let error = distance(&parameter(&driver, group), &expected.parameter);
        assert!(error <= 5.0 * precision::RECURRENCE, "{case}: {group:?} {error:e}");
    }
}

/// Lower before upper, one linearisation between, step numbers running on over the alternations.
#[test]
fn requests_come_in_the_order_of_the_paper() {
    use Evaluation::{Lower, UpperAtLower, UpperAtUpper};
    for solver in [exact(), SolverSettings::Identity] {
        let mut driver = small(1);
        let (_, completion) = run(Alternation::new(standard(solver)), &mut driver);
        assert_eq!(completion, Completion::Finished);
        let mut expected = Vec::new();
        for t in 0..ALTERNATIONS {
            for i in 0..LOWER_STEPS {
                expected.push(Call::Gradient(Lower, t * LOWER_STEPS + i));
            }
            if solver.facts().uses_products {
                expected.push(Call::Linearize(t));
            }
            for i in 0..UPPER_STEPS {
                expected.push(Call::Gradient(UpperAtLower, t * UPPER_STEPS + i));
                expected.push(Call::Gradient(UpperAtUpper, t * UPPER_STEPS + i));
            }
        }
        let mut calls = driver.problem.calls.clone();
        let products = calls.iter().filter(|call| **call == Call::Product).count();
        assert_eq!(products > 0, solver.facts().uses_products);
        // Products stand between the two evaluations of their step and nowhere else.
        let mut inside = false;
        for call in &calls {
            match call {
                Call::Gradient(at, _) => inside = *at == UpperAtLower,
                Call::Product => assert!(inside),
                Call::Linearize(_) => assert!(!inside),
            }
        }
        calls.retain(|call| *call != Call::Product);
        assert_eq!(calls, expected);
    }
}

#[test]
fn every_step_and_alternation_is_reported_in_order() {
    let mut driver = small(2);
    let (events, _) = run(Alternation::new(standard(exact())), &mut driver);
    let mut found = Vec::new();
    for event in &events {
        found.push(match event {
            Event::Step(record) => ("lower", record.index, None),
            Event::UpperStep(record) => ("upper", record.index, Some(record.alternation)),
            Event::Alternation { index } => ("alternation", *index, None),
        });
    }
    let mut expected = Vec::new();
    for t in 0..ALTERNATIONS {
        expected.extend((0..LOWER_STEPS).map(|i| ("lower", t * LOWER_STEPS + i, None)));
        expected.extend((0..UPPER_STEPS).map(|i| ("upper", t * UPPER_STEPS + i, Some(t))));
        expected.push(("alternation", t, None));
    }
    assert_eq!(found, expected);
    let products: u32 =
        upper_records(&events).iter().map(|r| u32::from(r.hypergradient.solve.products)).sum();
    assert_eq!(products as usize, driver.products);
    assert_eq!(standard(exact()).alternations(), ALTERNATIONS);
}

/// The counts of the two levels are independent of each other.
#[test]
fn one_step_a_level_and_one_alternation_are_enough() {
    for (lower_steps, upper_steps) in [(1, 1), (1, 3), (3, 1)] {
        let coupling = Coupling::Proximity { weight: 0.5 };
        let hypergradient =
            HypergradientSettings::new(coupling, 0.0, 0.0, SolverSettings::Identity).unwrap();
        let (lower, upper) = (level(SGD, lower_steps, None), level(SGD, upper_steps, None));
        let settings = AlternationSettings::new(1, lower, upper, hypergradient).unwrap();
        let (events, completion) = run(Alternation::new(settings), &mut small(3));
        assert_eq!(completion, Completion::Finished);
        assert_eq!(records(&events).len(), lower_steps as usize);
        assert_eq!(upper_records(&events).len(), upper_steps as usize);
        assert_eq!(events.len() as u32, lower_steps + upper_steps + 1);
    }
}

/// A fault in lower step `index` leaves everything as the step before left it.
#[test]
fn a_diverging_lower_step_changes_nothing() {
    for (step, taken) in [(0, 0), (5, 5)] {
        let mut driver = small(4);
        driver.problem.wrong_loss = Some((Evaluation::Lower, step, f32::NAN));
        let mut machine = Alternation::new(standard(exact()));
        let end = until_the_end(&mut machine, &mut driver);
        assert_eq!(end.completion, Completion::Diverged { index: step });
        assert_eq!(everything(&driver), end.before, "step {step}");
        assert_eq!(records(&end.events).len(), taken);
    }
}

/// Likewise in an upper step: a loss, a right-hand side, or a head that is not finite.
#[test]
fn a_diverging_upper_step_changes_nothing() {
    use Evaluation::{UpperAtLower, UpperAtUpper};
    for at in [UpperAtLower, UpperAtUpper] {
        for step in [0, 3] {
            for loss in [f32::NAN, f32::INFINITY] {
                let mut driver = small(5);
                driver.problem.wrong_loss = Some((at, step, loss));
                let mut machine = Alternation::new(standard(exact()));
                let end = until_the_end(&mut machine, &mut driver);
                assert_eq!(end.completion, Completion::Diverged { index: step });
                assert_eq!(everything(&driver), end.before, "{at:?} {step}");
                assert_eq!(upper_records(&end.events).len(), step as usize);
            }
        }
    }
    for solver in [exact(), SolverSettings::Identity] {
        // ‖g_P‖² is beyond f32 while the losses are not.
        let mut driver = small(5);
        let huge = vec![1e20; 7];
        driver.problem = driver.problem.clone().with_upper_gradient(&huge);
        let mut machine = Alternation::new(standard(solver));
        let end = until_the_end(&mut machine, &mut driver);
        assert_eq!(end.completion, Completion::Diverged { index: 0 });
        assert_eq!(everything(&driver), end.before);
        // Only the head's gradient is.
        let mut driver = small(5);
        let huge = [0.1, 0.1, 0.1, 0.1, 0.1, 1e20, 1e20];
        driver.problem = driver.problem.clone().with_upper_gradient(&huge);
        let mut machine = Alternation::new(standard(solver));
        let end = until_the_end(&mut machine, &mut driver);
        assert_eq!(end.completion, Completion::Diverged { index: 0 });
        assert_eq!(everything(&driver), end.before);
    }
}

/// How a stage ended.
struct End {
    /// Every parameter and optimiser state at the last event.
    before: Vec<Vec<f64>>,
    completion: Completion,
    events: Vec<Event>,
}

fn until_the_end(machine: &mut Alternation, driver: &mut DenseDriver<Quadratic>) -> End {
    use bissl_core::{Progress, Training, drive};
    let mut before = everything(driver);
    let mut events = Vec::new();
    loop {
        match drive(machine, &mut Training(driver), &mut [f32::NAN; 6]).unwrap() {
            Progress::Event(event) => events.push(event),
            Progress::Done(completion) => return End { before, completion, events },
        }
        before = everything(driver);
    }
}

/// At a proximity weight of nearly 0 the machine's own term disappears, at a large one it pulls.
#[test]
fn the_proximity_term_pulls_the_lower_backbone_to_the_upper_one() {
    let distance_after = |weight: f32| {
        let coupling = Coupling::Proximity { weight };
        let hypergradient =
            HypergradientSettings::new(coupling, 0.0, 0.0, SolverSettings::Identity).unwrap();
        let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let (lower, upper) = (level(plain, 60, None), level(plain, 1, None));
        let settings = AlternationSettings::new(1, lower, upper, hypergradient).unwrap();
        let mut driver = small(6);
        let upper = parameter(&driver, Group::UpperBackbone);
        run(Alternation::new(settings), &mut driver);
        norm(&add(driver.read(Register::Parameter(Group::LowerBackbone)), -1.0, &upper))
    };
    assert!(distance_after(5.0) < 0.5 * distance_after(1e-6));
}
