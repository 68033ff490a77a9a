//! The operations of the registers, against their definitions.

use bissl::driver::Registers;
use bissl::kernels::{Kernels, read, transfers};
use bissl::network::classifier;
use bissl_core::{AdamCoefficients, Register, RegisterFile};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{dot, error, random, values};

#[test]
fn a_factor_of_zero_reads_nothing() {
    let (x, y) = (random::<B, 1>(1, [37]), random::<B, 1>(2, [37]));
    for (a, b) in [(2.0, -0.5), (0.0, 3.0), (1.5, 0.0), (0.0, 0.0)] {
        let expected: Vec<f64> =
            values(&x).iter().zip(values(&y)).map(|(x, y)| a * x + b * y).collect();
        let error = error(&values(&B::axpby(a, &x, b, y.clone())), &expected);
        assert!(error <= precision::<B>().equal, "{a} x + {b} y differs by {error:e}");
    }
    let bad = Tensor::<B, 1>::full([37], f64::NAN, &x.device());
    assert_eq!(values(&B::axpby(1.0, &x, 0.0, bad.clone())), values(&x));
    assert_eq!(values(&B::axpby(0.0, &bad, 1.0, y.clone())), values(&y));
    assert_eq!(values(&B::axpby(0.0, &bad, 0.0, bad.clone())), [0.0; 37]);
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
fn adam_is_the_core_s_recurrence() {
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
    // To the bit in f32 on a CPU. In f64 the host keeps digits that the core's f32 has not, and a
    // device's compiler fuses products with sums.
    let exact = precision::<B>().step >= 1e-3 && B::ON_HOST;
    let tolerance = if exact { 0.0 } else { 1e-6 };
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
fn segment_dots_agree_and_are_one_transfer_from_a_device() {
    let [x, y, z] = [1, 2, 3].map(|seed| random::<B, 1>(seed, [50]));
    let offsets = [0, 7, 8, 31, 50];
    let pairs = [(&x, &y), (&y, &z), (&x, &x)];
    let before = transfers();
    let found = B::segment_dots(&pairs, &offsets);
    let transferred = u64::from(!B::ON_HOST);
    assert_eq!(transfers() - before, transferred);
    assert_eq!(found.len(), 12);
    let expected: Vec<f64> = pairs
        .iter()
        .flat_map(|(x, y)| {
            offsets.windows(2).map(|s| dot(&values(x)[s[0]..s[1]], &values(y)[s[0]..s[1]]))
        })
        .collect();
    let error = error(&found, &expected);
    assert!(error <= precision::<B>().equal, "{error:e}");
    assert_eq!(read(x.clone()), values(&x));
    assert_eq!(transfers() - before, transferred + 1);
}

/// Two heads of 16 parameters, cut at 12 and at 14: bounds belong to a vector, not to its length.
#[test]
fn vectors_of_one_length_keep_the_bounds_of_their_own_tables() {
    let (pretext, downstream) = (classifier(3, 4), classifier(7, 2));
    let mut registers = Registers::<B>::new(
        Default::default(),
        downstream.parameters(),
        pretext.parameters(),
        downstream.parameters(),
        1,
    );
    let (a, b) = (Register::PretextHeadGradient, Register::DownstreamHeadGradient);
    for register in [a, b] {
        registers.write(register, vec![1.0; 16]).unwrap();
    }
    let mut scalars = [0.0; 4];
    let segments = registers.segment_dots(&[(a, a), (b, b)], &mut scalars).unwrap();
    assert_eq!((segments, scalars), (2, [12.0, 4.0, 14.0, 2.0]));
}
