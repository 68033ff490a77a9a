//! Gradient and curvature of the pretext loss against f64 central differences and the laws of a Hessian.

use bissl_core::Draws;
use bissl_firmware::shape::{EncoderParameters, ProjectorParameters};
use bissl_firmware::{Blank, LowerParameters, Portable, Pretext, Real};

use crate::support::{distance, dot, draws, moved, random};

const SEEDS: u64 = 8;
const TAU: f64 = 0.5;

/// A batch and parameters at random; ReLU units of both signs, embeddings of different lengths.
struct Case<T: Real> {
    pretext: Pretext<T>,
    encoder: EncoderParameters<T>,
    projector: ProjectorParameters<T>,
}

impl<T: Real> Case<T> {
    fn new(draws: &mut Draws) -> Self {
        let mut pretext = Pretext::BLANK;
        for pixel in pretext.views.as_flattened_mut() {
            *pixel = T::from_f32(draws.uniform_in(-1.0, 1.0));
        }
        Self { pretext, encoder: random(draws), projector: random(draws) }
    }

    fn loss(&mut self) -> T {
        let at = LowerParameters { encoder: &self.encoder, projector: &self.projector };
        self.pretext.gradient(&mut Portable, &at, T::from_f32(TAU as f32), None, None)
    }

    fn gradient(&mut self) -> (EncoderParameters<T>, ProjectorParameters<T>) {
        let (mut encoder, mut projector) = (Blank::BLANK, Blank::BLANK);
        let at = LowerParameters { encoder: &self.encoder, projector: &self.projector };
        let tau = T::from_f32(TAU as f32);
        let places = (Some(&mut encoder), Some(&mut projector));
        self.pretext.gradient(&mut Portable, &at, tau, places.0, places.1);
        (encoder, projector)
    }

    /// On the linearisation of the latest gradient or loss.
    fn product(&mut self, direction: &EncoderParameters<T>) -> EncoderParameters<T> {
        let mut out = Blank::BLANK;
        let at = LowerParameters { encoder: &self.encoder, projector: &self.projector };
        let tau = T::from_f32(TAU as f32);
        self.pretext.product(&mut Portable, &at, tau, direction, &mut out);
        out
    }

    fn at_encoder<R>(
        &mut self,
        step: T,
        direction: &EncoderParameters<T>,
        of: impl Fn(&mut Self) -> R,
    ) -> R {
        let there = moved(&self.encoder, step, direction);
        let here = core::mem::replace(&mut self.encoder, there);
        let result = of(self);
        self.encoder = here;
        result
    }
}

#[test]
fn gradient_is_that_of_central_differences() {
    for seed in 0..SEEDS {
        let mut draws = draws(seed);
        let mut case = Case::<f64>::new(&mut draws);
        let (encoder, projector) = case.gradient();
        let step = 1e-6;

        let direction: EncoderParameters<f64> = random(&mut draws);
        let ahead = case.at_encoder(step, &direction, Case::loss);
        let behind = case.at_encoder(-step, &direction, Case::loss);
        let (found, expected) = (dot(&encoder, &direction), (ahead - behind) / (2.0 * step));
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");

        let direction: ProjectorParameters<f64> = random(&mut draws);
        let here = case.projector.clone();
        case.projector = moved(&here, step, &direction);
        let ahead = case.loss();
        case.projector = moved(&here, -step, &direction);
        let behind = case.loss();
        let (found, expected) = (dot(&projector, &direction), (ahead - behind) / (2.0 * step));
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");
    }
}

#[test]
fn product_is_the_central_difference_of_the_gradient() {
    for seed in 0..SEEDS {
        let mut draws = draws(100 + seed);
        let mut case = Case::<f64>::new(&mut draws);
        let direction: EncoderParameters<f64> = random(&mut draws);
        case.loss();
        let product = case.product(&direction);

        // So small a step that no ReLU changes sides: the network is smooth between its kinks.
        let step = 1e-7;
        let gradient = |case: &mut Case<f64>| case.gradient().0;
        let ahead = case.at_encoder(step, &direction, gradient);
        let behind = case.at_encoder(-step, &direction, gradient);
        let mut difference = moved(&ahead, -1.0, &behind);
        let scale = |segment: &mut [f64]| segment.iter_mut().for_each(|x| *x /= 2.0 * step);
        bissl_firmware::Vector::each_mut(&mut difference, &mut { scale });
        let error = distance(&product, &difference);
        assert!(error < 1e-6, "seed {seed}: relative error {error:.1e}");
    }
}

#[test]
fn product_is_symmetric() {
    for seed in 0..SEEDS {
        let mut draws = draws(200 + seed);
        let mut case = Case::<f64>::new(&mut draws);
        let (u, v): (EncoderParameters<f64>, EncoderParameters<f64>) =
            (random(&mut draws), random(&mut draws));
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
        let mut case = Case::<f64>::new(&mut draws);
        let (u, v): (EncoderParameters<f64>, EncoderParameters<f64>) =
            (random(&mut draws), random(&mut draws));
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
    let mut case = Case::<f32>::new(&mut draws);
    let (u, v): (EncoderParameters<f32>, EncoderParameters<f32>) =
        (random(&mut draws), random(&mut draws));
    case.loss();
    let first = case.product(&u);
    case.product(&v);
    assert!(case.product(&u) == first, "the same product twice, another between them");
}

#[test]
fn f32_agrees_with_f64() {
    for seed in 0..SEEDS {
        let (mut small, mut big) =
            (Case::<f32>::new(&mut draws(500 + seed)), Case::<f64>::new(&mut draws(500 + seed)));
        let (loss, exact) = (f64::from(small.loss()), big.loss());
        assert!((loss - exact).abs() < 1e-5 * exact, "seed {seed}: {loss} and {exact}");
        let product = small.product(&random(&mut draws(seed)));
        let exact = big.product(&random(&mut draws(seed)));
        let mut widened = EncoderParameters::<f64>::BLANK;
        let mut values = Vec::new();
        bissl_firmware::Vector::zip(&product, &product, &mut |x: &[f32], _: &[f32]| {
            values.extend(x.iter().map(|x| f64::from(*x)));
        });
        let mut values = values.into_iter();
        bissl_firmware::Vector::each_mut(&mut widened, &mut |segment: &mut [f64]| {
            segment.iter_mut().zip(&mut values).for_each(|(x, value)| *x = value);
        });
        let error = distance(&widened, &exact);
        assert!(error < 1e-3, "seed {seed}: relative error {error:.1e}");
    }
}

#[test]
fn blank_frames_have_no_direction_and_no_gradient() {
    let mut draws = draws(600);
    let mut case = Case::<f32>::new(&mut draws);
    // Without biases a blank frame's embedding is exactly 0.
    case.encoder.first.bias = Blank::BLANK;
    case.encoder.second.bias = Blank::BLANK;
    case.projector.first.bias = Blank::BLANK;
    case.pretext.views = Blank::BLANK;
    let (encoder, projector) = case.gradient();
    // All logits are 0, so each row chooses among the others at random.
    let expected = (bissl_firmware::shape::VIEWS as f32 - 1.0).ln();
    assert!((case.loss() - expected).abs() < 1e-5);
    assert!(encoder == Blank::BLANK && projector == Blank::BLANK);
    let direction = random(&mut draws);
    assert!(case.product(&direction) == Blank::BLANK);
}
