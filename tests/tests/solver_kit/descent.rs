//! Plain descent: updates against the recurrences, records, frozen backbones, divergence.

use bissl_core::{
    Completion, Descent, DescentSettings, DescentStep, Evaluation, Event, Group, Machine,
    Optimizer, Progress, Register, Schedule, StepRecord, Training, drive,
};

use crate::dense::DenseDriver;
use crate::matrix::{add, distance, norm};
use crate::precision::{self, close};
use crate::protocol::{ADAMW, LARS, SGD, small};
use crate::quadratic::Quadratic;
use crate::recurrence::{Trained, update};

pub(crate) const GROUPS: [Group; 4] =
    [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone, Group::DownstreamHead];

pub(crate) fn parameter(driver: &DenseDriver<Quadratic>, group: Group) -> Vec<f64> {
    driver.read(Register::Parameter(group)).to_vec()
}

/// Every parameter and optimiser state.
pub(crate) fn everything(driver: &DenseDriver<Quadratic>) -> Vec<Vec<f64>> {
    GROUPS
        .into_iter()
        .flat_map(|g| [Register::Parameter(g), Register::Momentum(g), Register::SecondMoment(g)])
        .map(|register| driver.read(register).to_vec())
        .collect()
}

/// Runs a machine to its end; the events on the way and what it ended with.
pub(crate) fn run<M: Machine>(
    mut machine: M,
    driver: &mut DenseDriver<Quadratic>,
) -> (Vec<Event>, M::Output) {
    let mut scalars = [f32::NAN; 6];
    let mut events = Vec::new();
    loop {
        match drive(&mut machine, &mut Training(driver), &mut scalars).unwrap() {
            Progress::Event(event) => events.push(event),
            Progress::Done(output) => return (events, output),
        }
        assert!(events.len() < 1000, "no end");
    }
}

pub(crate) fn records(events: &[Event]) -> Vec<StepRecord> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Step(record) => Some(*record),
            _ => None,
        })
        .collect()
}

const STEPS: u32 = 14;

fn schedule() -> Schedule {
    Schedule::new(0.2, 3, STEPS, 0.05).unwrap()
}

/// Backbone and head that an evaluation trains, the backbone in two tensors.
fn trained(driver: &DenseDriver<Quadratic>, at: Evaluation) -> (Trained, Trained) {
    let (backbone, head) = groups(at);
    let head = parameter(driver, head);
    let count = head.len();
    (Trained::new(parameter(driver, backbone), &[2, 3]), Trained::new(head, &[count]))
}

fn groups(at: Evaluation) -> (Group, Group) {
    match at {
        Evaluation::Lower => (Group::LowerBackbone, Group::PretextHead),
        Evaluation::UpperAtLower => (Group::LowerBackbone, Group::DownstreamHead),
        Evaluation::UpperAtUpper => (Group::UpperBackbone, Group::DownstreamHead),
    }
}

fn gradient(
    problem: &Quadratic,
    at: Evaluation,
    (backbone, head): (&Trained, &Trained),
    index: u32,
) -> (f64, Vec<f64>, Vec<f64>) {
    match at {
        Evaluation::Lower => problem.lower(&backbone.parameter, &head.parameter, index),
        _ => problem.upper(&backbone.parameter, &head.parameter, index),
    }
}

fn follows_the_recurrence(optimizer: Optimizer, at: Evaluation, clip: Option<f32>, frozen: bool) {
    let case = format!("{optimizer:?} {at:?} {clip:?} frozen {frozen}");
    let mut driver = small(7);
    let before = driver.clone();
    let mut settings = DescentSettings::new(at, optimizer, schedule(), clip).unwrap();
    if frozen {
        settings = settings.frozen_backbone();
    }
    assert_eq!(settings.steps(), STEPS);
    let (events, completion) = run(Descent::new(settings), &mut driver);
    assert_eq!(completion, Completion::Finished, "{case}");
    assert_eq!(events.len(), STEPS as usize, "{case}");

    let (mut backbone, mut head) = trained(&before, at);
    for (index, record) in (0..).zip(records(&events)) {
        let rate = f64::from(schedule().rate(index));
        let (loss, by_backbone, by_head) = gradient(&before.problem, at, (&backbone, &head), index);
        let mut parts = vec![(&mut head, by_head)];
        if !frozen {
            parts.push((&mut backbone, by_backbone));
        }
        let total = update(&mut parts, (optimizer, clip), rate, index);
        assert_eq!(record.index, index, "{case}");
        assert_eq!(record.learning_rate, schedule().rate(index), "{case}");
        assert_eq!(record.distance, None, "{case}");
        assert!(close(record.loss.into(), loss, precision::RECURRENCE, 1.0), "{case}");
        assert!(close(record.gradient_norm.into(), total, precision::RECURRENCE, 1.0), "{case}");
    }
    let (backbone_group, head_group) = groups(at);
    for group in GROUPS {
        let found = parameter(&driver, group);
        let expected = match group {
            group if group == backbone_group => backbone.parameter.clone(),
            group if group == head_group => head.parameter.clone(),
            other => parameter(&before, other),
        };
        let error = distance(&found, &expected);
        let trained = group == backbone_group && !frozen || group == head_group;
        let allowed = if trained { precision::RECURRENCE } else { 0.0 };
        assert!(error <= allowed, "{case} {group:?}: {error:e}");
    }
}

#[test]
fn every_optimizer_follows_its_recurrence_on_every_loss() {
    for optimizer in [SGD, LARS, ADAMW] {
        for at in [Evaluation::Lower, Evaluation::UpperAtUpper, Evaluation::UpperAtLower] {
            for clip in [None, Some(0.7), Some(1e6)] {
                follows_the_recurrence(optimizer, at, clip, false);
                follows_the_recurrence(optimizer, at, clip, true);
            }
        }
    }
}

/// The limit holds for backbone and head together, exactly where it binds and not at all elsewhere.
#[test]
fn clipping_limits_the_total_norm_of_the_step() {
    let plain = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let rate = Schedule::constant(0.5, 1).unwrap();
    for seed in 0..10 {
        for limit in [0.01f32, 0.3, 1e9] {
            let settings =
                DescentSettings::new(Evaluation::Lower, plain, rate, Some(limit)).unwrap();
            let mut driver = small(seed);
            let before = driver.clone();
            let (_, record) = run(DescentStep::new(settings, 0), &mut driver);
            let moved = |g| add(&parameter(&driver, g), -1.0, &parameter(&before, g));
            let step = [moved(Group::LowerBackbone), moved(Group::PretextHead)].concat();
            let expected = 0.5 * f64::from(limit).min(f64::from(record.gradient_norm));
            let error = (norm(&step) / expected - 1.0).abs();
            assert!(error <= precision::SCALAR, "seed {seed}, limit {limit}: {error:e}");
        }
    }
}

#[test]
fn a_gradient_or_loss_that_is_not_finite_changes_no_parameter_and_no_state() {
    for optimizer in [SGD, LARS, ADAMW] {
        let settings =
            DescentSettings::new(Evaluation::Lower, optimizer, schedule(), Some(1.0)).unwrap();
        for bad in [f64::NAN, f64::INFINITY, 1e25] {
            let mut driver = small(1);
            driver.problem.pretext_target[0] = bad;
            let before = everything(&driver);
            let (events, completion) = run(Descent::new(settings), &mut driver);
            assert_eq!((events.len(), completion), (0, Completion::Diverged { index: 0 }), "{bad}");
            assert_eq!(everything(&driver), before, "{bad}");
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut driver = small(1);
            let mut shorter = driver.clone();
            driver.problem.wrong_loss = Some((Evaluation::Lower, 4, bad));
            let (events, completion) = run(Descent::new(settings), &mut driver);
            assert_eq!((events.len(), completion), (4, Completion::Diverged { index: 4 }), "{bad}");
            for index in 0..4 {
                run(DescentStep::new(settings, index), &mut shorter);
            }
            assert_eq!(everything(&driver), everything(&shorter), "{bad}");
        }
    }
}

/// A stage is its steps: nothing but the step number and the registers goes from one to the next.
#[test]
fn a_stage_is_the_sequence_of_its_steps() {
    for optimizer in [SGD, LARS, ADAMW] {
        let settings =
            DescentSettings::new(Evaluation::Lower, optimizer, schedule(), Some(0.5)).unwrap();
        let (mut whole, mut single) = (small(2), small(2));
        let (events, _) = run(Descent::new(settings), &mut whole);
        let steps: Vec<StepRecord> =
            (0..STEPS).map(|index| run(DescentStep::new(settings, index), &mut single).1).collect();
        assert_eq!(records(&events), steps);
        assert_eq!(everything(&whole), everything(&single));
    }
}
