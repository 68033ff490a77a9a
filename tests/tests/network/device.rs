//! What a device computes, operation by operation, against the slice kernels in f64.

use bissl::kernels::{
    ConvShape, Kernels, NdArray, Normalized, PoolShape, Precision, Transpose, tuning,
};
use bissl::network::{Architecture, BackboneSettings, Curvature, Stem};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::convolution::square;
use crate::support::{Case, error, noise, random, resnet, tensor, values};

/// Relative error of one operation in f32: a few roundings a sum.
const TOLERANCE: f64 = 5e-6;

/// Named results of every operation.
type Results = Vec<(String, Vec<f64>)>;

fn conv_shapes() -> Vec<ConvShape> {
    let mut shapes = crate::convolution::shapes();
    // A stem, layers of a ResNet, strides beyond the kernel, and outputs of several tiles.
    for (batch, channels_in, channels_out, side, kernel, stride, padding) in [
        (2, 3, 16, [33, 31], 7, 2, 3),
        (4, 64, 64, [8, 8], 3, 1, 1),
        (3, 64, 96, [12, 12], 3, 1, 1),
        (2, 8, 16, [16, 16], 1, 2, 0),
        (2, 4, 6, [7, 7], 1, 3, 0),
        (2, 8, 8, [9, 8], 2, 3, 0),
        (9, 4, 8, [40, 33], 3, 2, 1),
    ] {
        shapes.push(square(batch, [channels_in, channels_out], side, kernel, stride, padding));
    }
    shapes
}

fn weight<B: Kernels>(seed: u64, s: &ConvShape) -> Tensor<B, 4> {
    random(seed, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]])
}

fn convolutions<B: Kernels>(shapes: &[ConvShape]) -> Results {
    let mut out = Results::new();
    for s in shapes {
        let x = random::<B, 4>(1, [s.batch, s.channels_in, s.height, s.width]);
        let (w, y_bar) = (weight::<B>(2, s), random::<B, 4>(3, s.output()));
        out.push((format!("conv {s:?}"), values(&B::conv(s, &[(&x, &w)]))));
        out.push((format!("conv_input {s:?}"), values(&B::conv_input(s, &[(&w, &y_bar)]))));
        out.push((format!("conv_weight {s:?}"), values(&B::conv_weight(s, &[(&x, &y_bar)]))));
    }
    out
}

fn norms<B: Kernels>() -> Results {
    let mut out = Results::new();
    // One column of cubes and several; one part of the rows and several.
    for shape in [[4, 3, 5, 2], [6, 2, 1, 1], [2, 1, 9, 9], [8, 64, 8, 8], [33, 5, 19, 31]] {
        let channels = [shape[1]];
        let [x, x_dot, y_bar, y_bar_dot] = [1, 2, 3, 4].map(|seed| random::<B, 4>(seed, shape));
        let [gamma, beta, gamma_dot, beta_dot] =
            [5, 6, 7, 8].map(|seed| random::<B, 1>(seed, channels));
        let mut push =
            |what: &str, values: Vec<f64>| out.push((format!("{what} {shape:?}"), values));
        let (y, _, statistics) = B::norm(&x, &gamma, &beta, 1e-5);
        push("norm", values(&y));
        // A mean may be near 0; its error is that of numbers as large as the deviation.
        push("statistics", [values(&statistics.mean), values(&statistics.variance)].concat());
        // The later passes get the same numbers on both, so that their own error is what is seen.
        let saved = Normalized { normalized: random(9, shape), inv_std: random(10, channels) };
        let tangent = B::norm_tangent(&saved, &gamma, &x_dot, &gamma_dot, &beta_dot);
        push("norm_tangent", values(&tangent));
        let (x_bar, gamma_bar, beta_bar) = B::norm_backward(&saved, &gamma, &y_bar);
        push("norm_backward", values(&x_bar));
        push("norm_backward of γ", values(&gamma_bar));
        push("norm_backward of β", values(&beta_bar));
        let (tangents, bars) = ((&x_dot, &gamma_dot), (&y_bar, &y_bar_dot));
        let (x_bar, gamma_bar, beta_bar) = B::norm_backward_tangent(&saved, &gamma, tangents, bars);
        push("norm_backward_tangent", values(&x_bar));
        push("norm_backward_tangent of γ", values(&gamma_bar));
        push("norm_backward_tangent of β", values(&beta_bar));
    }
    out
}

fn pools<B: Kernels>() -> Results {
    let mut out = Results::new();
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 3, 0)] {
        for dims in [[2, 3, 6, 6], [1, 2, 5, 9], [3, 1, 8, 7]] {
            let [batch, channels, height, width] = dims;
            let planes = batch * channels;
            let s = PoolShape { planes, height, width, kernel, stride, padding };
            let (y, winners) = B::max_pool(&s, &random(1, dims));
            let y_bar = random::<B, 4>(3, y.dims());
            out.push((format!("max_pool {s:?}"), values(&y)));
            let y_dot = B::max_pool_tangent(&s, &random(2, dims), &winners);
            out.push((format!("max_pool_tangent {s:?}"), values(&y_dot)));
            let x_bar = B::max_pool_backward(&s, &y_bar, &winners);
            out.push((format!("max_pool_backward {s:?}"), values(&x_bar)));
        }
    }
    let (x, t) = (random::<B, 4>(1, [3, 2, 4, 5]), random::<B, 4>(2, [3, 2, 4, 5]));
    out.push(("average_pool".into(), values(&B::average_pool(&x))));
    let spread = B::average_pool_backward(&random(4, [3, 2, 1, 1]), 4, 5);
    out.push(("average_pool_backward".into(), values(&spread)));
    out.push(("rectify".into(), values(&B::rectify(&x))));
    out.push(("rectify_mask".into(), values(&B::rectify_mask(&x, &t))));
    out.push(("add".into(), values(&B::add(x, &t))));
    out
}

fn products<B: Kernels>() -> Results {
    let mut out = Results::new();
    for (transpose, left, right) in [
        (Transpose::Neither, [3, 4], [4, 5]),
        (Transpose::Left, [4, 3], [4, 5]),
        (Transpose::Right, [3, 4], [5, 4]),
        (Transpose::Neither, [64, 128], [128, 96]),
        (Transpose::Left, [128, 64], [128, 96]),
        (Transpose::Right, [64, 128], [96, 128]),
        // Cut in depth.
        (Transpose::Left, [3000, 5], [3000, 7]),
    ] {
        let (a, b) = (random::<B, 2>(1, left), random::<B, 2>(2, right));
        let product = B::matmul(&a, &b, transpose, Precision::F32);
        out.push((format!("matmul {transpose:?} {left:?} {right:?}"), values(&product)));
        // Operands that lie otherwise than they are said to.
        let product = match transpose {
            Transpose::Neither => B::matmul(&a.transpose(), &b, Transpose::Left, Precision::F32),
            Transpose::Left => B::matmul(&a.transpose(), &b, Transpose::Neither, Precision::F32),
            Transpose::Right => B::matmul(&a, &b.transpose(), Transpose::Neither, Precision::F32),
        };
        out.push((format!("matmul of views {transpose:?} {left:?}"), values(&product)));
    }
    for shape in [[50, 13], [9000, 3], [1, 70]] {
        out.push((format!("sum_rows {shape:?}"), values(&B::sum_rows(&random(3, shape)))));
    }
    out
}

fn vectors<B: Kernels>() -> Results {
    let mut out = Results::new();
    for len in [37, 100_003] {
        let (a, b) = (random::<B, 1>(1, [len]), random::<B, 1>(2, [len]));
        let offsets = [0, 7, 7, 31, len];
        out.push((format!("axpby {len}"), values(&B::axpby(2.0, &a, -0.5, b.clone()))));
        let dots = B::segment_dots(&[(&a, &b), (&a, &a)], &offsets);
        out.push((format!("segment_dots {len}"), dots));
        let scaled = B::scale_segments(&a, &offsets, &[0.5, -2.0, 0.0, 1.25]);
        out.push((format!("scale_segments {len}"), values(&scaled)));
    }
    out
}

fn compare(found: &Results, expected: &Results) {
    assert_eq!(found.len(), expected.len());
    for ((what, found), (_, expected)) in found.iter().zip(expected) {
        let error = error(found, expected);
        assert!(error <= TOLERANCE, "{what}: differs from f64 by {error:e}");
    }
}

#[test]
fn convolutions_agree_with_f64_in_all_passes() {
    let shapes = conv_shapes();
    compare(&convolutions::<B>(&shapes), &convolutions::<NdArray>(&shapes));
}

#[test]
fn batch_norms_agree_with_f64_in_all_passes() {
    compare(&norms::<B>(), &norms::<NdArray>());
}

#[test]
fn pools_and_rectifiers_agree_with_f64_in_all_passes() {
    compare(&pools::<B>(), &pools::<NdArray>());
}

#[test]
fn matrix_products_and_sums_agree_with_f64() {
    compare(&products::<B>(), &products::<NdArray>());
}

#[test]
fn vector_operations_agree_with_f64() {
    compare(&vectors::<B>(), &vectors::<NdArray>());
}

#[test]
fn a_large_mean_costs_batch_norm_no_digits() {
    let shape = [16, 3, 9, 9];
    // Deviations that are exact in f32 beside a mean of 10⁴.
    let values_of = |v: Vec<f64>| v.into_iter().map(|x| 1e4 + (x * 64.0).round() / 64.0).collect();
    let raised: Vec<f64> = values_of(noise(1, shape.iter().product()));
    let [ones, zeros] = [1.0, 0.0].map(|v| [v; 3]);
    let found = B::norm(&tensor(&raised, shape), &tensor(&ones, [3]), &tensor(&zeros, [3]), 1e-5);
    let exact =
        NdArray::norm(&tensor(&raised, shape), &tensor(&ones, [3]), &tensor(&zeros, [3]), 1e-5);
    let error = error(&values(&found.2.variance), &values(&exact.2.variance));
    assert!(error <= TOLERANCE, "the variance differs by {error:e}");
}

/// Loss, gradients, and both products of a network.
fn whole<B: Kernels>(settings: BackboneSettings, precision: Precision) -> Results {
    let case = Case::<B>::new(settings, &[24, 16], (8, 16), 0.01, 3);
    let case = Case { backbone: case.backbone.multiplying_in(precision), ..case };
    let case = Case { head: case.head.multiplying_in(precision), ..case };
    let direction = case.direction(4);
    let mut out = Results::new();
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let at = case.linearize(curvature);
        out.push(("loss".into(), vec![at.value()]));
        if let Some(gradient) = at.gradient() {
            out.push(("gradient".into(), values(gradient)));
        }
        out.push((format!("{curvature:?} product"), values(&at.product(&direction))));
    }
    out
}

fn small(stem: Stem) -> BackboneSettings {
    resnet(Architecture::ResNetSmall, 8, stem)
}

#[test]
fn a_network_s_gradient_and_products_agree_with_f64() {
    for stem in [Stem::Small, Stem::ImageNet] {
        let found = whole::<B>(small(stem), Precision::F32);
        let exact = whole::<NdArray>(small(stem), Precision::F32);
        for ((what, found), (_, exact)) in found.iter().zip(&exact) {
            let error = error(found, exact);
            println!("{stem:?} {what}: {error:e}");
            // Units near 0 take their other branch in f32; mostly there are none.
            assert!(error <= 1e-4, "{stem:?} {what}: differs from f64 by {error:e}");
        }
    }
}

/// What an f32 becomes in a format that lacks so many low bits: to the nearest, ties to even.
fn rounded(x: f64, precision: Precision) -> f64 {
    let dropped = precision.dropped_bits();
    if dropped == 0 {
        return f64::from(x as f32);
    }
    let bits = (x as f32).to_bits();
    let half = (1u32 << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    f64::from(f32::from_bits((bits + half) & !((1 << dropped) - 1)))
}

#[test]
fn each_precision_rounds_the_operands_to_its_format_and_nothing_else() {
    for precision in Precision::ALL {
        let round = |v: Vec<f64>| v.into_iter().map(|x| rounded(x, precision)).collect::<Vec<_>>();
        let (a, b) = (noise(1, 40 * 96), noise(2, 96 * 24));
        let found =
            B::matmul(&tensor(&a, [40, 96]), &tensor(&b, [96, 24]), Transpose::Neither, precision);
        let product = |a: &[f64], b: &[f64]| {
            let (a, b) = (tensor(a, [40, 96]), tensor(b, [96, 24]));
            values(&NdArray::matmul(&a, &b, Transpose::Neither, Precision::F32))
        };
        let of_rounded = error(&values(&found), &product(&round(a.clone()), &round(b.clone())));
        assert!(of_rounded <= TOLERANCE, "{precision}: {of_rounded:e} beside its own format");
        // f32 means f32: TF32 would show about 3e-4 here, bf16 about 2e-3.
        let of_all = error(&values(&found), &product(&a, &b));
        let (least, most) = match precision {
            Precision::F32 => (0.0, TOLERANCE),
            Precision::Tf32 => (1e-4, 1e-3),
            Precision::Bf16 => (1e-3, 8e-3),
        };
        assert!((least..=most).contains(&of_all), "{precision}: {of_all:e} from the whole product");
    }
}

#[test]
fn a_convolution_in_a_narrow_format_is_that_of_rounded_operands_whatever_the_tile() {
    let some = |s: &ConvShape| s.batch * s.height * s.width >= 200 || s.kernel != [3; 2];
    let shapes: Vec<_> = conv_shapes().into_iter().filter(some).step_by(11).collect();
    for precision in [Precision::Tf32, Precision::Bf16] {
        for s in &shapes {
            let narrow = ConvShape { precision, ..*s };
            let in_tile = |tile| {
                tuning::choose_by(tuning::Policy::Fixed(tile)).unwrap();
                convolutions::<B>(&[narrow])
            };
            let found = in_tile(0);
            for tile in 1..4 {
                assert!(in_tile(tile) == found, "tile {tile} of {narrow:?} gives other bits");
            }
            compare(&found, &convolutions_of_rounded(s, precision));
        }
    }
    tuning::choose_by(tuning::Policy::Rule).unwrap();
}

/// What [`convolutions`] are in f64 when operands are rounded first.
fn convolutions_of_rounded(s: &ConvShape, precision: Precision) -> Results {
    let operand = |seed, shape: [usize; 4]| {
        let exact = noise(seed, shape.iter().product());
        let rounded: Vec<_> = exact.into_iter().map(|x| rounded(x, precision)).collect();
        tensor::<NdArray, 4>(&rounded, shape)
    };
    let x = operand(1, [s.batch, s.channels_in, s.height, s.width]);
    let w = operand(2, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]]);
    let y_bar = operand(3, s.output());
    let named = |name: &str, values| (format!("{name} in {precision} of {s:?}"), values);
    vec![
        named("conv", values(&NdArray::conv(s, &[(&x, &w)]))),
        named("conv_input", values(&NdArray::conv_input(s, &[(&w, &y_bar)]))),
        named("conv_weight", values(&NdArray::conv_weight(s, &[(&x, &y_bar)]))),
    ]
}

#[test]
fn the_precision_of_a_network_reaches_every_pass() {
    let exact = whole::<NdArray>(small(Stem::Small), Precision::F32);
    let mut last = 0.0;
    for precision in Precision::ALL {
        let found = whole::<B>(small(Stem::Small), precision);
        let errors = found.iter().zip(&exact).map(|((_, f), (_, e))| error(f, e));
        let worst = errors.fold(0.0, f64::max);
        println!("{precision}: {worst:e}");
        assert!(worst > 3.0 * last, "{precision}: {worst:e} after {last:e}");
        last = worst;
    }
}
