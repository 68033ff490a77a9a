//! The downstream loss against central differences and closed forms.

use bissl_firmware::network::{cross_entropy, largest};
use bissl_firmware::shape::{CLASSES, ClassifierParameters, EncoderParameters};
use bissl_firmware::{Blank, Downstream, Portable};

use crate::support::{dot, draws, moved, random};

#[test]
fn gradient_is_that_of_central_differences() {
    for seed in 0..8 {
        let mut draws = draws(700 + seed);
        let mut downstream = Downstream::<f64>::BLANK;
        for pixel in downstream.frames.as_flattened_mut() {
            *pixel = f64::from(draws.uniform());
        }
        for label in &mut downstream.labels {
            *label = draws.below(CLASSES as u32) as u8;
        }
        let encoder: EncoderParameters<f64> = random(&mut draws);
        let head: ClassifierParameters<f64> = random(&mut draws);
        let (mut encoder_gradient, mut head_gradient) = (Blank::BLANK, Blank::BLANK);
        let room = Some(&mut encoder_gradient);
        downstream.gradient(&mut Portable, (&encoder, &head), room, &mut head_gradient);

        let direction: (EncoderParameters<f64>, ClassifierParameters<f64>) =
            (random(&mut draws), random(&mut draws));
        let mut loss = |step: f64| {
            let encoder = moved(&encoder, step, &direction.0);
            let head = moved(&head, step, &direction.1);
            let mut unused = Blank::BLANK;
            downstream.gradient(&mut Portable, (&encoder, &head), None, &mut unused)
        };
        let step = 1e-6;
        let expected = (loss(step) - loss(-step)) / (2.0 * step);
        let found = dot(&encoder_gradient, &direction.0) + dot(&head_gradient, &direction.1);
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");
    }
}

#[test]
fn equal_logits_cost_the_logarithm_of_the_classes() {
    let mut cotangent = [[0.0f64; 4]; 3];
    let loss = cross_entropy(&[0, 3, 1], &[[2.5; 4]; 3], &mut cotangent);
    assert!((loss - 4f64.ln()).abs() < 1e-15);
    assert_eq!(cotangent[1], [0.25 / 3.0, 0.25 / 3.0, 0.25 / 3.0, -0.75 / 3.0]);
}

#[test]
fn large_logits_neither_overflow_nor_vanish() {
    let mut cotangent = [[0.0f32; 2]; 1];
    assert_eq!(cross_entropy(&[1], &[[3e4, 0.0]], &mut cotangent), 3e4);
    assert_eq!(cotangent, [[1.0, -1.0]]);
}

#[test]
fn the_first_of_equal_classes_wins() {
    assert_eq!(largest(&[0.0, 2.0, 2.0, -1.0]), 1);
    assert_eq!(largest(&[-0.0, 0.0]), 0);
}
