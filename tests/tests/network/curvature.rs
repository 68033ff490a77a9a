//! Laws of the products: symmetry, linearity, and what Gauss-Newton promises.

use bissl::network::loss::CrossEntropy;
use bissl::network::{
    Architecture, BackboneSettings, Curvature, Linearization, Stem, Tower, TowerParameters,
    classifier, mlp_head,
};

use crate::backend::{B, precision};
use crate::support::{Case, dot, error, norm, random, resnet, shifted, values};

const SMALL: BackboneSettings = resnet(Architecture::ResNetSmall, 4, Stem::Small);

const BOTH: [Curvature; 2] = [Curvature::Hessian, Curvature::GaussNewton];

/// Rounding of a whole product, in units of its length.
fn tolerance() -> f64 {
    10.0 * precision::<B>().equal
}

/// At the initial parameters (several γ are 0 there) and far from them.
fn cases() -> impl Iterator<Item = (u64, Case<B>)> {
    let places = [(0, 0.0), (1, 0.1), (2, 0.5), (3, 2.0)];
    places.into_iter().map(|(seed, far)| (seed, Case::new(SMALL, &[6, 5], (4, 8), far, seed)))
}

#[test]
fn products_are_symmetric() {
    for (seed, case) in cases() {
        for curvature in BOTH {
            let at = case.linearize(curvature);
            let (u, v) = (case.direction(seed + 50), case.direction(seed + 60));
            let (au, av) = (values(&at.product(&u)), values(&at.product(&v)));
            let (u, v) = (values(&u), values(&v));
            let difference = (dot(&u, &av) - dot(&au, &v)).abs();
            let size = norm(&u) * norm(&av) + norm(&au) * norm(&v);
            assert!(difference <= tolerance() * size, "{curvature:?}, seed {seed}: {difference:e}");
        }
    }
}

#[test]
fn products_are_linear() {
    for (seed, case) in cases() {
        for curvature in BOTH {
            let at = case.linearize(curvature);
            let (u, v) = (case.direction(seed + 50), case.direction(seed + 60));
            let expected = shifted(&(at.product(&u) * 2.0), -3.0, &at.product(&v));
            let found = at.product(&shifted(&(u * 2.0), -3.0, &v));
            let error = error(&values(&found), &values(&expected));
            assert!(error <= tolerance(), "{curvature:?}, seed {seed}: {error:e}");
        }
    }
}

#[test]
fn gauss_newton_never_curves_down_and_the_hessian_does() {
    let mut down = 0;
    for (seed, case) in cases() {
        let gauss_newton = case.linearize(Curvature::GaussNewton);
        let hessian = case.linearize(Curvature::Hessian);
        for draw in 0..8 {
            let v = case.direction(100 * seed + draw);
            let curved = |at: &Linearization<'_, B>| {
                let product = values(&at.product(&v));
                let v = values(&v);
                dot(&v, &product) / (norm(&v) * norm(&product))
            };
            let cosine = curved(&gauss_newton);
            assert!(cosine >= -tolerance(), "seed {seed}, draw {draw}: vᵀGv {cosine:e}");
            down += usize::from(curved(&hessian) < -1e-3);
        }
    }
    assert!(down > 0, "the Hessian is indefinite somewhere, or this test says nothing");
}

#[test]
fn gauss_newton_is_the_hessian_of_a_model_linear_in_its_parameters() {
    // One linear layer under another that does not move, cross entropy on top: the outputs are
    // linear in the lower one's parameters, and the loss is convex in the outputs.
    let (lower, upper) = (classifier(5, 4), mlp_head(4, &[3]));
    let tower = Tower { backbone: &lower, head: &upper };
    let product = |curvature: Curvature, direction| {
        let parameters = TowerParameters::<B> {
            backbone: random(1, [lower.parameters().len()]),
            head: random(2, [upper.parameters().len()]),
        };
        let views = vec![random(3, [6, 5, 1, 1])];
        let loss = Box::new(CrossEntropy { labels: vec![0, 1, 2, 2, 1, 0] });
        let at = Linearization::new(tower, parameters, views, loss, curvature);
        values(&at.product(direction))
    };
    let direction = random(4, [lower.parameters().len()]);
    let hessian = product(Curvature::Hessian, &direction);
    let error = error(&product(Curvature::GaussNewton, &direction), &hessian);
    assert!(error <= tolerance(), "{error:e}");

    let case = Case::<B>::new(SMALL, &[6, 5], (4, 8), 0.3, 9);
    let v = case.direction(10);
    let hessian = values(&case.linearize(Curvature::Hessian).product(&v));
    let gauss_newton = values(&case.linearize(Curvature::GaussNewton).product(&v));
    let difference = crate::support::error(&gauss_newton, &hessian);
    assert!(difference > 0.01, "they differ for a ResNet, or this test says nothing");
}

#[test]
fn recomputed_cotangents_and_a_missing_gradient_change_no_bit() {
    use bissl::network::pretext::NtXent;
    use bissl::network::{LinearizationSettings, Recompute};
    for (seed, case) in cases() {
        let v = case.direction(seed + 3);
        for curvature in BOTH {
            let expected = case.linearize(curvature);
            for recompute in [Recompute::Nothing, Recompute::Cotangents] {
                let settings = LinearizationSettings { curvature, recompute, with_gradient: false };
                let at = Linearization::new(
                    case.tower(),
                    case.parameters.clone(),
                    case.views.clone(),
                    Box::new(NtXent { temperature: crate::support::TEMPERATURE }),
                    settings,
                );
                assert!(at.gradient().is_none());
                assert_eq!(at.value(), expected.value(), "{curvature:?}, seed {seed}");
                let (found, expected) = (values(&at.product(&v)), values(&expected.product(&v)));
                assert_eq!(found, expected, "{curvature:?}, {recompute:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn value_and_gradient_are_the_training_step_s() {
    use bissl::network::pretext::NtXent;
    for (seed, case) in cases() {
        for curvature in BOTH {
            let at = case.linearize(curvature);
            let loss = NtXent { temperature: crate::support::TEMPERATURE };
            let step = case.tower().gradients(&case.parameters, case.views.clone(), &loss, true);
            assert_eq!(at.value(), step.loss, "{curvature:?}, seed {seed}");
            let backbone = values(&step.backbone.unwrap());
            assert_eq!(values(at.gradient().unwrap()), backbone, "{curvature:?}, seed {seed}");
            let head = case.tower().gradients(&case.parameters, case.views.clone(), &loss, false);
            assert!(head.backbone.is_none());
            assert_eq!(values(&head.head), values(&step.head), "{curvature:?}, seed {seed}");
        }
    }
}

#[test]
fn many_products_from_one_linearization_are_the_same() {
    let case = Case::<B>::new(SMALL, &[6, 5], (4, 8), 0.3, 4);
    let (u, v) = (case.direction(1), case.direction(2));
    for curvature in BOTH {
        let at = case.linearize(curvature);
        let first = values(&at.product(&u));
        let other = values(&at.product(&v));
        assert_eq!(values(&at.product(&u)), first, "{curvature:?}");
        assert_eq!(values(&at.product(&v)), other, "{curvature:?}");
    }
}
