//! A narrowed copy of the configured network against the same in f64.

use bissl_core::Stream;

use super::dense::{add, dot, norm, relative, scale, wide};
use super::twin::{Batch, Twin, probabilities};
use super::{Check, Checks};
use crate::config::RunConfig;
use crate::driver::upload;
use crate::kernels::{Kernels, read};
use crate::network::loss::NtXent;
use crate::network::{
    Curvature, Linearization, LinearizationSettings, Network, Stem, Tower, TowerParameters,
};
use crate::stage::state::networks;

/// Channels of the first stage; the configuration allows no fewer.
const WIDTH: usize = 8;
const PROJECTOR_WIDTH: usize = 32;
const IMAGES: usize = 6;
/// Noise on the initial parameters, so that no γ stays at 0 and no branch is silent.
const PERTURBATION: f32 = 0.1;
/// Of central differences, relative to ‖θ‖: at larger steps units change sign within the interval, at
/// smaller ones f64 rounds.
const STEP: f64 = 1e-8;

/// Rounding alone is at 5e-7 to 5e-6 with every architecture and stem. A unit near 0 may take its other
/// branch in f32, and then it is more: PyTorch's f32 is at 1.8e-3 to 4.8e-3 of f64 on a whole ResNet-18.
const SINGLE: f64 = 5e-3;
/// The loss is a mean over logits: branches that change at 0 do not move it.
const LOSS: f64 = 1e-5;
/// f64 against itself: a step of 1e-8 changes seven or eight digits of the loss's sixteen. Measured: below
/// 1e-9.
const DOUBLE: f64 = 1e-6;

/// What the copy is.
fn narrowed(config: &RunConfig) -> RunConfig {
    let mut narrow = config.clone();
    narrow.network.width = WIDTH.min(config.network.width);
    for width in &mut narrow.network.projector {
        *width = PROJECTOR_WIDTH.min(*width);
    }
    narrow
}

/// The least side that leaves 2 × 2 pixels to the last of four stages: with one pixel and few images batch
/// statistics would be those of a handful of numbers.
fn side(stem: Stem) -> usize {
    match stem {
        Stem::Small => 16,
        Stem::SmallStrided => 32,
        Stem::ImageNet => 64,
    }
}

fn stem(config: &RunConfig) -> Stem {
    match config.network.stem {
        crate::config::Stem::Small => Stem::Small,
        crate::config::Stem::SmallStrided => Stem::SmallStrided,
        crate::config::Stem::Imagenet => Stem::ImageNet,
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

/// The same numbers for both sides.
struct Point {
    theta: Vec<f32>,
    projector: Vec<f32>,
    views: [Vec<f32>; 2],
    direction: Vec<f32>,
    dims: [usize; 4],
}

/// What the backend computes at the point.
struct Found {
    loss: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
    gauss_newton: Vec<f64>,
}

fn found<B: Kernels>(tower: Tower<'_>, point: &Point, loss: NtXent, device: &B::Device) -> Found {
    let flat = |values: &[f32]| upload::<B, 1>(values.to_vec(), [values.len()], device);
    let direction = flat(&point.direction);
    let linearize = |curvature: Curvature| {
        let parameters =
            TowerParameters { backbone: flat(&point.theta), head: flat(&point.projector) };
        let views =
            point.views.iter().map(|view| upload(view.clone(), point.dims, device)).collect();
        let settings = LinearizationSettings { with_gradient: true, ..curvature.into() };
        Linearization::<B>::new(tower, parameters, views, Box::new(loss), settings)
    };
    let at = linearize(Curvature::Hessian);
    let hessian = read(at.product(&direction));
    let (loss, gradient) = (at.value(), read(at.gradient().expect("made with it").clone()));
    drop(at);
    let gauss_newton = read(linearize(Curvature::GaussNewton).product(&direction));
    Found { loss, gradient, hessian, gauss_newton }
}

/// vᵀ G v of Gauss-Newton from the tangent of the logits: the mean over the anchors of the variance of
/// their tangents under the softmax.
fn quadratic_form(logits: &[f64], tangents: &[f64], rows: usize) -> f64 {
    let anchor = |i: usize| {
        let shares = probabilities(logits, rows, i);
        let tangents = &tangents[i * rows..(i + 1) * rows];
        let mean = dot(&shares, tangents);
        let spread = |(share, tangent): (&f64, &f64)| share * (tangent - mean) * (tangent - mean);
        shares.iter().zip(tangents).map(spread).sum::<f64>()
    };
    (0..rows).map(anchor).sum::<f64>() / rows as f64
}

/// Compares loss, gradient and both products.
pub(super) fn check<B: Kernels>(config: &RunConfig, device: &B::Device, checks: &mut Checks) {
    let narrow = narrowed(config);
    let networks = networks(&narrow, 2);
    let side = side(stem(config));
    let dims = [IMAGES, 3, side, side];
    let pixels = dims.iter().product();
    let seed = config.seed;
    let point = Point {
        theta: perturbed(&networks.backbone, seed, 1),
        projector: perturbed(&networks.projector, seed, 3),
        views: [5, 6].map(|domain| noise(seed, domain, pixels)),
        direction: noise(seed, 7, networks.backbone.parameters().len()),
        dims,
    };
    checks.note(format!(
        "narrow network: {} width {}, projector {:?}, {IMAGES} images of {side} px of noise in two \
         views, beside the same in f64",
        narrow.network.architecture, narrow.network.width, narrow.network.projector
    ));
    let temperature = f64::from(config.simclr.temperature);
    let tower = Tower { backbone: &networks.backbone, head: &networks.projector };
    let found = found::<B>(tower, &point, NtXent { temperature }, device);

    let twin = Twin {
        backbone: networks.backbone.parameters(),
        projector: networks.projector.parameters(),
        stem: stem(config),
        temperature,
    };
    let batch = Batch {
        views: [wide(&point.views[0]), wide(&point.views[1])],
        dims,
        projector: wide(&point.projector),
    };
    let (theta, direction) = (wide(&point.theta), wide(&point.direction));
    let step = STEP * norm(&theta) / norm(&direction);
    let at = twin.evaluate(&theta, &batch);
    let above = twin.evaluate(&add(&theta, step, &direction), &batch);
    let below = twin.evaluate(&add(&theta, -step, &direction), &batch);
    let slope = |above: &[f64], below: &[f64]| scale(0.5 / step, &add(above, -1.0, below));

    let mut add_check = |name: &str, error: f64, bound: f64| {
        checks.add(Check::new("narrow network", name, error, bound));
    };
    // Along the gradient the loss changes most: there differences keep most digits.
    let size = norm(&at.gradient);
    let step_up = STEP * norm(&theta) / size;
    let [above_loss, below_loss] = [step_up, -step_up]
        .map(|step| twin.evaluate(&add(&theta, step, &at.gradient), &batch).loss);
    let difference = (above_loss - below_loss) / (2.0 * step_up);
    let error = (size * size - difference).abs() / (size * size);
    add_check("f64 gradient, differences of the loss", error, DOUBLE);
    add_check("loss", (found.loss - at.loss).abs() / at.loss.abs(), LOSS);
    add_check("gradient", relative(&found.gradient, &at.gradient), SINGLE);
    let expected = slope(&above.gradient, &below.gradient);
    let name = "hessian product, differences of the gradient";
    add_check(name, relative(&found.hessian, &expected), SINGLE);
    let expected = quadratic_form(&at.logits, &slope(&above.logits, &below.logits), 2 * IMAGES);
    let form = dot(&found.gauss_newton, &direction);
    let name = "gauss-newton form, differences of the logits";
    add_check(name, (form - expected).abs() / expected.abs(), SINGLE);
}
