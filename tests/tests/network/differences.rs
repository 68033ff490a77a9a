//! Gradients and Hessian products of whole networks against f64 central differences.
//!
//! ReLU networks need a step near 1e-8: at larger ones units change sign inside the interval.

use bissl::network::{Architecture, BackboneSettings, Curvature, Stem, TowerParameters};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::support::{Case, central, dot, error, norm, shifted, values};

/// Of central differences with a relative step of 1e-8 in f64.
const TOLERANCE: f64 = 1e-7;

/// The same case with the backbone's parameters moved.
fn moved(case: &Case<B>, step: f64, direction: &Tensor<B, 1>) -> Case<B> {
    let backbone = shifted(&case.parameters.backbone, step, direction);
    let parameters = TowerParameters { backbone, head: case.parameters.head.clone() };
    let (backbone, head) = (case.backbone.clone(), case.head.clone());
    Case { backbone, head, parameters, views: case.views.clone() }
}

fn agrees(settings: BackboneSettings, batch_and_side: (usize, usize), perturbation: f64) {
    for seed in 0..3 {
        let case = Case::<B>::new(settings, &[6, 5], batch_and_side, perturbation, seed);
        let at = case.linearize(Curvature::Hessian);
        let direction = case.direction(seed + 7);
        let size = norm(&values(&case.parameters.backbone)) / norm(&values(&direction));
        let step = 1e-8 * size;
        let (plus, minus) = (moved(&case, step, &direction), moved(&case, -step, &direction));
        let plus = plus.linearize(Curvature::Hessian);
        let minus = minus.linearize(Curvature::Hessian);
        let gradients = (values(plus.gradient().unwrap()), values(minus.gradient().unwrap()));

        let expected = central(&gradients.0, &gradients.1, step);
        let product = error(&values(&at.product(&direction)), &expected);
        assert!(product <= TOLERANCE, "{settings:?}, seed {seed}: product {product:e}");

        let slope = dot(&values(at.gradient().unwrap()), &values(&direction));
        let difference = (plus.value() - minus.value()) / (2.0 * step);
        let gradient = (slope - difference).abs() / norm(&values(at.gradient().unwrap()));
        assert!(gradient <= 1e-6, "{settings:?}, seed {seed}: gradient {gradient:e}");
    }
}

#[test]
fn small_resnet_agrees_with_central_differences() {
    let settings =
        BackboneSettings { architecture: Architecture::ResNetSmall, width: 4, stem: Stem::Small };
    agrees(settings, (4, 9), 0.3);
}

#[test]
fn resnet_18_with_imagenet_stem_agrees_with_central_differences() {
    let settings =
        BackboneSettings { architecture: Architecture::ResNet18, width: 2, stem: Stem::ImageNet };
    agrees(settings, (4, 33), 0.3);
}
