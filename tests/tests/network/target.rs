//! BYOL's target network in the driver: it follows once a lower step, and products leave it alone.

use std::sync::Arc;

use bissl::driver::{Networks, Problem, Sources};
use bissl::network::pretext::{Byol, Method};
use bissl::network::{Curvature, Linearization, TowerParameters};
use bissl_core::{Group, LowerObjective, Register, RegisterFile, Stream};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{
    SIDE, dot, error, noise, norm, pixels, problem_settings, random, small_networks, tensor,
    two_views, values,
};

const DECAY: f64 = 0.75;
const BATCH: usize = 5;
const PROJECTOR: &[usize] = &[6, 5];

fn pretext() -> Byol {
    Byol { decay: DECAY, predictor: vec![7] }
}

fn networks() -> Networks {
    small_networks(&pretext(), PROJECTOR)
}

fn problem(networks: &Networks, curvature: Curvature) -> Problem<'_, B> {
    let sources = Sources {
        lower: Some(Box::new(|step| Ok(two_views(100 + 2 * u64::from(step), BATCH)))),
        product: Some(Box::new(|step| Ok(two_views(500 + 2 * u64::from(step), BATCH)))),
        upper: None,
    };
    let settings = problem_settings(Arc::new(pretext()), curvature);
    let mut problem = Problem::<B>::new(networks, Default::default(), sources, settings);
    for (group, network) in
        [(Group::LowerBackbone, &networks.backbone), (Group::PretextHead, &networks.pretext_head)]
    {
        let initial = network.parameters().initial(Stream::new(3, 1));
        let moved = initial.iter().zip(noise(4, initial.len()));
        let moved = moved.map(|(p, n)| (f64::from(*p) + 0.1 * n) as f32).collect();
        problem.registers.write(Register::Parameter(group), moved).unwrap();
    }
    problem
}

/// A lower step of plain descent, as the core's requests make it.
fn step(problem: &mut Problem<'_, B>, index: u32) {
    let (backbone, head) = (Register::Residual, Register::PretextHeadGradient);
    problem.lower_gradient(index, Some(backbone), head).unwrap();
    for (group, gradient) in [(Group::LowerBackbone, backbone), (Group::PretextHead, head)] {
        problem.axpby(-0.1, gradient, 1.0, Register::Parameter(group)).unwrap();
    }
}

fn online(problem: &mut Problem<'_, B>) -> TowerParameters<B> {
    let mut get = |group| problem.registers.get(Register::Parameter(group)).unwrap();
    TowerParameters { backbone: get(Group::LowerBackbone), head: get(Group::PretextHead) }
}

/// Everything of the target network and of the running statistics, bit for bit.
fn state(problem: &mut Problem<'_, B>) -> Vec<Vec<f64>> {
    let target = problem.target().unwrap().expect("a step was taken").clone();
    let running = &problem.statistics;
    [
        &target.parameters.backbone,
        &target.parameters.head,
        &target.statistics.0,
        &target.statistics.1,
        &running.lower_backbone,
        &running.upper_backbone,
        &running.pretext_head,
    ]
    .map(values)
    .to_vec()
}

#[test]
fn it_starts_as_a_copy_of_backbone_and_projector_and_follows_once_a_step() {
    let networks = networks();
    let mut problem = problem(&networks, Curvature::Hessian);
    assert!(problem.target().unwrap().is_none(), "nothing has asked for it yet");
    let projector = networks.target_head.as_ref().unwrap().parameters().len();
    let both = |p: &TowerParameters<B>| {
        [values(&p.backbone), values(&p.head.clone().slice(0..projector))].concat()
    };
    let mut expected = both(&online(&mut problem));
    for index in 0..3 {
        step(&mut problem, index);
        let now = both(&online(&mut problem));
        expected =
            expected.iter().zip(now).map(|(old, new)| DECAY * old + (1.0 - DECAY) * new).collect();
        // However often one looks.
        for _ in 0..2 {
            let target = problem.target().unwrap().unwrap().parameters.clone();
            let found = [values(&target.backbone), values(&target.head)].concat();
            let error = error(&found, &expected);
            assert!(error <= precision::<B>().equal, "step {index}: {error:e}");
        }
    }
}

#[test]
fn its_statistics_move_in_lower_steps_alone_and_nothing_moves_in_products() {
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let networks = networks();
        let mut problem = problem(&networks, curvature);
        step(&mut problem, 0);
        let before = state(&mut problem);
        problem.linearize(0).unwrap();
        let direction = random::<B, 1>(9, [networks.backbone.parameters().len()]);
        let product = problem.curvature_product(&direction).unwrap();
        problem.curvature_product(&product).unwrap();
        assert!(state(&mut problem) == before, "{curvature:?}");
        step(&mut problem, 1);
        let after = state(&mut problem);
        for (part, (before, after)) in before.iter().zip(&after).enumerate() {
            // θ_D's statistics belong to the other level.
            assert_eq!(before == after, part == 5, "part {part}");
        }
    }
}

#[test]
fn looking_at_it_between_steps_changes_no_bit() {
    let networks = networks();
    let run = |looks: bool| {
        let mut problem = problem(&networks, Curvature::Hessian);
        for index in 0..3 {
            step(&mut problem, index);
            if looks {
                problem.target().unwrap();
            }
        }
        let online = online(&mut problem);
        (state(&mut problem), values(&online.backbone), values(&online.head))
    };
    assert!(run(true) == run(false));
}

#[test]
fn products_take_its_outputs_as_constants() {
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let networks = networks();
        let mut problem = problem(&networks, curvature);
        step(&mut problem, 0);
        problem.linearize(0).unwrap();
        let len = networks.backbone.parameters().len();
        let (u, v) = (random::<B, 1>(7, [len]), random::<B, 1>(8, [len]));
        let product = |x: &Tensor<B, 1>| values(&problem.curvature_product(x).unwrap());
        let (of_u, of_v) = (product(&u), product(&v));
        let (left, right) = (dot(&values(&u), &of_v), dot(&values(&v), &of_u));
        let size = norm(&values(&u)) * norm(&of_v);
        assert!((left - right).abs() <= 10.0 * precision::<B>().equal * size, "{curvature:?}");
        if curvature == Curvature::GaussNewton {
            assert!(dot(&values(&v), &of_v) > 0.0);
        }
        // The same from outside, with the loss of the stored target's outputs.
        let target = problem.target().unwrap().unwrap().parameters.clone();
        let online = online(&mut problem);
        let image = |seed: u64| {
            let x: Vec<f64> = pixels(seed, BATCH).into_iter().map(f64::from).collect();
            tensor::<B, 4>(&x, [BATCH, 3, SIDE, SIDE])
        };
        let views = vec![image(500), image(501)];
        let outputs = networks.target_tower().unwrap().outputs(&target, &views);
        let loss = Method::<B>::loss(&pretext(), outputs);
        let tower = networks.pretext_tower();
        let at = Linearization::new(tower, online, views, loss, curvature);
        let error = error(&values(&at.product(&v)), &of_v);
        assert!(error <= precision::<B>().equal, "{curvature:?}: {error:e}");
    }
}
