//! The core's laws of a backend, on the host's own problem: on whatever backend runs these tests.

use bissl::data::{Inputs, Labelled, Targets, TwoViews};
use bissl::driver::{Networks, Problem, Sources};
use bissl::network::Curvature;
use bissl::network::pretext::{Byol, NtXent, Pretext, Vicreg};
use bissl_core::conformance::{Kit, Law, Outcome, Settings};
use bissl_core::{Group, LowerObjective, Register, Stream};

use crate::backend::{B, precision};
use crate::support::{TEMPERATURE, noise, problem_settings, small_networks};

const SIZE: usize = 8;
const BATCH: usize = 6;
const PROJECTOR: &[usize] = &[12, 8];

fn pixels(seed: u64) -> Vec<f32> {
    noise(seed, BATCH * 3 * SIZE * SIZE).into_iter().map(|x| x as f32).collect()
}

fn two_views(seed: u64) -> TwoViews {
    let views = Inputs::Values([seed, seed + 1].map(pixels));
    TwoViews { views, batch: BATCH as u32, shape: [3, SIZE, SIZE] }
}

fn labelled(seed: u64) -> Labelled {
    let labels = Targets::Classes((0..BATCH as u32).map(|i| i % 2).collect());
    let images = Inputs::Values([pixels(seed)]);
    Labelled { images, labels, batch: BATCH as u32, shape: [3, SIZE, SIZE] }
}

/// A problem away from its initial weights, where no γ is 0.
fn problem(networks: &Networks, pretext: Pretext, curvature: Curvature) -> Problem<'_, B> {
    let sources = Sources {
        lower: Some(Box::new(|index| Ok(two_views(100 + 2 * u64::from(index))))),
        product: Some(Box::new(|index| Ok(two_views(500 + 2 * u64::from(index))))),
        upper: Some(Box::new(|index| Ok(labelled(900 + u64::from(index))))),
    };
    let settings = problem_settings(pretext, curvature);
    let mut problem = Problem::<B>::new(networks, Default::default(), sources, settings);
    for (number, group, network) in [
        (0, Group::LowerBackbone, &networks.backbone),
        (1, Group::PretextHead, &networks.pretext_head),
        (2, Group::UpperBackbone, &networks.backbone),
        (3, Group::DownstreamHead, &networks.classifier),
    ] {
        let initial = network.parameters().initial(Stream::new(3, number));
        let moved = initial.iter().zip(noise(40 + u64::from(number), initial.len()));
        let moved = moved.map(|(p, n)| (f64::from(*p) + 0.1 * n) as f32).collect();
        problem.registers.write(Register::Parameter(group), moved).unwrap();
    }
    // A target network begins as a copy.
    problem.linearize(0).unwrap();
    problem.hold_target(true);
    problem
}

fn pretexts() -> [Pretext; 3] {
    [
        Pretext::Simclr(NtXent { temperature: TEMPERATURE }),
        Pretext::Byol(Byol { decay: 0.9, predictor: vec![10] }),
        Pretext::Vicreg(Vicreg {
            invariance: 25.0,
            variance: 25.0,
            covariance: 1.0,
            deviation: 1.0,
            epsilon: 1e-4,
        }),
    ]
}

/// Differences cross rectifiers: their steps go down to where few change sign, and in f32 no further than
/// the loss has digits.
fn settings() -> Settings {
    let f64 = precision::<B>().step < 1e-3;
    Settings { step: if f64 { 1e-3 } else { 0.0625 }, steps: 6, ..Settings::DEFAULT }
}

/// What is not measured by the difference of two gradients: in f32 the rectifiers between them are most of
/// it. Of Gauss-Newton it is no difference at all.
fn measured(curvature: Curvature) -> Vec<Law> {
    let f64 = precision::<B>().step < 1e-3;
    let exact = f64 && curvature == Curvature::Hessian;
    Law::ALL.into_iter().filter(|law| exact || *law != Law::ProductDifferences).collect()
}

/// A hypergradient of 0: a Hessian may be so indefinite that the solve ends before its first step.
fn is_zero<E>(outcome: &Outcome<E>, curvature: Curvature) -> bool {
    let Outcome::Judged(verdict) = outcome else { return false };
    curvature == Curvature::Hessian
        && verdict.law == Law::HypergradientRepeats
        && verdict.measured.is_nan()
}

#[test]
fn the_problem_obeys_every_law_with_each_pretext_method_and_either_operator() {
    for pretext in pretexts() {
        for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
            let networks = small_networks(&pretext, PROJECTOR);
            let mut problem = problem(&networks, pretext.clone(), curvature);
            let mut scalars = vec![0.0; problem.registers.scalars()];
            let kit = Kit::new(settings()).with_product_gradient(Problem::product_gradient);
            let mut broken = Vec::new();
            let laws = measured(curvature);
            let summary = kit
                .run(&mut problem, &laws, &mut scalars, |outcome| {
                    if outcome.is_broken() && !is_zero(outcome, curvature) {
                        broken.push(outcome.to_string());
                    }
                })
                .unwrap();
            assert!(broken.is_empty(), "{pretext:?}, {curvature:?}: {broken:#?}");
            // Cross products are not asked of a problem coupled by proximity.
            let asked = laws.len() as u32 - 1;
            assert!(summary.hold + summary.broken == asked, "{summary:?}");
        }
    }
}

/// A problem whose products are of another batch than its gradients say breaks the law about them.
#[test]
fn a_gradient_of_the_wrong_batch_is_found() {
    if precision::<B>().step >= 1e-3 {
        return;
    }
    let [pretext, ..] = pretexts();
    let networks = small_networks(&pretext, PROJECTOR);
    let mut problem = problem(&networks, pretext, Curvature::Hessian);
    let mut scalars = vec![0.0; problem.registers.scalars()];
    let kit = Kit::new(settings());
    let outcome = kit.check(&mut problem, Law::ProductDifferences, &mut scalars).unwrap();
    assert!(outcome.is_broken(), "{outcome}");
}
