//! Evaluation by running statistics, and their update.

use bissl::network::{Architecture, Stem};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{Case, error, resnet, tensor, values};

fn case() -> Case<B> {
    let settings = resnet(Architecture::ResNetSmall, 3, Stem::ImageNet);
    Case::new(settings, &[6, 5], (5, 20), 0.3, 8)
}

/// Mean 0 and variance 1 everywhere.
fn neutral(case: &Case<B>) -> Tensor<B, 1> {
    let table = case.backbone.statistics();
    let mut flat = vec![0.0; table.len()];
    for segment in table.segments().iter().filter(|s| s.name.ends_with("running_var")) {
        flat[segment.offset..segment.offset + segment.len()].fill(1.0);
    }
    tensor(&flat, [flat.len()])
}

#[test]
fn running_statistics_move_a_tenth_of_the_way_to_the_unbiased_batch_statistics() {
    let case = case();
    let network = &case.backbone;
    let x = case.views[0].clone();
    let forward = network.forward(&case.parameters.backbone, x.clone());
    let updated = values(&network.updated_statistics(neutral(&case), &forward.saved));
    // The first layers by hand: statistics of the stem's convolution.
    let weights = &case.backbone.parameters().segments()[0];
    let w: Vec<f64> = values(&case.parameters.backbone)[..weights.len()].to_vec();
    let shape: [usize; 4] = weights.shape.clone().try_into().unwrap();
    let y = crate::convolution::naive(&values(&x), x.dims(), &w, shape, [2; 2], 3);
    let [batch, channels, height, width] = y.1;
    for channel in 0..channels {
        let plane = height * width;
        let all: Vec<f64> = (0..batch)
            .flat_map(|n| y.0[(n * channels + channel) * plane..][..plane].to_vec())
            .collect();
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let variance = all.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let found = [updated[channel], updated[channels + channel]];
        let expected = [0.1 * mean, 0.9 + 0.1 * variance];
        let error = error(&found, &expected);
        assert!(error <= precision::<B>().equal, "channel {channel}: {error:e}");
    }
}

#[test]
fn evaluation_with_the_batch_s_own_statistics_is_the_training_forward() {
    let case = case();
    let network = &case.backbone;
    let p = &case.parameters.backbone;
    let x = case.views[0].clone();
    let forward = network.forward(p, x.clone());
    // 0.9 old + 0.1 batch, repeated, tends to the batch's statistics.
    let mut running = neutral(&case);
    for _ in 0..400 {
        running = network.updated_statistics(running, &forward.saved);
    }
    let biased = biased(&case, running);
    let found = values(&network.evaluate(p, &biased, x));
    let error = error(&found, &values(&forward.y));
    assert!(error <= 100.0 * precision::<B>().equal, "{error:e}");
}

/// The variances as batch norm uses them while training: biased.
fn biased(case: &Case<B>, running: Tensor<B, 1>) -> Tensor<B, 1> {
    let table = case.backbone.statistics();
    let mut flat = values(&running);
    for segment in table.segments().iter().filter(|s| s.name.ends_with("running_var")) {
        let stage = segment.name.chars().find_map(|c| c.to_digit(10)).unwrap();
        // 20 pixels: 10 after the stem's convolution, 5 after its pool, then 5, 3, 2.
        let side = match (segment.name.starts_with("bn1"), stage) {
            (true, _) => 10.0,
            (false, 1) => 5.0,
            (false, 2) => 3.0,
            (false, _) => 2.0,
        };
        let count = 5.0 * side * side;
        let range = segment.offset..segment.offset + segment.len();
        flat[range].iter_mut().for_each(|v| *v *= (count - 1.0) / count);
    }
    tensor(&flat, [flat.len()])
}

#[test]
fn evaluation_treats_every_image_alone() {
    let case = case();
    let p = &case.parameters.backbone;
    let x = case.views[0].clone();
    let together = values(&case.backbone.evaluate(p, &neutral(&case), x.clone()));
    let width = together.len() / 5;
    for image in 0..5 {
        let one = x.clone().slice(image..image + 1);
        let alone = values(&case.backbone.evaluate(p, &neutral(&case), one));
        let error = error(&alone, &together[image * width..(image + 1) * width]);
        assert!(error <= precision::<B>().equal, "image {image}: {error:e}");
    }
}
