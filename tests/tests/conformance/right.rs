//! The verdicts of the kit on correct backends, and the state that it leaves behind.

use std::collections::HashSet;

use bissl_core::conformance::{self, Kit, Law, Outcome, Settings, Summary};
use bissl_core::{DriveError, Group, LowerObjective, Register};

use crate::arrays::{Arrays, GROUPS, Missing};
use crate::losses::{Constant, Logistic, Losses, Rectified, Ridge};
use crate::number::Number;

/// Two parts of at most four segments.
const WORKSPACE: usize = 8;

fn outcomes<L: Losses, T: Number>(
    problem: &mut Arrays<L, T>,
    settings: Settings,
) -> (Vec<Outcome<Missing>>, Summary) {
    let mut outcomes = Vec::new();
    let mut scalars = [f32::NAN; WORKSPACE];
    let sink = |outcome: &Outcome<Missing>| {
        println!("{outcome}");
        outcomes.push(*outcome);
    };
    let summary = conformance::run(problem, &Law::ALL, &settings, &mut scalars, sink).unwrap();
    println!("{summary}\n");
    assert_eq!(outcomes.len(), Law::ALL.len());
    (outcomes, summary)
}

fn all() -> u32 {
    Law::ALL.len() as u32
}

/// Claims that exactly the laws in `unsupported` are not supported, and that all others hold.
fn passes<L: Losses, T: Number>(mut problem: Arrays<L, T>, unsupported: &[Law]) {
    let settings = Settings { cross_product: L::GENERAL, ..Settings::DEFAULT };
    let (outcomes, summary) = outcomes(&mut problem, settings);
    let found: Vec<Law> = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Unsupported { .. }))
        .map(Outcome::law)
        .collect();
    assert_eq!(found, unsupported);
    assert_eq!(summary.broken, 0);
    assert_eq!(summary.not_asked, u32::from(!L::GENERAL));
    assert_eq!(summary.hold + summary.unsupported + summary.not_asked, all());
}

#[test]
fn a_right_backend_passes() {
    passes(Arrays::<Logistic, f64>::whole(), &[]);
    passes(Arrays::<Logistic, f32>::whole(), &[]);
}

#[test]
fn a_right_general_problem_passes() {
    passes(Arrays::<Ridge, f64>::whole(), &[]);
    passes(Arrays::<Ridge, f32>::whole(), &[]);
}

#[test]
fn a_network_with_rectifiers_passes() {
    passes(Arrays::<Rectified, f64>::whole(), &[]);
    passes(Arrays::<Rectified, f32>::whole(), &[]);
}

/// Directions are then made of gradients and parameters.
#[test]
fn a_small_port_passes_without_what_it_lacks() {
    let lacks = [Law::BasisDots, Law::Combine, Law::SketchRepeats, Law::SketchVaries];
    passes(Arrays::<Logistic, f32>::device(), &lacks);
    passes(Arrays::<Rectified, f32>::device(), &lacks);
}

/// Only the four work registers are accessible, and there is no frozen backbone.
#[test]
fn what_a_bare_problem_lacks_is_reported_and_is_no_pass() {
    let unmeasured = [
        Law::SegmentDots,
        Law::SegmentAxpby,
        Law::BasisDots,
        Law::Combine,
        Law::SketchRepeats,
        Law::SketchVaries,
        Law::LowerFrozen,
        Law::LowerDifferences,
        Law::LowerHeadDifferences,
        Law::UpperFrozen,
        Law::UpperAgree,
        Law::UpperSeparate,
        Law::UpperDifferences,
        Law::UpperAtUpperDifferences,
        Law::UpperHeadDifferences,
        Law::ProductDifferences,
        Law::Untouched,
        Law::NonFinite,
    ];
    passes(Arrays::<Logistic, f32>::bare(), &unmeasured);
}

/// If all gradients are 0 there is nothing to compare, and no law may pass because of that.
#[test]
fn an_identity_between_zeros_is_no_pass() {
    let mut problem = Arrays::<Constant, f32>::whole();
    problem.sketches = false;
    for group in [Group::LowerBackbone, Group::UpperBackbone] {
        let length = problem.read(Register::Parameter(group)).unwrap().len();
        problem.write(Register::Parameter(group), vec![0.0; length]).unwrap();
    }
    let (outcomes, _) = outcomes(&mut problem, Settings::DEFAULT);
    let machines = [Law::RefusedReply, Law::SameReplies];
    for outcome in outcomes.iter().filter(|outcome| !machines.contains(&outcome.law())) {
        assert!(!outcome.holds(), "{outcome}");
    }
}

type Contents = Vec<(Register, Vec<u32>)>;

/// The bits of everything that is trained, and of the backbones' momenta.
fn state<L: Losses, T: Number>(problem: &Arrays<L, T>) -> Contents {
    let registers = GROUPS.map(|group| {
        [Register::Parameter(group), Register::Momentum(group), Register::SecondMoment(group)]
    });
    let bits = |register: Register| {
        let contents = problem.read(register).unwrap();
        (register, contents.iter().map(|x| x.to_bits()).collect())
    };
    registers.into_iter().flatten().map(bits).collect()
}

#[test]
fn parameters_and_momenta_are_as_they_were() {
    let mut problem = Arrays::<Ridge, f32>::whole();
    let momentum = Register::Momentum(Group::LowerBackbone);
    problem.write(momentum, (0..12).map(|i| i as f32).collect()).unwrap();
    let before = state(&problem);
    outcomes(&mut problem, Settings { cross_product: true, ..Settings::DEFAULT });
    assert_eq!(state(&problem), before);
}

/// Wherever the sensor fails inside a law, the error is returned and the parameters are restored.
#[test]
fn a_failing_problem_is_an_error_and_keeps_its_parameters() {
    let settings = Settings { cross_product: true, ..Settings::DEFAULT };
    for law in Law::ALL {
        let mut failures = 0;
        for frames in 0..80 {
            let mut problem = Arrays::<Ridge, f32>::device();
            problem.refuses = |_| false;
            problem.frames = frames;
            let before = state(&problem);
            let result = conformance::check(&mut problem, law, &settings, &mut [0.0; 8]);
            let optional =
                matches!(result, Ok(Outcome::Unsupported { error: Missing::Sensor, .. }));
            assert!(!matches!(&result, Ok(outcome) if outcome.is_broken()), "{law:?} {frames}");
            if result == Err(DriveError::Problem(Missing::Sensor)) || optional {
                failures += 1;
            }
            assert_eq!(state(&problem), before, "{law:?} after {frames} frames");
            if matches!(result, Ok(outcome) if outcome.holds()) {
                break;
            }
        }
        let sketch = matches!(law, Law::SketchRepeats | Law::SketchVaries);
        assert_eq!(failures == 0, sketch, "{law:?} met {failures} failures");
    }
}

#[test]
fn batches_of_products_may_come_from_elsewhere() {
    let mut problem = Arrays::<Logistic, f64>::whole();
    problem.product_offset = 40;
    let (law, mut scalars) = (Law::ProductDifferences, [0.0; 4]);
    let kit = Kit::new(Settings::DEFAULT);
    let outcome = kit.check(&mut problem, law, &mut scalars).unwrap();
    println!("{outcome}");
    assert!(outcome.is_broken());
    let kit = kit.with_product_gradient(|problem, index, backbone, head| {
        problem.lower_gradient(index + 40, backbone, head)
    });
    let outcome = kit.check(&mut problem, law, &mut scalars).unwrap();
    println!("{outcome}");
    assert!(outcome.holds());
}

#[test]
fn a_short_workspace_is_an_error() {
    for (law, needed, found) in [(Law::SegmentDots, 4, 3), (Law::HypergradientRepeats, 1, 0)] {
        let mut problem = Arrays::<Logistic, f32>::whole();
        let mut scalars = vec![0.0; found];
        let result = conformance::check(&mut problem, law, &Settings::DEFAULT, &mut scalars);
        assert_eq!(result, Err(DriveError::ShortWorkspace { needed, found }));
    }
}

#[test]
fn laws_have_names_and_statements_of_their_own() {
    let names: HashSet<&str> = Law::ALL.iter().map(|law| law.name()).collect();
    let statements: HashSet<&str> = Law::ALL.iter().map(|law| law.statement()).collect();
    assert_eq!((names.len(), statements.len()), (Law::ALL.len(), Law::ALL.len()));
}

#[test]
fn a_verdict_says_what_was_measured_and_what_is_allowed() {
    let verdict = conformance::Verdict { law: Law::Symmetry, measured: 3.1e-2, limit: 1e-4 };
    assert_eq!(verdict.to_string(), "BROKEN symmetry: measured 3.1e-2, at most 1.0e-4");
    let verdict = conformance::Verdict { measured: 1e-4, ..verdict };
    assert_eq!(verdict.to_string(), "symmetry: measured 1.0e-4, at most 1.0e-4");
    assert!(!conformance::Verdict { measured: f32::NAN, ..verdict }.holds());
    let (law, error) = (Law::Combine, "no bank");
    let outcome = Outcome::Unsupported { law, error };
    assert_eq!(outcome.to_string(), "combine: unsupported, no bank");
}
