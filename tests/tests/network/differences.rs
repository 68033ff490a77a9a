//! Gradients and Hessian products of whole networks against f64 central differences.
//!
//! ReLU networks need a step near 1e-8: at larger ones units change sign inside the interval.

use bissl::network::{
    Architecture, BackboneSettings, Curvature, LayerSpec, Stem, TowerParameters, layered,
    layered_features, plain_head,
};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::support::{Case, central, dot, error, norm, resnet, shifted, values};

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
        case_agrees(&case, &format!("{settings:?}, seed {seed}"), seed);
    }
}

fn case_agrees(case: &Case<B>, name: &str, seed: u64) {
    let at = case.linearize(Curvature::Hessian);
    let direction = case.direction(seed + 7);
    let size = norm(&values(&case.parameters.backbone)) / norm(&values(&direction));
    let step = 1e-8 * size;
    let (plus, minus) = (moved(case, step, &direction), moved(case, -step, &direction));
    let plus = plus.linearize(Curvature::Hessian);
    let minus = minus.linearize(Curvature::Hessian);
    let gradients = (values(plus.gradient().unwrap()), values(minus.gradient().unwrap()));

    let expected = central(&gradients.0, &gradients.1, step);
    let product = error(&values(&at.product(&direction)), &expected);
    assert!(product <= TOLERANCE, "{name}: product {product:e}");

    let slope = dot(&values(at.gradient().unwrap()), &values(&direction));
    let difference = (plus.value() - minus.value()) / (2.0 * step);
    let gradient = (slope - difference).abs() / norm(&values(at.gradient().unwrap()));
    assert!(gradient <= 1e-6, "{name}: gradient {gradient:e}");
}

#[test]
fn small_resnet_agrees_with_central_differences() {
    agrees(resnet(Architecture::ResNetSmall, 4, Stem::Small), (4, 9), 0.3);
}

#[test]
fn resnet_18_with_imagenet_stem_agrees_with_central_differences() {
    agrees(resnet(Architecture::ResNet18, 2, Stem::ImageNet), (4, 33), 0.3);
}

/// Layers with bias and no batch norm, in all orders that there are.
#[test]
fn layered_networks_agree_with_central_differences() {
    for (words, input) in [
        (
            vec![
                "convolution 5 kernel 1x8 stride 1x4",
                "convolution 4 kernel 1x3 stride 1x2",
                "average-pool",
                "dense 6",
            ],
            [6, 1, 40],
        ),
        (vec!["convolution 3 kernel 3 stride 2", "dense 5"], [1, 8, 8]),
        (vec!["dense 7", "dense 4"], [2, 3, 3]),
    ] {
        let layers: Vec<LayerSpec> = words.iter().map(|layer| layer.parse().unwrap()).collect();
        let features = layered_features(&layers, input).unwrap();
        let [channels, height, width] = input;
        for seed in 0..3 {
            let (backbone, head) =
                (layered(&layers, input).unwrap(), plain_head(features, &[6, 5]));
            let case = Case::<B>::of(backbone, head, [5, channels, height, width], 0.3, seed);
            case_agrees(&case, &format!("{words:?}, seed {seed}"), seed);
        }
    }
}
