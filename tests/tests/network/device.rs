//! The devices' arithmetic, by Burn's own operations, against the slice kernels.
//!
//! What CUDA computes is thereby checked where there is no GPU: only Burn's kernels differ there.

use bissl::kernels::{Kernels, Transpose, device, read, transfers};
use bissl_core::AdamCoefficients;
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{error, random, values};

fn assert_same<const D: usize>(what: &str, found: &Tensor<B, D>, expected: &Tensor<B, D>) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = error(&values(found), &values(expected));
    assert!(error <= precision::<B>().equal, "{what} differs by {error:e}");
}

/// Candle's transposed convolution is for square images; its own network uses the slice kernels.
#[cfg(any(feature = "ndarray", not(feature = "candle")))]
#[test]
fn convolutions_agree() {
    for s in crate::convolution::shapes() {
        let x = random::<B, 4>(1, [s.batch, s.channels_in, s.height, s.width]);
        let w = random::<B, 4>(2, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]]);
        let y_bar = random::<B, 4>(3, s.output());
        assert_same(&format!("{s:?}"), &device::conv(&s, &[(&x, &w)]), &B::conv(&s, &[(&x, &w)]));
        let found = device::conv_input(&s, &[(&w, &y_bar)]);
        assert_same(&format!("{s:?} input"), &found, &B::conv_input(&s, &[(&w, &y_bar)]));
        let found = device::conv_weight(&s, &[(&x, &y_bar)]);
        assert_same(&format!("{s:?} weight"), &found, &B::conv_weight(&s, &[(&x, &y_bar)]));
    }
}

#[test]
fn batch_norms_agree_in_all_passes() {
    for shape in [[4, 3, 5, 2], [6, 2, 1, 1], [2, 1, 9, 9]] {
        let channels = [shape[1]];
        let [x, x_dot, y_bar, y_bar_dot] = [1, 2, 3, 4].map(|seed| random::<B, 4>(seed, shape));
        let [gamma, beta, gamma_dot, beta_dot] =
            [5, 6, 7, 8].map(|seed| random::<B, 1>(seed, channels));
        let (y, saved, statistics) = device::norm(&x, &gamma, &beta, 1e-5);
        let (expected, slices, slice_statistics) = B::norm(&x, &gamma, &beta, 1e-5);
        assert_same("value", &y, &expected);
        assert_same("normalised", &saved.normalized, &slices.normalized);
        assert_same("inverse deviation", &saved.inv_std, &slices.inv_std);
        assert_same("mean", &statistics.mean, &slice_statistics.mean);
        assert_same("variance", &statistics.variance, &slice_statistics.variance);

        let found = device::norm_tangent(&slices, &gamma, &x_dot, &gamma_dot, &beta_dot);
        let expected = B::norm_tangent(&slices, &gamma, &x_dot, &gamma_dot, &beta_dot);
        assert_same("tangent", &found, &expected);

        let found = device::norm_backward(&slices, &gamma, &y_bar);
        let expected = B::norm_backward(&slices, &gamma, &y_bar);
        assert_same("input cotangent", &found.0, &expected.0);
        assert_same("γ's cotangent", &found.1, &expected.1);
        assert_same("β's cotangent", &found.2, &expected.2);

        let tangents = (&x_dot, &gamma_dot);
        let cotangents = (&y_bar, &y_bar_dot);
        let found = device::norm_backward_tangent(&slices, &gamma, tangents, cotangents);
        let expected = B::norm_backward_tangent(&slices, &gamma, tangents, cotangents);
        assert_same("tangent of the input cotangent", &found.0, &expected.0);
        assert_same("tangent of γ's cotangent", &found.1, &expected.1);
        assert_same("tangent of β's cotangent", &found.2, &expected.2);
    }
}

#[test]
fn rectifiers_agree() {
    let (x, t) = (random::<B, 4>(1, [3, 2, 4, 5]), random::<B, 4>(2, [3, 2, 4, 5]));
    let y = device::rectify(&x);
    assert_same("value", &y, &B::rectify(&x));
    assert_same("mask", &device::rectify_mask(&y, &t), &B::rectify_mask(&y, &t));
}

/// Candle has no max-pool with indices; its own network uses the slice kernels.
#[cfg(any(feature = "ndarray", not(feature = "candle")))]
#[test]
fn max_pools_agree_in_all_passes() {
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1)] {
        for dims in [[2, 3, 6, 6], [1, 2, 5, 9], [3, 1, 8, 7]] {
            let [batch, channels, height, width] = dims;
            let s = bissl::kernels::PoolShape {
                planes: batch * channels,
                height,
                width,
                kernel,
                stride,
                padding,
            };
            let x = random::<B, 4>(1, dims);
            let (y, winners) = device::max_pool(&s, &x);
            let (expected, indices) = B::max_pool(&s, &x);
            assert_same(&format!("{s:?}"), &y, &expected);
            let x_dot = random::<B, 4>(2, dims);
            let found = device::max_pool_tangent(&s, &x_dot, &winners);
            let expected = B::max_pool_tangent(&s, &x_dot, &indices);
            assert_same(&format!("{s:?} tangent"), &found, &expected);
            let y_bar = random::<B, 4>(3, y.dims());
            let found = device::max_pool_backward(&s, &y_bar, &winners);
            let expected = B::max_pool_backward(&s, &y_bar, &indices);
            assert_same(&format!("{s:?} backward"), &found, &expected);
        }
    }
}

#[test]
fn average_pools_agree() {
    let x = random::<B, 4>(1, [3, 2, 4, 5]);
    let y_bar = random::<B, 4>(2, [3, 2, 1, 1]);
    assert_same("value", &device::average_pool(&x), &B::average_pool(&x));
    let found = device::average_pool_backward(&y_bar, 4, 5);
    assert_same("backward", &found, &B::average_pool_backward(&y_bar, 4, 5));
}

#[test]
fn matrix_products_agree() {
    let cases = [
        (Transpose::Neither, [3, 4], [4, 5]),
        (Transpose::Left, [4, 3], [4, 5]),
        (Transpose::Right, [3, 4], [5, 4]),
    ];
    for (transpose, left, right) in cases {
        let (a, b) = (random::<B, 2>(1, left), random::<B, 2>(2, right));
        let expected = B::matmul(&a, &b, transpose);
        assert_same(&format!("{transpose:?}"), &device::matmul(&a, &b, transpose), &expected);
    }
    let x = random::<B, 2>(3, [5, 3]);
    assert_same("sum of rows", &device::sum_rows(&x), &B::sum_rows(&x));
}

#[test]
fn combinations_agree_and_a_factor_of_zero_reads_nothing() {
    let (x, y) = (random::<B, 1>(1, [37]), random::<B, 1>(2, [37]));
    for (a, b) in [(2.0, -0.5), (0.0, 3.0), (1.5, 0.0), (0.0, 0.0)] {
        let found = device::axpby(a, &x, b, y.clone());
        assert_same(&format!("{a} x + {b} y"), &found, &B::axpby(a, &x, b, y.clone()));
    }
    let bad = Tensor::<B, 1>::full([37], f64::NAN, &x.device());
    for kernel in [device::axpby::<B>, B::axpby] {
        assert_eq!(values(&kernel(1.0, &x, 0.0, bad.clone())), values(&x));
        assert_eq!(values(&kernel(0.0, &bad, 1.0, y.clone())), values(&y));
        assert_eq!(values(&kernel(0.0, &bad, 0.0, bad.clone())), [0.0; 37]);
    }
}

#[test]
fn scaled_segments_are_scaled_each_by_its_own_factor() {
    let x = random::<B, 1>(1, [50]);
    let (offsets, factors) = ([0, 7, 8, 31, 50], [0.5f32, -2.0, 0.0, 1.25]);
    let mut expected = values(&x);
    for (s, factor) in offsets.windows(2).zip(factors) {
        expected[s[0]..s[1]].iter_mut().for_each(|v| *v *= f64::from(factor));
    }
    let found = B::scale_segments(&x, &offsets, &factors);
    assert!(error(&values(&found), &expected) <= precision::<B>().equal);
}

#[test]
fn adam_is_the_core_s_recurrence_to_the_bit_in_f32() {
    let c = AdamCoefficients {
        clip: 0.7,
        beta1: 0.9,
        beta2: 0.999,
        decay: 0.9995,
        rate: 3e-3,
        second_scale: 11.3,
        epsilon: 1e-8,
    };
    let [gradient, parameter, first, root] = [1, 2, 3, 4].map(|s| random::<B, 1>(s, [300]));
    let second = root.clone() * root;
    let start = [&gradient, &parameter, &first, &second].map(values);
    let found = B::adam(&c, &gradient, parameter, first, second);
    let found = [&found.0, &found.1, &found.2].map(values);
    // In f64 the host keeps digits that the core's f32 has not.
    let tolerance = if precision::<B>().step < 1e-3 { 1e-6 } else { 0.0 };
    for i in 0..300 {
        let [gradient, mut parameter, mut first, mut second] =
            [0, 1, 2, 3].map(|k| start[k][i] as f32);
        c.update(gradient, &mut parameter, &mut first, &mut second);
        for (found, expected) in found.iter().zip([parameter, first, second]) {
            let difference = (found[i] - f64::from(expected)).abs();
            let allowed = tolerance * f64::from(expected.abs().max(1.0));
            assert!(difference <= allowed, "element {i}: {} for {expected}", found[i]);
        }
    }
}

#[test]
fn an_update_of_a_shared_vector_leaves_the_other_owner_alone() {
    let (x, y) = (random::<B, 1>(1, [40]), random::<B, 1>(2, [40]));
    let (kept, before) = (y.clone(), values(&y));
    let part = y.clone().slice(8..24);
    let moved = B::axpby(1.0, &x, 2.0, y);
    let part = B::axpby(1.0, &x.clone().slice(0..16), 1.0, part);
    assert_eq!(values(&kept), before);
    assert_ne!(values(&moved), before);
    let expected: Vec<f64> =
        values(&x)[..16].iter().zip(&before[8..24]).map(|(x, y)| x + y).collect();
    assert!(error(&values(&part), &expected) <= precision::<B>().equal);
}

#[test]
fn segment_dots_agree_and_are_one_transfer() {
    let [x, y, z] = [1, 2, 3].map(|seed| random::<B, 1>(seed, [50]));
    let offsets = [0, 7, 8, 31, 50];
    let pairs = [(&x, &y), (&y, &z), (&x, &x)];
    let before = transfers();
    let found = device::segment_dots(&pairs, &offsets);
    assert_eq!(transfers() - before, 1);
    assert_eq!(found.len(), 12);
    let error = error(&found, &B::segment_dots(&pairs, &offsets));
    assert!(error <= precision::<B>().equal, "{error:e}");
    assert_eq!(read(x.clone()), values(&x));
    assert_eq!(transfers() - before, 2);
}
