//! Compares a narrow copy of the configured network with the same network in f64.

use bissl_core::Stream;

use super::checks::{Check, Checks};
use super::dense::{add, dot, norm, relative, scale, wide};
use super::twin::{Batch, Twin};
use crate::config::RunConfig;
use crate::driver::{Networks, upload};
use crate::kernels::{Kernels, Precision, read};
use crate::model::{method, networks};
use crate::network::pretext::Method;
use crate::network::{
    Curvature, Linearization, LinearizationSettings, Network, Stem, TowerParameters,
};

/// Channels of the first stage, the fewest that the configuration allows.
const WIDTH: usize = 8;
const HEAD_WIDTH: usize = 32;
const IMAGES: usize = 6;
/// Standard deviation of the noise on the initial parameters, so that no γ stays at 0 and no branch
/// is silent.
const PERTURBATION: f32 = 0.1;
/// Step of central differences, relative to ‖θ‖. At larger steps units change sign within the
/// interval; at smaller ones f64 rounds.
const STEP: f64 = 1e-8;

/// Bound for gradients, products and solves. In f32 rounding alone gives 5e-7 to 5e-6 for every
/// architecture and stem. A unit near 0 may take its other branch, which gives more: PyTorch's f32
/// differs from f64 by 1.8e-3 to 4.8e-3 on a whole ResNet-18. With operands of 11 or 8 bits many
/// units do.
fn derivative_bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 5e-3,
        Precision::Tf32 => 0.3,
        Precision::Bf16 => 0.6,
    }
}

/// Bound for the loss. It is a mean over logits, so a unit that changes its branch at 0 does not
/// move it.
fn loss_bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Tf32 => 2e-3,
        Precision::Bf16 => 2e-2,
    }
}

/// Iterations of the solve.
const ITERATIONS: usize = 6;
/// Damping of the solve, relative to the curvature along the gradient: the system is then definite
/// and far from the identity.
const DAMPING: f64 = 2.0;
/// Bound for f64 against its own differences: a step of 1e-8 changes seven or eight of the loss's
/// sixteen digits. Measured: below 1e-9.
const DOUBLE: f64 = 1e-6;

/// The configuration of the narrow copy.
fn narrowed(config: &RunConfig) -> RunConfig {
    let mut narrow = config.clone();
    narrow.network.width = WIDTH.min(config.network.width);
    for width in narrow.network.projector.iter_mut().chain(&mut narrow.byol.predictor) {
        *width = HEAD_WIDTH.min(*width);
    }
    narrow
}

/// The smallest side that leaves 2 × 2 pixels to the last of four stages. With one pixel and few
/// images, batch statistics would come from a handful of numbers.
fn side(stem: Stem) -> usize {
    match stem {
        Stem::Small => 16,
        Stem::SmallStrided => 32,
        Stem::ImageNet => 64,
    }
}

fn noise(seed: u64, domain: u16, len: usize) -> Vec<f32> {
    let stream = Stream::new(seed, domain);
    (0..len).map(|i| stream.at(i as u64).normal()).collect()
}

fn perturbed(network: &Network, seed: u64, domain: u16) -> Vec<f32> {
    let initial = network.parameters().initial(Stream::new(seed, domain));
    let noise = noise(seed, domain + 1, initial.len());
    initial.iter().zip(noise).map(|(p, n)| p + PERTURBATION * n).collect()
}

/// Inputs of both computations.
struct Point {
    theta: Vec<f32>,
    head: Vec<f32>,
    /// θ and head of the target network, if there is one. They are not a copy of the online
    /// network, or it would predict itself.
    target: Option<(Vec<f32>, Vec<f32>)>,
    views: [Vec<f32>; 2],
    direction: Vec<f32>,
    dims: [usize; 4],
}

/// Results of the backend at the point.
struct Found {
    loss: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
    gauss_newton: Vec<f64>,
    solution: Vec<f64>,
}

/// x of `(I + H/damping) x = b` after [`ITERATIONS`] conjugate gradient steps from 0, in f64 except
/// for `hessian`.
fn solve(b: &[f64], damping: f64, mut hessian: impl FnMut(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let (mut x, mut r, mut p) = (scale(0.0, b), b.to_vec(), b.to_vec());
    for _ in 0..ITERATIONS {
        let product = add(&p, 1.0 / damping, &hessian(&p));
        let step = dot(&r, &r) / dot(&p, &product);
        let next = add(&r, -step, &product);
        x = add(&x, step, &p);
        p = add(&next, dot(&next, &next) / dot(&r, &r), &p);
        r = next;
    }
    x
}

///
/// It also solves for `rhs` with `damping`.
fn found<B: Kernels>(
    networks: &Networks,
    point: &Point,
    method: &dyn Method<B>,
    (rhs, damping): (&[f64], f64),
    device: &B::Device,
) -> Found {
    let flat = |values: &[f32]| upload::<B, 1>(values.to_vec(), [values.len()], device);
    let both =
        |theta: &[f32], head: &[f32]| TowerParameters { backbone: flat(theta), head: flat(head) };
    let direction = flat(&point.direction);
    let linearize = |curvature: Curvature| {
        let views: Vec<_> =
            point.views.iter().map(|view| upload(view.clone(), point.dims, device)).collect();
        let target = point.target.as_ref().map(|(theta, head)| both(theta, head));
        let loss = method.loss_beside(networks.target_tower().zip(target.as_ref()), &views);
        let settings = LinearizationSettings { with_gradient: true, ..curvature.into() };
        let (tower, parameters) = (networks.pretext_tower(), both(&point.theta, &point.head));
        Linearization::<B>::new(tower, parameters, views, loss, settings)
    };
    let at = linearize(Curvature::Hessian);
    let hessian = read(at.product(&direction));
    let (loss, gradient) =
        (at.value(), read(at.gradient().expect("the gradient was requested").clone()));
    let solution = solve(rhs, damping, |v| {
        read(at.product(&flat(&v.iter().map(|v| *v as f32).collect::<Vec<_>>())))
    });
    drop(at);
    let gauss_newton = read(linearize(Curvature::GaussNewton).product(&direction));
    Found { loss, gradient, hessian, gauss_newton, solution }
}

/// Compares loss, gradient, both products and a solve, in every precision that the backend has.
pub(super) fn check<B: Kernels>(config: &RunConfig, device: &B::Device, checks: &mut Checks) {
    let narrow = narrowed(config);
    let method = method::<B>(&narrow);
    let Some(oracle) = method.oracle() else {
        let method = narrow.pretext.method;
        checks.leave_out(format!("the network against a copy in f64: {method} has no loss in f64"));
        return;
    };
    let networks = networks(&narrow, 2);
    let side = side(config.network.stem);
    let dims = [IMAGES, 3, side, side];
    let pixels = dims.iter().product();
    let seed = config.seed;
    let point = Point {
        theta: perturbed(&networks.backbone, seed, 1),
        head: perturbed(&networks.pretext_head, seed, 3),
        target: networks
            .target_tower()
            .map(|tower| (perturbed(tower.backbone, seed, 20), perturbed(tower.head, seed, 22))),
        views: [5, 6].map(|domain| noise(seed, domain, pixels)),
        direction: noise(seed, 7, networks.backbone.parameters().len()),
        dims,
    };
    checks.note(format!(
        "narrow network: {}, {} width {}, projector {:?}, {IMAGES} images of {side} px of noise in two \
         views, and the same network in f64",
        narrow.pretext.method,
        narrow.network.architecture,
        narrow.network.width,
        narrow.network.projector
    ));
    let twin = Twin {
        backbone: networks.backbone.parameters(),
        head: networks.pretext_head.parameters(),
        stem: config.network.stem,
        oracle,
    };
    let views = [wide(&point.views[0]), wide(&point.views[1])];
    let batch = Batch { views, dims, head: wide(&point.head), targets: Vec::new() };
    let predicted = networks.target_head.as_ref().zip(point.target.as_ref());
    let predicted = predicted.map(|(head, (theta, parameters))| {
        let target = Twin { head: head.parameters(), ..twin };
        let batch = Batch { head: wide(parameters), ..batch.clone() };
        target.outputs(&wide(theta), &batch)
    });
    let batch = Batch { targets: predicted.unwrap_or_default(), ..batch };
    let (theta, direction) = (wide(&point.theta), wide(&point.direction));
    let step = STEP * norm(&theta) / norm(&direction);
    let at = twin.evaluate(&theta, &batch);
    let above = twin.evaluate(&add(&theta, step, &direction), &batch);
    let below = twin.evaluate(&add(&theta, -step, &direction), &batch);
    let slope = |above: &[f64], below: &[f64]| scale(0.5 / step, &add(above, -1.0, below));

    let hessian = |v: &[f64]| {
        let step = STEP * norm(&theta) / norm(v);
        let [above, below] =
            [step, -step].map(|step| twin.evaluate(&add(&theta, step, v), &batch).gradient);
        scale(0.5 / step, &add(&above, -1.0, &below))
    };
    // The loss changes most along the gradient, where differences keep the most digits.
    let size = norm(&at.gradient);
    let step_up = STEP * norm(&theta) / size;
    let [above_loss, below_loss] = [step_up, -step_up]
        .map(|step| twin.evaluate(&add(&theta, step, &at.gradient), &batch).loss);
    let difference = (above_loss - below_loss) / (2.0 * step_up);
    let error = (size * size - difference).abs() / (size * size);
    let name = "f64 gradient, differences of the loss";
    checks.add(Check::new("narrow network", name, error, DOUBLE));

    let expected = slope(&above.gradient, &below.gradient);
    let tangents = slope(&above.inner, &below.inner);
    let expected_form = oracle.quadratic_form(&at.inner, &tangents, 2 * IMAGES);
    let damping = DAMPING * norm(&hessian(&at.gradient)) / size;
    let solution = solve(&at.gradient, damping, hessian);
    let precisions = if B::ON_HOST { &Precision::ALL[..1] } else { &Precision::ALL[..] };
    for precision in precisions.iter().copied() {
        let networks = networks_in(&narrow, precision);
        let found = found::<B>(&networks, &point, &*method, (&at.gradient, damping), device);
        let group = match precision {
            Precision::F32 => "narrow network".to_owned(),
            _ => format!("narrow network in {precision}"),
        };
        let mut add_check = |name: &str, error: f64, bound: f64| {
            checks.add(Check::new(&group, name, error, bound));
        };
        let bound = derivative_bound(precision);
        let error = (found.loss - at.loss).abs() / at.loss.abs();
        add_check("loss", error, loss_bound(precision));
        add_check("gradient", relative(&found.gradient, &at.gradient), bound);
        let name = "hessian product, differences of the gradient";
        add_check(name, relative(&found.hessian, &expected), bound);
        let form = dot(&found.gauss_newton, &direction);
        let name = "gauss-newton form, differences of the inner variables";
        add_check(name, (form - expected_form).abs() / expected_form.abs(), bound);
        let name = "solve with the hessian, the same with differences";
        add_check(name, relative(&found.solution, &solution), bound);
    }
}

/// The narrow networks in `precision`.
fn networks_in(narrow: &RunConfig, precision: Precision) -> Networks {
    networks(&RunConfig { precision, ..narrow.clone() }, 2)
}
