//! `bissl hvp`: from files to files, against the second implementation of the network.

use std::path::Path;

use bissl::config::MethodName;
use bissl::curvature::{HvpJob, hvp};
use bissl::interchange::NetworkHints;
use bissl::network::{Architecture, BackboneSettings, Curvature, ParameterTable, Stem};
use bissl::run::{Precision, RealTensor, RealTensors, read_real_tensors, write_real_tensors};
use burn_tensor::Tensor;

use crate::backend::{B, Oracle, precision};
use crate::oracle::expected;
use crate::support::{Case, TEMPERATURE, error, resnet, values};

/// The precision that the backend under test computes in.
fn kind() -> Precision {
    if precision::<B>().step < 1e-3 { Precision::F64 } else { Precision::F32 }
}

/// 1e-9 in f64; in f32 a unit near 0 may take its other branch.
fn tolerance() -> f64 {
    if kind() == Precision::F64 { 1e-9 } else { 5e-3 }
}

/// The tensors of a flat vector, each name behind `prefix`.
fn tensors(prefix: &str, table: &ParameterTable, flat: &Tensor<B, 1>) -> RealTensors {
    let values = values(flat);
    let named = table.segments().iter().map(|segment| {
        let range = segment.offset..segment.offset + segment.len();
        let tensor = RealTensor { shape: segment.shape.clone(), values: values[range].to_vec() };
        (format!("{prefix}{}", segment.name), tensor)
    });
    named.collect()
}

/// What the command gives.
struct Given {
    loss: f64,
    gradient: Vec<f64>,
    product: Vec<f64>,
}

/// Writes a case and a direction as another framework would, runs the command and reads the result.
fn run(
    case: &Case<B>,
    direction: &Tensor<B, 1>,
    stem: Stem,
    curvature: Curvature,
    (backbone_prefix, projector_prefix): (&str, &str),
) -> Given {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, tensors: &RealTensors| {
        write_real_tensors(&path(name), tensors, kind()).unwrap();
    };
    let table = case.backbone.parameters();
    let mut weights = tensors(backbone_prefix, table, &case.parameters.backbone);
    weights.extend(tensors(projector_prefix, case.head.parameters(), &case.parameters.head));
    // What a state dict holds besides, and what has no part in this.
    for name in ["bn1.running_mean", "fc.weight"] {
        let tensor = RealTensor { shape: vec![2], values: vec![1.0, 2.0] };
        weights.insert(format!("{backbone_prefix}{name}"), tensor);
    }
    write("w", &weights);
    let views = ["view_a", "view_b"].into_iter().zip(&case.views).map(|(name, view)| {
        (name.to_owned(), RealTensor { shape: view.dims().to_vec(), values: values(view) })
    });
    write("x", &views.collect());
    write("v", &tensors("", table, direction));
    // The file tells a 3×3 kernel from a 7×7 one, but no stride.
    let stem = (stem == Stem::SmallStrided).then_some(stem);
    let job = HvpJob {
        backbone: path("w"),
        target: None,
        views: path("x"),
        vector: path("v"),
        out: path("out"),
        hints: NetworkHints { stem, ..NetworkHints::default() },
        objective: MethodName::Simclr,
        temperature: Some(TEMPERATURE),
        curvature,
        precision: kind(),
        backend: None,
    };
    hvp(job).unwrap();
    read(&path("out"), table)
}

fn read(path: &Path, table: &ParameterTable) -> Given {
    let mut found = read_real_tensors(path, |_| true).unwrap();
    let mut flat = |kind: &str| {
        let segments = table.segments().iter().flat_map(|segment| {
            let name = format!("{kind}.{}", segment.name);
            let tensor = found.remove(&name).unwrap_or_else(|| panic!("no tensor {name}"));
            assert_eq!(tensor.shape, segment.shape, "{name}");
            tensor.values
        });
        segments.collect::<Vec<f64>>()
    };
    let (gradient, product) = (flat("gradient"), flat("product"));
    let loss = found.remove("loss").unwrap();
    assert_eq!((loss.shape.len(), loss.values.len()), (0, 1), "the loss is a scalar");
    assert!(found.is_empty(), "nothing else is written: {:?}", found.keys());
    Given { loss: loss.values[0], gradient, product }
}

fn agrees(settings: BackboneSettings, batch_and_side: (usize, usize), prefixes: (&str, &str)) {
    let case = Case::<B>::new(settings, &[6, 5], batch_and_side, 0.2, 31);
    let direction = case.direction(8);
    let given = run(&case, &direction, settings.stem, Curvature::Hessian, prefixes);
    let judge = Case::<Oracle>::new(settings, &[6, 5], batch_and_side, 0.2, 31);
    let expected = expected(&judge, settings, &judge.direction(8));
    for (what, error) in [
        ("loss", (given.loss - expected.value).abs() / expected.value),
        ("gradient", error(&given.gradient, &values(&expected.gradient))),
        ("product", error(&given.product, &values(&expected.product))),
    ] {
        assert!(error <= tolerance(), "{settings:?}: {what} differs by {error:e}");
    }
}

#[test]
fn a_state_dict_of_resnet_18_gives_what_the_oracle_gives() {
    agrees(resnet(Architecture::ResNet18, 3, Stem::Small), (4, 8), ("", "projector."));
}

#[test]
fn prefixed_names_and_the_imagenet_stem_are_recognised() {
    agrees(resnet(Architecture::ResNet18, 2, Stem::ImageNet), (4, 36), ("backbone.", "projector."));
}

#[test]
fn a_checkpoint_of_our_own_and_a_stride_by_hint_are_read() {
    agrees(
        resnet(Architecture::ResNetSmall, 3, Stem::SmallStrided),
        (5, 13),
        ("lower_backbone.", "pretext_head."),
    );
}

#[test]
fn gauss_newton_is_the_linearisations_gauss_newton() {
    let settings = resnet(Architecture::ResNetSmall, 4, Stem::Small);
    let case = Case::<B>::new(settings, &[6, 5], (4, 10), 0.2, 5);
    let direction = case.direction(6);
    let names = ("", "projector.");
    let given = run(&case, &direction, settings.stem, Curvature::GaussNewton, names);
    let at = case.linearize(Curvature::GaussNewton);
    let error = error(&given.product, &values(&at.product(&direction)));
    assert!(error <= precision::<B>().equal, "{error:e}");
}

// In f32 a step that is above rounding crosses kinks of the ReLUs: only f64 tells something.
#[cfg(all(feature = "ndarray", not(feature = "wgpu")))]
#[test]
fn gradient_and_product_are_the_differences_of_loss_and_gradient() {
    let settings = resnet(Architecture::ResNetSmall, 4, Stem::Small);
    let case = Case::<B>::new(settings, &[6, 5], (4, 9), 0.3, 2);
    let direction = case.direction(7);
    let given = |case: &Case<B>| {
        run(case, &direction, settings.stem, Curvature::Hessian, ("", "projector."))
    };
    let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let step = 1e-8 * length(&values(&case.parameters.backbone)) / length(&values(&direction));
    let moved = |step: f64| {
        let backbone = case.parameters.backbone.clone() + direction.clone() * step;
        let parameters =
            bissl::network::TowerParameters { backbone, head: case.parameters.head.clone() };
        let (backbone, head) = (case.backbone.clone(), case.head.clone());
        given(&Case { backbone, head, parameters, views: case.views.clone() })
    };
    let (plus, minus, at) = (moved(step), moved(-step), given(&case));
    let quotient = |plus: f64, minus: f64| (plus - minus) / (2.0 * step);
    let product: Vec<f64> =
        plus.gradient.iter().zip(&minus.gradient).map(|(p, m)| quotient(*p, *m)).collect();
    let difference = error(&at.product, &product);
    assert!(difference <= 1e-7, "product {difference:e}");
    let slope: f64 = at.gradient.iter().zip(values(&direction)).map(|(g, v)| g * v).sum();
    let difference = (slope - quotient(plus.loss, minus.loss)).abs() / length(&at.gradient);
    assert!(difference <= 1e-6, "gradient {difference:e}");
}
