//! Gradient and curvature of the pretext loss, compared with f64 central differences and with the
//! laws of a Hessian.

use bissl_core::Draws;
use bissl_firmware::{
    Compact, Configuration, Curvature, DigitsDevice, LowerParameters, Model, Plan, Pretext,
    PretextMemory, Real, parameters,
};

use crate::support::{distance, dot, draws, moved, random};

const SEEDS: u64 = 8;
const TAU: f32 = 0.5;

const MODEL: &Model = DigitsDevice::MODEL_REF;
/// The model of the digits device with Gauss-Newton products.
const GAUSS_NEWTON: &Model = &Model { curvature: Curvature::GaussNewton, ..DigitsDevice::MODEL };

/// A random batch and random parameters: ReLU units of both signs, embeddings of different lengths.
struct Case<T> {
    model: &'static Model,
    batch: u16,
    views: Vec<T>,
    memory: [Vec<T>; 4],
    encoder: Vec<T>,
    projector: Vec<T>,
}

impl<T: Real> Case<T> {
    fn new(model: &'static Model, draws: &mut Draws) -> Self {
        let plan = Plan::new(model);
        let floats = [plan.values, plan.cotangents, plan.loss, plan.scratch];
        Self {
            model,
            batch: model.pretext_batch,
            views: random(draws, plan.views.floats),
            memory: floats.map(|span| vec![T::BLANK; span.floats]),
            encoder: random(draws, parameters(model.trained())),
            projector: random(draws, parameters(model.projector)),
        }
    }

    /// Calls `body` on the pretext problem, with the parameters and the scratch.
    fn with<R>(
        &mut self,
        body: impl FnOnce(&mut Pretext<'_, T>, LowerParameters<'_, T>, &mut [T]) -> R,
    ) -> R {
        let [values, cotangents, loss, scratch] = &mut self.memory;
        let memory = PretextMemory { views: &mut self.views, values, cotangents, loss };
        let mut pretext = Pretext::new(self.model, self.batch, memory, T::from_f32(TAU)).unwrap();
        let at = LowerParameters { encoder: &self.encoder, projector: &self.projector };
        body(&mut pretext, at, scratch)
    }

    fn loss(&mut self) -> T {
        self.with(|pretext, at, _| pretext.gradient(&mut Compact, at, None, None)).unwrap()
    }

    fn gradient(&mut self) -> (Vec<T>, Vec<T>) {
        let blank = |vector: &[T]| vec![T::from_f32(9.0); vector.len()];
        let (mut encoder, mut projector) = (blank(&self.encoder), blank(&self.projector));
        self.with(|pretext, at, _| {
            let places = (Some(&mut encoder[..]), Some(&mut projector[..]));
            pretext.gradient(&mut Compact, at, places.0, places.1).unwrap();
        });
        (encoder, projector)
    }

    /// The product on the linearisation of the latest gradient or loss.
    fn product(&mut self, direction: &[T]) -> Vec<T> {
        let mut out = vec![T::from_f32(9.0); direction.len()];
        self.with(|pretext, at, scratch| {
            pretext.product(&mut Compact, at, scratch, direction, &mut out).unwrap();
        });
        out
    }

    fn at_encoder<R>(&mut self, step: T, direction: &[T], of: impl Fn(&mut Self) -> R) -> R {
        let there = moved(&self.encoder, step, direction);
        let here = core::mem::replace(&mut self.encoder, there);
        let result = of(self);
        self.encoder = here;
        result
    }

    fn direction(&self, draws: &mut Draws) -> Vec<T> {
        random(draws, self.encoder.len())
    }
}

#[test]
fn gradient_is_that_of_central_differences() {
    for seed in 0..SEEDS {
        let mut draws = draws(seed);
        let mut case = Case::<f64>::new(MODEL, &mut draws);
        let (encoder, projector) = case.gradient();
        let step = 1e-6;

        let direction = case.direction(&mut draws);
        let ahead = case.at_encoder(step, &direction, Case::loss);
        let behind = case.at_encoder(-step, &direction, Case::loss);
        let (found, expected) = (dot(&encoder, &direction), (ahead - behind) / (2.0 * step));
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");

        let direction: Vec<f64> = random(&mut draws, projector.len());
        let here = case.projector.clone();
        case.projector = moved(&here, step, &direction);
        let ahead = case.loss();
        case.projector = moved(&here, -step, &direction);
        let behind = case.loss();
        let (found, expected) = (dot(&projector, &direction), (ahead - behind) / (2.0 * step));
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");
    }
}

/// `(∇L(θ + h v) − ∇L(θ − h v)) / 2h`.
fn difference_of_gradients(case: &mut Case<f64>, direction: &[f64]) -> Vec<f64> {
    // The step is so small that no ReLU changes sides: the network is smooth between its kinks.
    let step = 1e-7;
    let gradient = |case: &mut Case<f64>| case.gradient().0;
    let ahead = case.at_encoder(step, direction, gradient);
    let behind = case.at_encoder(-step, direction, gradient);
    ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect()
}

#[test]
fn product_is_the_central_difference_of_the_gradient() {
    for seed in 0..SEEDS {
        let mut draws = draws(100 + seed);
        let mut case = Case::<f64>::new(MODEL, &mut draws);
        // The whole batch, and a part of it, which gives another function.
        for batch in [MODEL.pretext_batch, 4] {
            case.batch = batch;
            let direction = case.direction(&mut draws);
            case.loss();
            let product = case.product(&direction);
            let error = distance(&product, &difference_of_gradients(&mut case, &direction));
            assert!(error < 1e-6, "seed {seed}, batch {batch}: relative error {error:.1e}");
        }
    }
}

#[test]
fn gauss_newton_product_is_semi_definite_and_not_the_hessian_s() {
    for seed in 0..SEEDS {
        let mut draws = draws(150 + seed);
        let mut case = Case::<f64>::new(GAUSS_NEWTON, &mut draws);
        let direction = case.direction(&mut draws);
        case.loss();
        let product = case.product(&direction);
        assert!(dot(&direction, &product) >= 0.0, "seed {seed}");
        let error = distance(&product, &difference_of_gradients(&mut case, &direction));
        assert!(error > 1e-2, "seed {seed}: the Hessian's product, to {error:.1e}");
    }
}

/// The matrix by its definition `Jᵀ C J`, with J the masked logits' Jacobian by central differences
/// and C the Hessian of the cross entropy in them.
#[test]
fn gauss_newton_product_is_the_definition_s() {
    for seed in 0..3 {
        let mut draws = draws(170 + seed);
        let mut case = Case::<f64>::new(GAUSS_NEWTON, &mut draws);
        let (u, v) = (case.direction(&mut draws), case.direction(&mut draws));
        let logits = |case: &mut Case<f64>| {
            case.loss();
            // The loss's memory begins with the unit vectors.
            let width = MODEL.embedding();
            let views = usize::from(case.batch) * 2;
            let unit: Vec<Vec<f64>> =
                case.memory[2].chunks(width).take(views).map(<[f64]>::to_vec).collect();
            let products = unit.iter().flat_map(|x| unit.iter().map(|y| dot(x, y)));
            products.map(|s| s / f64::from(TAU)).collect::<Vec<f64>>()
        };
        let step = 1e-6;
        let mut along = |direction: &[f64]| {
            let ahead = case.at_encoder(step, direction, logits);
            let behind = case.at_encoder(-step, direction, logits);
            ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect::<Vec<f64>>()
        };
        let (s_u, s_v) = (along(&u), along(&v));
        let s = logits(&mut case);
        let views = usize::from(case.batch) * 2;
        let mut expected = 0.0;
        for i in 0..views {
            let row = |all: &[f64]| all[i * views..(i + 1) * views].to_vec();
            let (s, s_u, s_v) = (row(&s), row(&s_u), row(&s_v));
            let others: Vec<usize> = (0..views).filter(|j| *j != i).collect();
            let sum: f64 = others.iter().map(|j| s[*j].exp()).sum();
            let p = |j: &usize| s[*j].exp() / sum;
            let mean = |t: &[f64]| others.iter().map(|j| p(j) * t[*j]).sum::<f64>();
            let covariance: f64 = others.iter().map(|j| p(j) * s_u[*j] * s_v[*j]).sum::<f64>()
                - mean(&s_u) * mean(&s_v);
            expected += covariance / views as f64;
        }
        case.loss();
        let found = dot(&u, &case.product(&v));
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{found} {expected}");
    }
}

#[test]
fn product_is_symmetric() {
    for (seed, model) in (0..SEEDS).flat_map(|seed| [(seed, MODEL), (seed, GAUSS_NEWTON)]) {
        let mut draws = draws(200 + seed);
        let mut case = Case::<f64>::new(model, &mut draws);
        let (u, v) = (case.direction(&mut draws), case.direction(&mut draws));
        case.loss();
        let (hu, hv) = (case.product(&u), case.product(&v));
        let (left, right) = (dot(&u, &hv), dot(&v, &hu));
        let scale = (dot(&hu, &hu) * dot(&v, &v)).sqrt();
        assert!((left - right).abs() < 1e-12 * scale, "seed {seed}: {left} and {right}");
    }
}

#[test]
fn product_is_linear() {
    for seed in 0..SEEDS {
        let mut draws = draws(300 + seed);
        let mut case = Case::<f64>::new(MODEL, &mut draws);
        let (u, v) = (case.direction(&mut draws), case.direction(&mut draws));
        case.loss();
        let sum = case.product(&moved(&u, -3.5, &v));
        let expected = moved(&case.product(&u), -3.5, &case.product(&v));
        let error = distance(&sum, &expected);
        assert!(error < 1e-12, "seed {seed}: relative error {error:.1e}");
    }
}

#[test]
fn products_leave_the_linearisation_as_it_was() {
    let mut draws = draws(400);
    let mut case = Case::<f32>::new(MODEL, &mut draws);
    let (u, v) = (case.direction(&mut draws), case.direction(&mut draws));
    case.loss();
    let first = case.product(&u);
    case.product(&v);
    assert!(case.product(&u) == first, "the same product twice, another between them");
}

#[test]
fn f32_agrees_with_f64() {
    for seed in 0..SEEDS {
        let mut small = Case::<f32>::new(MODEL, &mut draws(500 + seed));
        let mut big = Case::<f64>::new(MODEL, &mut draws(500 + seed));
        let (loss, exact) = (f64::from(small.loss()), big.loss());
        assert!((loss - exact).abs() < 1e-5 * exact, "seed {seed}: {loss} and {exact}");
        let direction: Vec<f32> = small.direction(&mut draws(seed));
        let wide = |vector: &[f32]| vector.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let (product, exact) = (small.product(&direction), big.product(&wide(&direction)));
        let error = distance(&wide(&product), &exact);
        assert!(error < 1e-3, "seed {seed}: relative error {error:.1e}");
    }
}

#[test]
fn blank_frames_have_no_direction_and_no_gradient() {
    let mut draws = draws(600);
    let mut case = Case::<f32>::new(MODEL, &mut draws);
    // Without biases a blank frame's embedding is exactly 0.
    let biases = |layers: &[bissl_firmware::Layer], vector: &mut [f32]| {
        let mut start = 0;
        for layer in layers {
            vector[start + layer.weights()..start + layer.parameters()].fill(0.0);
            start += layer.parameters();
        }
    };
    biases(MODEL.trained(), &mut case.encoder);
    biases(MODEL.projector, &mut case.projector);
    case.views.fill(0.0);
    let (encoder, projector) = case.gradient();
    // All logits are 0, so each row chooses uniformly among the others.
    let expected = (2.0 * f32::from(MODEL.pretext_batch) - 1.0).ln();
    assert!((case.loss() - expected).abs() < 1e-5);
    assert!(encoder.iter().chain(&projector).all(|x| *x == 0.0));
    let direction = case.direction(&mut draws);
    assert!(case.product(&direction).iter().all(|x| *x == 0.0));
}
