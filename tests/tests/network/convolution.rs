//! The convolution kernels against seven nested loops, at any stride and padding.

use bissl::kernels::{ConvShape, Kernels, Precision};
use burn_tensor::Tensor;

use crate::backend::{B, precision};
use crate::support::{dot, error, norm, random, tensor, values};

/// `w ∗ x` by its definition, and the output's shape.
pub(crate) fn naive(
    x: &[f64],
    [batch, channels_in, height, width]: [usize; 4],
    w: &[f64],
    [channels_out, _, kernel_height, kernel_width]: [usize; 4],
    stride: [usize; 2],
    padding: usize,
) -> (Vec<f64>, [usize; 4]) {
    let out =
        |size: usize, kernel: usize, stride: usize| (size + 2 * padding - kernel) / stride + 1;
    let h_out = out(height, kernel_height, stride[0]);
    let w_out = out(width, kernel_width, stride[1]);
    let taps = || (0..kernel_height).flat_map(|ky| (0..kernel_width).map(move |kx| (ky, kx)));
    let mut y = Vec::new();
    for n in 0..batch {
        for o in 0..channels_out {
            for (oy, ox) in (0..h_out).flat_map(|oy| (0..w_out).map(move |ox| (oy, ox))) {
                let mut sum = 0.0;
                for c in 0..channels_in {
                    for (ky, kx) in taps() {
                        let (iy, ix) = (oy * stride[0] + ky, ox * stride[1] + kx);
                        let inside = (padding..padding + height).contains(&iy)
                            && (padding..padding + width).contains(&ix);
                        if inside {
                            let plane = (n * channels_in + c) * height + iy - padding;
                            let tap =
                                ((o * channels_in + c) * kernel_height + ky) * kernel_width + kx;
                            sum += x[plane * width + ix - padding] * w[tap];
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    (y, [batch, channels_out, h_out, w_out])
}

/// A convolution whose kernel and strides are square.
pub(crate) fn square(
    batch: usize,
    [channels_in, channels_out]: [usize; 2],
    [height, width]: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
) -> ConvShape {
    ConvShape {
        batch,
        channels_in,
        channels_out,
        height,
        width,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding,
        precision: Precision::F32,
    }
}

/// Shapes that the networks never use stand beside those that they do.
pub(crate) fn shapes() -> Vec<ConvShape> {
    let mut shapes = Vec::new();
    for (batch, channels_in, channels_out) in [(1, 1, 1), (3, 2, 5), (19, 3, 2)] {
        for (height, width) in [(7, 7), (5, 9), (4, 3), (2, 1), (16, 17)] {
            for (kernel, stride, padding) in [
                (1, 1, 0),
                (1, 2, 0),
                (1, 1, 1),
                (2, 1, 0),
                (2, 3, 1),
                (3, 1, 1),
                (3, 2, 1),
                (3, 1, 0),
                (3, 2, 0),
                (3, 1, 2),
                (3, 4, 1),
                (5, 1, 2),
                (5, 2, 2),
                (7, 1, 3),
                (7, 2, 3),
            ] {
                let fits = |size: usize| size + 2 * padding >= kernel;
                if fits(height) && fits(width) {
                    let channels = [channels_in, channels_out];
                    shapes.push(square(batch, channels, [height, width], kernel, stride, padding));
                }
            }
        }
    }
    // More channels than a block of the weight's gradient, a row longer than a tile of columns, and
    // an image of several tiles.
    let wide =
        |batch, channels_in, side, stride| square(batch, [channels_in, 3], side, 3, stride, 1);
    // Sides that differ: rows of samples, columns, and both.
    for (kernel, stride, padding) in [
        ([1, 8], [1, 4], 0),
        ([1, 5], [1, 1], 0),
        ([1, 3], [2, 1], 1),
        ([4, 1], [3, 1], 0),
        ([2, 3], [1, 2], 1),
        ([3, 2], [2, 1], 0),
        ([1, 1], [1, 2], 0),
    ] {
        for (batch, side) in [(1, [5, 9]), (7, [4, 12]), (20, [1, 100])] {
            if side[0] + 2 * padding >= kernel[0] {
                let of = square(batch, [3, 4], side, 1, 1, padding);
                shapes.push(ConvShape { kernel, stride, ..of });
            }
        }
    }
    shapes.extend([
        wide(5, 65, [3, 4], 1),
        wide(2, 130, [4, 3], 2),
        wide(1, 2, [3, 300], 1),
        wide(2, 2, [5, 301], 2),
        wide(3, 2, [40, 17], 1),
    ]);
    shapes
}

#[test]
fn convolution_is_its_definition_and_its_gradients_are_the_adjoints() {
    let tolerance = precision::<B>().equal;
    for s in shapes() {
        let x = random::<B, 4>(1, [s.batch, s.channels_in, s.height, s.width]);
        let w = random::<B, 4>(2, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]]);
        let y_bar = random::<B, 4>(3, s.output());
        let y = values(&B::conv(&s, &[(&x, &w)]));
        let (expected, dims) =
            naive(&values(&x), x.dims(), &values(&w), w.dims(), s.stride, s.padding);
        assert_eq!(s.output(), dims);
        let forward = error(&y, &expected);
        assert!(forward <= tolerance, "{s:?}: forward {forward:e}");

        let size = norm(&values(&y_bar)) * norm(&expected);
        let pairing = dot(&values(&y_bar), &expected);
        let x_bar = B::conv_input(&s, &[(&w, &y_bar)]);
        let w_bar = B::conv_weight(&s, &[(&x, &y_bar)]);
        assert_eq!((x_bar.dims(), w_bar.dims()), (x.dims(), w.dims()), "{s:?}");
        for (what, found) in [
            ("input", dot(&values(&x_bar), &values(&x))),
            ("weight", dot(&values(&w_bar), &values(&w))),
        ] {
            let adjoint = (found - pairing).abs();
            assert!(adjoint <= 10.0 * tolerance * size, "{s:?}: {what} off by {adjoint:e}");
        }
        // The adjoint against a second vector that took no part in it.
        let (x, w) = (random::<B, 4>(4, x.dims()), random::<B, 4>(5, w.dims()));
        let moved = naive(&values(&x), x.dims(), &values(&w), w.dims(), s.stride, s.padding).0;
        let x_bar = dot(&values(&B::conv_input(&s, &[(&w, &y_bar)])), &values(&x));
        let w_bar = dot(&values(&B::conv_weight(&s, &[(&x, &y_bar)])), &values(&w));
        let pairing = dot(&values(&y_bar), &moved);
        let size = norm(&values(&y_bar)) * norm(&moved);
        assert!((x_bar - pairing).abs() <= 10.0 * tolerance * size, "{s:?}: input");
        assert!((w_bar - pairing).abs() <= 10.0 * tolerance * size, "{s:?}: weight");
    }
}

#[test]
fn a_sum_of_terms_is_the_sum_of_its_terms() {
    let tolerance = precision::<B>().equal;
    for s in shapes().into_iter().filter(|s| s.kernel[1] == 3) {
        let x =
            [1, 2].map(|seed| random::<B, 4>(seed, [s.batch, s.channels_in, s.height, s.width]));
        let w = [3, 4].map(|seed| {
            random::<B, 4>(seed, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]])
        });
        let y_bar = [5, 6].map(|seed| random::<B, 4>(seed, s.output()));
        type Pass = fn(&ConvShape, &[(&Tensor<B, 4>, &Tensor<B, 4>)]) -> Tensor<B, 4>;
        let passes: [(&str, Pass, [_; 2]); 3] = [
            ("output", B::conv, [(&x[0], &w[0]), (&x[1], &w[1])]),
            ("input", B::conv_input, [(&w[0], &y_bar[0]), (&w[1], &y_bar[1])]),
            ("weight", B::conv_weight, [(&x[0], &y_bar[0]), (&x[1], &y_bar[1])]),
        ];
        for (name, pass, terms) in passes {
            let apart = terms.map(|term| values(&pass(&s, &[term])));
            let expected: Vec<f64> = apart[0].iter().zip(&apart[1]).map(|(a, b)| a + b).collect();
            let found = error(&values(&pass(&s, &terms)), &expected);
            assert!(found <= tolerance, "{s:?}: {name}: {found:e}");
        }
    }
}

#[test]
fn scratch_of_an_earlier_convolution_leaves_no_trace() {
    let shape = |side, kernel| square(3, [2, 4], [side; 2], kernel, 1, kernel / 2);
    let (small, large) = (shape(4, 3), shape(12, 5));
    let x = random::<B, 4>(1, [3, 2, 4, 4]);
    let w = random::<B, 4>(2, [4, 2, 3, 3]);
    let before = values(&B::conv(&small, &[(&x, &w)]));
    let infinite = tensor::<B, 4>(&[f64::INFINITY; 3 * 2 * 144], [3, 2, 12, 12]);
    let noise = random::<B, 4>(3, [4, 2, 5, 5]);
    assert!(values(&B::conv(&large, &[(&infinite, &noise)])).iter().any(|v| !v.is_finite()));
    assert_eq!(values(&B::conv(&small, &[(&x, &w)])), before);
}
