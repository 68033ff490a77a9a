//! The core's laws of a backend, on the host's own problem: on whatever backend runs these tests.

use std::sync::Arc;

use bissl::driver::{Networks, Problem, ProblemSettings, Sources};
use bissl::network::Curvature;
use bissl::network::pretext::{BarlowTwins, Byol, Method, NtXent, Vicreg};
use bissl_core::conformance::{Kit, Law, Outcome, Settings};
use bissl_core::{Group, LowerObjective, Register, Stream};

use crate::backend::{B, precision};
use crate::support::{TEMPERATURE, labelled, noise, problem_settings, small_networks, two_views};

pub(crate) const BATCH: usize = 6;
const PROJECTOR: &[usize] = &[12, 8];
/// Devices of these tests are programs on the processor, on which a launch takes long: there the
/// kit looks along one direction, at a method with a target network and one without.
const ON_DEVICE: bool = cfg!(feature = "device");

/// A problem away from its initial weights, where no γ is 0.
pub(crate) fn problem(networks: &Networks, settings: ProblemSettings<B>) -> Problem<'_, B> {
    let sources = Sources {
        lower: Some(Box::new(|index| Ok(two_views(100 + 2 * u64::from(index), BATCH)))),
        product: Some(Box::new(|index| Ok(two_views(500 + 2 * u64::from(index), BATCH)))),
        upper: Some(Box::new(|index| Ok(labelled(900 + u64::from(index), BATCH)))),
    };
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

fn pretexts() -> [Arc<dyn Method<B>>; 4] {
    [
        Arc::new(NtXent { temperature: TEMPERATURE }),
        Arc::new(Byol { decay: 0.9, predictor: vec![10] }),
        Arc::new(Vicreg {
            invariance: 25.0,
            variance: 25.0,
            covariance: 1.0,
            deviation: 1.0,
            epsilon: 1e-4,
        }),
        Arc::new(BarlowTwins { off_diagonal: 5e-3 }),
    ]
}

/// Differences cross rectifiers: their steps go down to where few change sign, and in f32 no
/// further than the loss has digits.
fn kit_settings() -> Settings {
    let f64 = precision::<B>().step < 1e-3;
    let directions = if ON_DEVICE { 1 } else { Settings::DEFAULT.directions };
    Settings { step: if f64 { 1e-3 } else { 0.0625 }, steps: 6, directions, ..Settings::DEFAULT }
}

/// What is not measured by the difference of two gradients: in f32 the rectifiers between them are
/// most of it. Of Gauss-Newton it is no difference at all.
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

/// Asks a problem of these settings for every law that its operator can be measured by.
pub(crate) fn obeys_every_law(networks: &Networks, settings: ProblemSettings<B>) {
    let curvature = settings.curvature;
    let what = format!("{:?}, {curvature:?}", settings.pretext);
    let mut problem = problem(networks, settings);
    let mut scalars = vec![0.0; problem.registers.scalars()];
    let kit = Kit::new(kit_settings()).with_product_gradient(Problem::product_gradient);
    let mut broken = Vec::new();
    let laws = measured(curvature);
    let summary = kit
        .run(&mut problem, &laws, &mut scalars, |outcome| {
            if outcome.is_broken() && !is_zero(outcome, curvature) {
                broken.push(outcome.to_string());
            }
        })
        .unwrap();
    assert!(broken.is_empty(), "{what}: {broken:#?}");
    // Cross products are not asked of a problem coupled by proximity.
    let asked = laws.len() as u32 - 1;
    assert!(summary.hold + summary.broken == asked, "{what}: {summary:?}");
}

#[test]
fn the_problem_obeys_every_law_with_each_pretext_method_and_either_operator() {
    let methods = if ON_DEVICE { 2 } else { usize::MAX };
    for pretext in pretexts().into_iter().take(methods) {
        for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
            let networks = small_networks(&*pretext, PROJECTOR);
            obeys_every_law(&networks, problem_settings(pretext.clone(), curvature));
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
    let networks = small_networks(&*pretext, PROJECTOR);
    let mut problem = problem(&networks, problem_settings(pretext, Curvature::Hessian));
    let mut scalars = vec![0.0; problem.registers.scalars()];
    let kit = Kit::new(kit_settings());
    let outcome = kit.check(&mut problem, Law::ProductDifferences, &mut scalars).unwrap();
    assert!(outcome.is_broken(), "{outcome}");
}
