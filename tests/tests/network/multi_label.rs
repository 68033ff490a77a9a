//! Losses of sets of labels against plain loops in f64, and their curvature against each other.

use bissl::network::loss::{
    CrossEntropy, Loss, gauss_newton_product, hessian_product, value, value_and_gradient,
};
use bissl::network::multi_label::{BinaryCrossEntropy, MultiHot, SoftmaxCrossEntropy};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::eigen::{asymmetry, dense, eigenvalues};
use crate::losses::{agrees, gauss_newton_matrix, joined, point, rows, views};
use crate::support::{error, tensor};

/// Eight rows of four classes: none, one, several and all of them shown; some entries do not count.
fn targets() -> MultiHot {
    let present = [
        [1, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [0, 0, 0, 1],
        [1, 0, 0, 1],
        [0, 0, 1, 0],
        [0, 1, 0, 0],
    ];
    let counted = [
        [1, 1, 1, 1],
        [1, 1, 1, 0],
        [0, 1, 1, 1],
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [1, 1, 0, 1],
        [1, 1, 1, 1],
        [0, 1, 1, 1],
    ];
    let flat = |rows: [[u8; 4]; 8]| rows.concat().into_iter().map(f32::from).collect();
    MultiHot { present: flat(present), counted: flat(counted) }
}

fn binary(flat: &[f64], targets: &MultiHot) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for ((x, y), counted) in flat.iter().zip(&targets.present).zip(&targets.counted) {
        let p = 1.0 / (1.0 + (-x).exp());
        let entry = if *y == 1.0 { -p.ln() } else { -(1.0 - p).ln() };
        sum += f64::from(*counted) * entry;
        count += f64::from(*counted);
    }
    sum / count
}

fn softmax(flat: &[f64], targets: &MultiHot) -> f64 {
    let mut sum = 0.0;
    for (row, present) in rows(flat).iter().zip(targets.present.chunks(4)) {
        let total: f64 = row.iter().map(|x| x.exp()).sum();
        for (x, y) in row.iter().zip(present) {
            sum -= f64::from(*y) * (x.exp() / total).ln();
        }
    }
    sum / 8.0
}

#[test]
fn binary_cross_entropy_agrees_with_plain_loops() {
    agrees(&BinaryCrossEntropy { targets: targets() }, |flat| binary(flat, &targets()));
}

#[test]
fn softmax_against_several_classes_agrees_with_plain_loops() {
    agrees(&SoftmaxCrossEntropy { targets: targets() }, |flat| softmax(flat, &targets()));
}

#[test]
fn gauss_newton_is_the_hessian_and_positive_semidefinite() {
    let losses: [&dyn Loss<B>; 2] =
        [&BinaryCrossEntropy { targets: targets() }, &SoftmaxCrossEntropy { targets: targets() }];
    for loss in losses {
        let at = point();
        let found = gauss_newton_matrix(loss);
        let hessian = dense(at.len(), |u| joined(&hessian_product(loss, &views(&at), &views(u))));
        let difference = error(&found.concat(), &hessian.concat());
        assert!(difference <= precision::<B>().equal, "differs from the Hessian by {difference:e}");
        assert!(asymmetry(&found) <= precision::<B>().equal, "asymmetric");
        let spectrum = eigenvalues(&found);
        let (bottom, top) = (spectrum[0], spectrum[spectrum.len() - 1]);
        assert!(bottom >= -precision::<B>().equal.max(1e-10) * top, "{bottom:e} of {top:e}");
    }
}

#[test]
fn softmax_against_one_class_each_is_cross_entropy() {
    let at = point();
    let labels = vec![0, 3, 1, 1, 2, 0, 3, 2];
    let mut present = vec![0.0; 32];
    labels.iter().enumerate().for_each(|(row, label)| present[4 * row + *label as usize] = 1.0);
    let targets = MultiHot { present, counted: vec![1.0; 32] };
    let (a, b) = (CrossEntropy { labels }, SoftmaxCrossEntropy { targets });
    let (expected, slope) = value_and_gradient::<B>(&a, &views(&at));
    let (found, found_slope) = value_and_gradient::<B>(&b, &views(&at));
    assert!((found - expected).abs() <= precision::<B>().equal * expected, "{found}, {expected}");
    assert!(error(&joined(&found_slope), &joined(&slope)) <= precision::<B>().equal);
}

#[test]
fn entries_that_do_not_count_have_no_derivative() {
    let (loss, at) = (BinaryCrossEntropy { targets: targets() }, point());
    let direction: Vec<f64> = at.iter().map(|x| 1.0 + x).collect();
    let (_, gradient) = value_and_gradient::<B>(&loss, &views(&at));
    let products = [
        gradient,
        hessian_product::<B>(&loss, &views(&at), &views(&direction)),
        gauss_newton_product::<B>(&loss, &views(&at), &views(&direction)),
    ];
    for product in products {
        for (value, counted) in joined(&product).iter().zip(targets().counted) {
            assert_eq!(*value == 0.0, counted == 0.0);
        }
    }
    let targets = MultiHot { present: vec![0.0; 32], counted: vec![0.0; 32] };
    assert_eq!(value::<B>(&BinaryCrossEntropy { targets }, &views(&at)), 0.0);
}

/// A fresh head on features of zero has logits of exactly zero, where |x| and max(x, 0) have a
/// kink.
#[test]
fn at_zero_the_slope_is_a_half_and_large_logits_do_not_overflow() {
    let targets = MultiHot { present: vec![1.0, 0.0], counted: vec![1.0; 2] };
    let loss = BinaryCrossEntropy { targets };
    let at = |values: &[f64]| -> [Tensor<B, 2>; 1] { [tensor(values, [1, 2])] };
    let (zero, slope) = value_and_gradient::<B>(&loss, &at(&[0.0, 0.0]));
    assert!((zero - 2f64.ln()).abs() <= precision::<B>().equal, "{zero}");
    assert!(error(&joined(&slope), &[-0.25, 0.25]) <= precision::<B>().equal);
    let (large, slope) = value_and_gradient::<B>(&loss, &at(&[-800.0, 800.0]));
    assert!((large - 800.0).abs() <= precision::<B>().equal * 800.0, "{large}");
    assert!(error(&joined(&slope), &[-0.5, 0.5]) <= precision::<B>().equal);
}
