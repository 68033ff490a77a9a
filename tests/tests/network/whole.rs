//! Loss, gradient and Hessian product of whole networks against the second implementation.

use bissl::network::{Architecture, BackboneSettings, Curvature, Stem};

use crate::backend::{B, Oracle, precision};
use crate::oracle::expected;
use crate::support::{Case, error, resnet, values};

fn agrees(settings: BackboneSettings, batch_and_side: (usize, usize), perturbation: f64) {
    // 1e-9 in f64; in f32 a unit near 0 may take its other branch, and then a whole path changes.
    let tolerance = if precision::<B>().step < 1e-3 { 1e-9 } else { 5e-3 };
    for seed in 0..3 {
        // Of so many hidden units no image finds all at 0, which would leave nothing to normalise.
        let case = Case::<B>::new(settings, &[16, 5], batch_and_side, perturbation, seed);
        let direction = case.direction(seed + 7);
        let at = case.linearize(Curvature::Hessian);
        let judge = Case::<Oracle>::new(settings, &[16, 5], batch_and_side, perturbation, seed);
        let expected = expected(&judge, settings, &judge.direction(seed + 7));
        let value = (at.value() - expected.value).abs() / expected.value;
        let gradient = error(&values(at.gradient().unwrap()), &values(&expected.gradient));
        let product = error(&values(&at.product(&direction)), &values(&expected.product));
        for (what, error) in [("loss", value), ("gradient", gradient), ("product", product)] {
            assert!(error <= tolerance, "{settings:?}, seed {seed}: {what} differs by {error:e}");
        }
    }
}

#[test]
fn small_resnet_agrees_with_the_oracle() {
    agrees(resnet(Architecture::ResNetSmall, 4, Stem::Small), (4, 10), 0.2);
}

#[test]
fn small_resnet_with_strided_stem_agrees_with_the_oracle_on_an_odd_batch() {
    agrees(resnet(Architecture::ResNetSmall, 3, Stem::SmallStrided), (7, 13), 0.2);
}

#[test]
fn resnet_18_with_imagenet_stem_agrees_with_the_oracle() {
    agrees(resnet(Architecture::ResNet18, 4, Stem::ImageNet), (4, 36), 0.2);
}

#[test]
fn resnet_18_agrees_with_the_oracle_at_its_initial_parameters() {
    // Every block's last γ is 0 there: only the shortcuts speak.
    agrees(resnet(Architecture::ResNet18, 4, Stem::Small), (4, 8), 0.0);
}

#[test]
fn resnet_34_agrees_with_the_oracle() {
    agrees(resnet(Architecture::ResNet34, 3, Stem::Small), (4, 9), 0.2);
}

#[test]
fn resnet_50_with_imagenet_stem_agrees_with_the_oracle() {
    agrees(resnet(Architecture::ResNet50, 2, Stem::ImageNet), (4, 36), 0.2);
}

#[test]
fn resnet_50_with_strided_stem_agrees_with_the_oracle_on_an_odd_batch() {
    agrees(resnet(Architecture::ResNet50, 3, Stem::SmallStrided), (5, 19), 0.2);
}

#[test]
fn resnet_50_agrees_with_the_oracle_at_its_initial_parameters() {
    agrees(resnet(Architecture::ResNet50, 2, Stem::Small), (4, 8), 0.0);
}
