//! Which passes through the lower backbone move its running statistics.

use std::sync::Arc;

use bissl::driver::{Networks, Problem, ProblemSettings, Sources};
use bissl::network::pretext::NtXent;
use bissl::network::{Curvature, StatisticsUpdates, Tower, TowerParameters};
use bissl_core::{Evaluation, Group, LowerObjective, Register, Stream, UpperObjective};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{
    SIDE, error, labelled, pixels, problem_settings, small_networks, two_views, values,
};

const BATCH: usize = 5;
const PROJECTOR: &[usize] = &[16, 5];

fn pretext() -> NtXent {
    NtXent { temperature: 0.5 }
}

fn networks() -> Networks {
    small_networks(&pretext(), PROJECTOR)
}

fn problem(networks: &Networks, statistics: StatisticsUpdates) -> Problem<'_, B> {
    let sources = Sources {
        lower: Some(Box::new(|_| Ok(two_views(1, BATCH)))),
        product: Some(Box::new(|_| Ok(two_views(1, BATCH)))),
        upper: Some(Box::new(|_| Ok(labelled(3, BATCH)))),
    };
    let device = Default::default();
    let settings =
        ProblemSettings { statistics, ..problem_settings(Arc::new(pretext()), Curvature::Hessian) };
    let mut problem = Problem::<B>::new(networks, device, sources, settings);
    for (group, network) in [
        (Group::LowerBackbone, &networks.backbone),
        (Group::UpperBackbone, &networks.backbone),
        (Group::PretextHead, &networks.pretext_head),
        (Group::DownstreamHead, &networks.classifier),
    ] {
        let initial = network.parameters().initial(Stream::new(3, 1));
        problem.registers.write(Register::Parameter(group), initial).unwrap();
    }
    problem
}

/// θ_P's, φ_P's and θ_D's.
fn running(problem: &Problem<'_, B>) -> [Vec<f64>; 3] {
    let running = &problem.statistics;
    [&running.lower_backbone, &running.pretext_head, &running.upper_backbone].map(values)
}

/// g_P, a linearisation, two products, g_D.
fn hypergradient(problem: &mut Problem<'_, B>) {
    let (b, x, head) = (Register::Residual, Register::Solution, Register::DownstreamHeadGradient);
    problem.upper_gradient(Evaluation::UpperAtLower, 0, Some(b), head).unwrap();
    problem.linearize(0).unwrap();
    problem.product(b, x).unwrap();
    problem.product(b, x).unwrap();
    problem.upper_gradient(Evaluation::UpperAtUpper, 0, Some(b), head).unwrap();
}

/// The statistics after forward passes of `tower` over `views`, by the definition: decay 0.9, view
/// after view.
fn after(
    tower: Tower<'_>,
    problem: &mut Problem<'_, B>,
    (backbone, head): (Group, Group),
    views: Vec<Vec<f32>>,
    running: (Tensor<B, 1>, Tensor<B, 1>),
) -> (Tensor<B, 1>, Tensor<B, 1>) {
    let mut get = |group| problem.registers.get(Register::Parameter(group)).unwrap();
    let parameters = TowerParameters { backbone: get(backbone), head: get(head) };
    let shape = [BATCH, 3, SIDE, SIDE];
    let tensor = |pixels: Vec<f32>| {
        let values: Vec<f64> = pixels.into_iter().map(f64::from).collect();
        Tensor::from_data(burn_tensor::TensorData::new(values, shape), &Default::default())
    };
    let views: Vec<_> = views.into_iter().map(tensor).collect();
    tower.outputs_and_statistics(&parameters, &views, running).1
}

#[test]
fn a_hypergradient_moves_those_of_the_upper_backbone_alone() {
    let networks = networks();
    let mut problem = problem(&networks, StatisticsUpdates::LowerSteps);
    let before = running(&problem);
    hypergradient(&mut problem);
    let now = running(&problem);
    assert_eq!(before[..2], now[..2]);
    assert_ne!(before[2], now[2]);
}

#[test]
fn as_in_the_reference_every_product_and_g_p_move_those_of_the_lower_level() {
    let networks = networks();
    let mut problem = problem(&networks, StatisticsUpdates::EveryPass);
    let start = problem.statistics.clone();
    hypergradient(&mut problem);
    let [backbone, head, _] = running(&problem);

    let downstream = Tower { backbone: &networks.backbone, head: &networks.classifier };
    let groups = (Group::LowerBackbone, Group::DownstreamHead);
    let nothing = Tensor::zeros([1], &Default::default());
    let of_backbone = (start.lower_backbone, nothing);
    let of_g_p = after(downstream, &mut problem, groups, vec![pixels(3, BATCH)], of_backbone).0;
    let twice = vec![pixels(1, BATCH), pixels(2, BATCH), pixels(1, BATCH), pixels(2, BATCH)];
    let groups = (Group::LowerBackbone, Group::PretextHead);
    let tower = networks.pretext_tower();
    let expected = after(tower, &mut problem, groups, twice, (of_g_p, start.pretext_head));
    for (found, expected) in [(backbone, expected.0), (head, expected.1)] {
        let error = error(&found, &values(&expected));
        assert!(error <= precision::<B>().equal, "differs by {error:e}");
    }
}

#[test]
fn what_moves_changes_no_gradient_and_no_product() {
    let networks = networks();
    let [left, moved] =
        [StatisticsUpdates::LowerSteps, StatisticsUpdates::EveryPass].map(|updates| {
            let mut problem = problem(&networks, updates);
            hypergradient(&mut problem);
            let mut read = |register| values(&problem.registers.get(register).unwrap());
            [read(Register::Residual), read(Register::Solution)]
        });
    assert_eq!(left, moved);
}
