//! The downstream loss against central differences and closed forms.

use bissl_firmware::network::{cross_entropy, largest};
use bissl_firmware::{Compact, Configuration, DigitsDevice, Downstream, Plan, parameters};

use crate::support::{dot, draws, moved, random};

#[test]
fn gradient_is_that_of_central_differences() {
    let model = DigitsDevice::MODEL_REF;
    let rows = usize::from(model.downstream_batch);
    for seed in 0..8 {
        let mut draws = draws(700 + seed);
        let mut memory = vec![0.0f64; Plan::new(model).scratch.floats];
        let (mut downstream, _) = Downstream::new(model, rows, &mut memory).unwrap();
        for pixel in downstream.frames.iter_mut() {
            *pixel = f64::from(draws.uniform());
        }
        for label in downstream.labels.iter_mut() {
            *label = f64::from(draws.below(u32::from(model.classes)));
        }
        let encoder: Vec<f64> = random(&mut draws, parameters(model.trained()));
        let head: Vec<f64> = random(&mut draws, model.classifier().parameters());
        let (mut to_encoder, mut to_head) = (vec![9.0; encoder.len()], vec![9.0; head.len()]);
        let room = Some(&mut to_encoder[..]);
        downstream.gradient(&mut Compact, (&encoder, &head), room, &mut to_head).unwrap();

        let direction: (Vec<f64>, Vec<f64>) =
            (random(&mut draws, encoder.len()), random(&mut draws, head.len()));
        let mut loss = |step: f64| {
            let encoder = moved(&encoder, step, &direction.0);
            let head = moved(&head, step, &direction.1);
            let mut unused = vec![0.0; head.len()];
            downstream.gradient(&mut Compact, (&encoder, &head), None, &mut unused).unwrap()
        };
        let step = 1e-6;
        let expected = (loss(step) - loss(-step)) / (2.0 * step);
        let found = dot(&to_encoder, &direction.0) + dot(&to_head, &direction.1);
        assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "seed {seed}");
    }
}

#[test]
fn equal_logits_cost_the_logarithm_of_the_classes() {
    let mut cotangent = [0.0f64; 12];
    let loss = cross_entropy(&[0.0, 3.0, 1.0], &[2.5; 12], &mut cotangent);
    assert!((loss - 4f64.ln()).abs() < 1e-15);
    assert_eq!(cotangent[4..8], [0.25 / 3.0, 0.25 / 3.0, 0.25 / 3.0, -0.75 / 3.0]);
}

#[test]
fn large_logits_neither_overflow_nor_vanish() {
    let mut cotangent = [0.0f32; 2];
    assert_eq!(cross_entropy(&[1.0], &[3e4, 0.0], &mut cotangent), 3e4);
    assert_eq!(cotangent, [1.0, -1.0]);
}

#[test]
fn the_first_of_equal_classes_wins() {
    assert_eq!(largest(&[0.0, 2.0, 2.0, -1.0]), 1);
    assert_eq!(largest(&[-0.0, 0.0]), 0);
}
