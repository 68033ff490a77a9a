//! A NaN travels: through every kernel, layer and loss, forwards and backwards, on every backend of
//! this build.

use std::sync::Arc;

use bissl::data::{Inputs, Labelled, TwoViews};
use bissl::driver::{Problem, Sources};
use bissl::kernels::{ConvShape, Kernels, PoolShape, Precision, Transpose};
use bissl::network::loss::{CrossEntropy, Loss, WeightedCrossEntropy, value, value_and_gradient};
use bissl::network::multi_label::{BinaryCrossEntropy, MultiHot, SoftmaxCrossEntropy};
use bissl::network::pretext::{BarlowTwins, Byol, Method, NtXent, Vicreg};
use bissl::network::{Architecture, BackboneSettings, Curvature, Network, Stem, backbone};
use bissl_core::{Evaluation, LowerObjective, Register, Stream, UpperObjective};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::conformance::{BATCH, problem};
use crate::support::{
    TEMPERATURE, labelled, noise, problem_settings, random, small_networks, tensor, two_views,
    values,
};

const NAN: f64 = f64::NAN;

/// Calls a generic test with the backend under test and with every CPU backend of this build.
macro_rules! on_every_backend {
    ($test:ident) => {
        $test::<B>();
        #[cfg(feature = "flex")]
        $test::<bissl::kernels::Flex>();
        #[cfg(feature = "candle")]
        $test::<bissl::kernels::Candle>();
        #[cfg(feature = "ndarray")]
        $test::<bissl::kernels::NdArray>();
    };
}

/// The same numbers, every NaN equal to every other.
#[track_caller]
fn same(found: &[f64], expected: &[f64]) {
    let equal = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(equal),
        "found {found:?}, expected {expected:?}"
    );
}

fn are_nan(values: &[f64]) -> Vec<bool> {
    values.iter().map(|value| value.is_nan()).collect()
}

/// `x` with a NaN at `at`.
fn poisoned<B: Kernels, const D: usize>(x: &Tensor<B, D>, at: usize) -> Tensor<B, D> {
    let mut x_values = values(x);
    x_values[at] = NAN;
    tensor(&x_values, x.dims())
}

/// One row of elements, enough for a device's wide vectors and for what is left over.
fn row<B: Kernels>(values: &[f64]) -> Tensor<B, 4> {
    tensor(values, [1, 1, 1, values.len()])
}

/// What ReLU sees, what it makes of it, and where its derivative is 1.
const RECTIFIED: [(f64, f64, bool); 11] = [
    (NAN, NAN, true),
    (-NAN, NAN, true),
    (f64::INFINITY, f64::INFINITY, true),
    (f64::NEG_INFINITY, 0.0, false),
    (-1.0, 0.0, false),
    (-0.0, 0.0, false),
    (0.0, 0.0, false),
    (2.0, 2.0, true),
    (1e-30, 1e-30, true),
    (-1e-30, 0.0, false),
    (-3e38, 0.0, false),
];

fn rectifier_passes_nan<B: Kernels>() {
    let x = row::<B>(&RECTIFIED.map(|(x, _, _)| x));
    let found = values(&B::rectify(&x));
    let expected = RECTIFIED.map(|(x, y, _)| if y == x { single::<B>(x) } else { y });
    same(&found, &expected);
    assert!(found.iter().all(|y| *y != 0.0 || y.is_sign_positive()), "{found:?}");
}

/// `x` as the backend holds it.
fn single<B: Kernels>(x: f64) -> f64 {
    values(&tensor::<B, 1>(&[x], [1]))[0]
}

fn rectifier_masks_nothing_where_its_input_was_nan<B: Kernels>() {
    let y = row::<B>(&RECTIFIED.map(|(_, y, _)| y));
    for t in [3.0, NAN] {
        let found = values(&B::rectify_mask(&y, &row(&[t; RECTIFIED.len()])));
        let expected = RECTIFIED.map(|(_, _, passes)| if passes { t } else { 0.0 });
        same(&found, &expected);
    }
}

fn max_pool_lets_nan_win<B: Kernels>() {
    let (side, shape) = (6, [2, 2, 6, 6]);
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (3, 1, 1)] {
        let s = PoolShape { planes: 4, height: side, width: side, kernel, stride, padding };
        let clean = random::<B, 4>(1, shape);
        let expected = values(&B::max_pool(&s, &clean).0);
        for at in 0..side * side {
            // In the second plane, so that its neighbours are looked at, too.
            let (y, winners) = B::max_pool(&s, &poisoned(&clean, side * side + at));
            let covers = |o: usize, i: usize| {
                let first = o * stride;
                (first..first + kernel).contains(&(i + padding))
            };
            let [_, _, rows, columns] = y.dims();
            let mut expected = expected.clone();
            for r in 0..rows {
                for c in 0..columns {
                    if covers(r, at / side) && covers(c, at % side) {
                        expected[rows * columns + r * columns + c] = NAN;
                    }
                }
            }
            same(&values(&y), &expected);
            // The tangent is that of the NaN, and the cotangents of its windows come back to it.
            let x_dot = random::<B, 4>(2, shape);
            let y_dot = values(&B::max_pool_tangent(&s, &x_dot, &winners));
            let y_bar = random::<B, 4>(3, y.dims());
            let x_bar = values(&B::max_pool_backward(&s, &y_bar, &winners));
            let own = values(&x_dot)[side * side + at];
            let mut sum = 0.0;
            for (o, y) in expected.iter().enumerate().filter(|(_, y)| y.is_nan()) {
                assert_eq!(y_dot[o], own, "tangent where the output is {y}");
                sum += values(&y_bar)[o];
            }
            let found = x_bar[side * side + at];
            assert!((found - sum).abs() < 1e-5, "cotangent {found}, expected {sum}");
        }
        let y_bar = tensor::<B, 4>(&vec![NAN; expected.len()], B::max_pool(&s, &clean).0.dims());
        let x_bar = values(&B::max_pool_backward(&s, &y_bar, &B::max_pool(&s, &clean).1));
        assert!(x_bar.iter().any(|x| x.is_nan()), "cotangents that are NaN");
    }
}

fn average_pool_passes_nan<B: Kernels>() {
    let x = random::<B, 4>(1, [2, 3, 4, 5]);
    for plane in 0..6 {
        for at in [0, 7, 19] {
            let y = values(&B::average_pool(&poisoned(&x, plane * 20 + at)));
            assert_eq!(are_nan(&y), (0..6).map(|p| p == plane).collect::<Vec<_>>());
        }
    }
    let x_bar = values(&B::average_pool_backward(&tensor(&[1.0, NAN], [1, 2, 1, 1]), 2, 3));
    assert_eq!(are_nan(&x_bar), [[false; 6], [true; 6]].concat());
}

/// What is no number in one place is no number in its channel, and in no other.
fn norm_passes_what_is_not_finite<B: Kernels>() {
    for shape in [[4, 3, 5, 2], [1, 3, 1, 2], [33, 3, 9, 7]] {
        let (x, plane) = (random::<B, 4>(1, shape), shape[2] * shape[3]);
        let [gamma, beta] = [5, 6].map(|seed| random::<B, 1>(seed, [3]));
        let clean = values(&B::norm(&x, &gamma, &beta, 1e-5).0);
        let elements = clean.len();
        for bad in [NAN, f64::INFINITY, f64::NEG_INFINITY] {
            // The channel's first value, its last one, and one between them.
            for image in [0, shape[0] / 2, shape[0] - 1] {
                for pixel in [0, plane - 1] {
                    let mut input = values(&x);
                    input[(image * 3 + 1) * plane + pixel] = bad;
                    let (y, saved, statistics) =
                        B::norm(&tensor(&input, shape), &gamma, &beta, 1e-5);
                    let y = values(&y);
                    let of_channel = |at: usize| at / plane % 3 == 1;
                    for at in 0..elements {
                        let what = format!("{bad} in {shape:?}: output {at} is {}", y[at]);
                        if of_channel(at) {
                            assert!(!y[at].is_finite(), "{what}");
                        } else {
                            assert_eq!(y[at], clean[at], "{what}");
                        }
                    }
                    let [mean, variance] =
                        [&statistics.mean, &statistics.variance].map(|t| values(t)[1]);
                    assert!(!mean.is_finite() && !variance.is_finite(), "{mean} {variance}");
                    let (x_bar, gamma_bar, _) = B::norm_backward(&saved, &gamma, &random(3, shape));
                    let x_bar = values(&x_bar);
                    assert!(
                        (0..elements).filter(|at| of_channel(*at)).any(|at| x_bar[at].is_nan())
                    );
                    assert!(values(&gamma_bar)[1].is_nan());
                }
            }
        }
    }
}

/// A product with 0 is no way out.
fn convolutions_and_products_pass_nan<B: Kernels>() {
    let s = ConvShape {
        batch: 2,
        channels_in: 2,
        channels_out: 3,
        height: 5,
        width: 5,
        kernel: [3; 2],
        stride: [1; 2],
        padding: 1,
        precision: Precision::F32,
    };
    let x = random::<B, 4>(1, [2, 2, 5, 5]);
    let zero = tensor::<B, 4>(&[0.0; 54], [3, 2, 3, 3]);
    let y = values(&B::conv(&s, &[(&poisoned(&x, 12), &zero)]));
    assert!(are_nan(&y[..75]).iter().filter(|nan| **nan).count() == 27, "{y:?}");
    assert!(y[75..].iter().all(|y| *y == 0.0), "{y:?}");
    let y = values(&B::conv(&s, &[(&x, &poisoned(&zero, 4))]));
    assert!(are_nan(&y[..25]).iter().all(|nan| *nan), "the centre of the kernel sees all pixels");
    let y_bar = poisoned(&random::<B, 4>(2, s.output()), 12);
    let x_bar = values(&B::conv_input(&s, &[(&zero, &y_bar)]));
    assert_eq!(are_nan(&x_bar).iter().filter(|nan| **nan).count(), 18);
    let w_bar = values(&B::conv_weight(&s, &[(&x, &y_bar)]));
    assert_eq!(are_nan(&w_bar), [[true; 18], [false; 18], [false; 18]].concat());

    let zeros = tensor::<B, 2>(&[0.0; 9], [3, 3]);
    for transpose in [Transpose::Neither, Transpose::Left, Transpose::Right] {
        let y = B::matmul(&poisoned(&zeros, 4), &zeros, transpose, Precision::F32);
        assert_eq!(are_nan(&values(&y)).iter().filter(|nan| **nan).count(), 3, "{transpose:?}");
        let y = B::matmul(&zeros, &poisoned(&zeros, 4), transpose, Precision::F32);
        assert_eq!(are_nan(&values(&y)).iter().filter(|nan| **nan).count(), 3, "{transpose:?}");
    }
    assert_eq!(are_nan(&values(&B::sum_rows(&poisoned(&zeros, 4)))), [false, true, false]);
}

fn vectors_pass_nan<B: Kernels>() {
    let (x, y) = (random::<B, 1>(1, [9]), random::<B, 1>(2, [9]));
    let bad = poisoned(&x, 4);
    let only: Vec<bool> = (0..9).map(|at| at == 4).collect();
    let sum = B::add(row(&values(&x)), &row(&values(&bad)));
    assert_eq!(are_nan(&values(&sum)), only);
    for (a, b) in [(0.5, 0.25), (0.5, 0.0)] {
        assert_eq!(are_nan(&values(&B::axpby(a, &bad, b, y.clone()))), only);
        assert_eq!(are_nan(&values(&B::axpby(b, &y, a, bad.clone()))), only);
    }
    assert_eq!(
        are_nan(&B::segment_dots(&[(&bad, &y), (&y, &bad)], &[0, 3, 9])),
        [false, true, false, true]
    );
    assert_eq!(are_nan(&values(&B::scale_segments(&bad, &[0, 3, 9], &[2.0, 3.0]))), only);
    let c = bissl_core::AdamCoefficients {
        clip: 1.0,
        beta1: 0.9,
        beta2: 0.999,
        second_scale: 1.0,
        epsilon: 1e-8,
        decay: 1.0,
        rate: 1e-3,
    };
    let (p, m, v) = B::adam(&c, &bad, y.clone(), y.clone(), y.clone() * y);
    for vector in [p, m, v] {
        assert!(are_nan(&values(&vector))[4], "a gradient of NaN reaches Adam's vectors");
    }
}

#[test]
fn every_kernel_passes_nan_on_every_backend() {
    on_every_backend!(rectifier_passes_nan);
    on_every_backend!(rectifier_masks_nothing_where_its_input_was_nan);
    on_every_backend!(max_pool_lets_nan_win);
    on_every_backend!(average_pool_passes_nan);
    on_every_backend!(norm_passes_what_is_not_finite);
    on_every_backend!(convolutions_and_products_pass_nan);
    on_every_backend!(vectors_pass_nan);
}

/// Value and gradient of every loss with one number of its outputs replaced.
fn losses_pass_what_is_not_finite<B: Kernels>() {
    let (rows, width) = (4, 3);
    let labels = vec![0, 2, 1, 0];
    let targets = MultiHot {
        present: (0..rows * width).map(|at| f32::from(u8::from(at % 2 == 0))).collect(),
        counted: vec![1.0; rows * width],
    };
    let losses: Vec<(&str, usize, Box<dyn Loss<B>>)> = vec![
        ("cross entropy", 1, Box::new(CrossEntropy { labels: labels.clone() })),
        (
            "weighted cross entropy",
            1,
            Box::new(WeightedCrossEntropy { labels, class_weights: Arc::new([1.0, 0.5, 2.0]) }),
        ),
        ("binary cross entropy", 1, Box::new(BinaryCrossEntropy { targets: targets.clone() })),
        ("softmax cross entropy", 1, Box::new(SoftmaxCrossEntropy { targets })),
        ("NT-Xent", 2, Box::new(NtXent { temperature: TEMPERATURE })),
        ("VICReg", 2, Box::new(vicreg())),
        ("Barlow Twins", 2, Box::new(BarlowTwins { off_diagonal: 5e-3 })),
    ];
    for (name, views, loss) in &losses {
        let outputs: Vec<Tensor<B, 2>> =
            (0..*views).map(|view| random(20 + view as u64, [rows, width])).collect();
        assert!(value(&**loss, &outputs).is_finite(), "{name} of finite outputs");
        for bad in [NAN, f64::INFINITY] {
            for at in 0..rows * width {
                let mut outputs = outputs.clone();
                let mut numbers = values(&outputs[0]);
                numbers[at] = bad;
                outputs[0] = tensor(&numbers, [rows, width]);
                let (loss, gradients) = value_and_gradient(&**loss, &outputs);
                assert!(!loss.is_finite(), "{name} with {bad} at {at} is {loss}");
                let all: Vec<f64> = gradients.iter().flat_map(|g| values(g)).collect();
                assert!(all.iter().any(|g| !g.is_finite()), "gradient of {name}, {bad} at {at}");
            }
        }
    }
}

fn vicreg() -> Vicreg {
    Vicreg { invariance: 25.0, variance: 25.0, covariance: 1.0, deviation: 1.0, epsilon: 1e-4 }
}

#[test]
fn every_loss_passes_what_is_not_finite_on_every_backend() {
    on_every_backend!(losses_pass_what_is_not_finite);
}

/// Initial parameters and neutral statistics.
fn weights<B: Kernels>(network: &Network) -> (Tensor<B, 1>, Tensor<B, 1>) {
    let start = network.parameters().initial(Stream::new(3, 1));
    // No γ may be 0, or a branch would be silent.
    let start: Vec<f64> = start
        .iter()
        .zip(noise(9, start.len()))
        .map(|(p, noise)| f64::from(*p) + 0.05 * noise)
        .collect();
    let table = network.statistics();
    let mut running = vec![0.0; table.len()];
    for segment in table.segments().iter().filter(|s| s.name.ends_with("running_var")) {
        running[segment.offset..segment.offset + segment.len()].fill(1.0);
    }
    (tensor(&start, [start.len()]), tensor(&running, [running.len()]))
}

/// A pixel that is NaN makes every feature of its image NaN, and of no other image.
fn networks_pass_a_pixel<B: Kernels>() {
    for (architecture, stem) in [
        (Architecture::ResNetSmall, Stem::Small),
        (Architecture::ResNetSmall, Stem::ImageNet),
        (Architecture::ResNet18, Stem::ImageNet),
    ] {
        let network = backbone(BackboneSettings { architecture, width: 4, stem });
        let (p, running) = weights::<B>(&network);
        let x = random::<B, 4>(5, [2, 3, 32, 32]);
        let clean = values(&network.evaluate(&p, &running, x.clone()));
        let found = values(&network.evaluate(&p, &running, poisoned(&x, 500)));
        let half = clean.len() / 2;
        assert!(clean.iter().all(|y| y.is_finite()));
        assert!(found[..half].iter().all(|y| y.is_nan()), "{architecture:?}: {found:?}");
        assert_eq!(found[half..], clean[half..], "{architecture:?}: the other image");
        let found = values(&network.forward(&p, poisoned(&x, 500)).y);
        assert!(found.iter().all(|y| y.is_nan()), "{architecture:?} with the batch's statistics");
        // A variance below 0 has no square root.
        let mut running = values(&running);
        running[4] = -1.0;
        let running = tensor(&running, [running.len()]);
        let found = values(&network.evaluate(&p, &running, x));
        assert!(found.iter().all(|y| y.is_nan()), "{architecture:?} with a negative variance");
    }
}

#[test]
fn every_network_passes_a_pixel_that_is_nan() {
    on_every_backend!(networks_pass_a_pixel);
}

/// A batch with one pixel that is NaN, on either level and with every pretext method.
#[test]
fn a_pixel_that_is_nan_makes_loss_gradient_and_product_nan() {
    let methods: [Arc<dyn Method<B>>; 4] = [
        Arc::new(NtXent { temperature: TEMPERATURE }),
        Arc::new(Byol { decay: 0.9, predictor: vec![10] }),
        Arc::new(vicreg()),
        Arc::new(BarlowTwins { off_diagonal: 5e-3 }),
    ];
    fn spoil<const VIEWS: usize>(views: &mut Inputs<VIEWS>) {
        let Inputs::Values(views) = views else { panic!("views are values") };
        views[VIEWS - 1][77] = f32::NAN;
    }
    for method in methods {
        for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
            let networks = small_networks(&*method, &[12, 8]);
            let what = format!("{method:?}, {curvature:?}");
            let mut problem = problem(&networks, problem_settings(method.clone(), curvature));
            let lower = |index: u32| -> TwoViews {
                let mut batch = two_views(u64::from(index), BATCH);
                spoil(&mut batch.views);
                batch
            };
            problem.replace_sources(Sources {
                lower: Some(Box::new(move |index| Ok(lower(index)))),
                product: Some(Box::new(move |index| Ok(lower(index)))),
                upper: Some(Box::new(|index| {
                    let mut batch: Labelled = labelled(u64::from(index), BATCH);
                    spoil(&mut batch.images);
                    Ok(batch)
                })),
            });
            let square = |problem: &mut Problem<'_, B>, register: Register| {
                let vector = problem.registers.read(register).unwrap();
                vector.iter().map(|x| x * x).sum::<f32>()
            };
            let (solution, head) = (Register::Solution, Register::PretextHeadGradient);
            let loss = problem.lower_gradient(1, Some(solution), head).unwrap();
            assert!(!loss.is_finite(), "{what}: lower loss {loss}");
            assert!(!square(&mut problem, solution).is_finite(), "{what}: lower gradient");
            problem.linearize(1).unwrap();
            let ones = vec![1.0; networks.backbone.parameters().len()];
            problem.registers.write(Register::Direction, ones).unwrap();
            problem.product(Register::Direction, Register::Product).unwrap();
            assert!(!square(&mut problem, Register::Product).is_finite(), "{what}: product");
            let head = Register::DownstreamHeadGradient;
            let loss =
                problem.upper_gradient(Evaluation::UpperAtLower, 1, Some(solution), head).unwrap();
            assert!(!loss.is_finite(), "{what}: upper loss {loss}");
            assert!(!square(&mut problem, solution).is_finite(), "{what}: upper gradient");
        }
    }
}
