//! The four passes of sequences of layers, each against f64 central differences.

use bissl_firmware::network::{Direction, Sequence};
use bissl_firmware::{
    Compact, Convolution, Kernels, Layer, Real, activations, outputs, parameters,
};

use crate::support::{distance, dot, draws, moved, random};

const ROWS: usize = 3;
const STEP: f64 = 1e-7;
/// Central differences of smooth f64 functions of size 1 have errors of about 1e-9 at this step.
const TOLERANCE: f64 = 1e-7;

const fn dense(inputs: u16, outputs: u16, bias: bool, relu: bool) -> Layer {
    Layer::Dense { inputs, outputs, bias, relu }
}

/// On inputs of `[channels, height, width]`.
const fn convolution(
    [channels, height, width]: [u16; 3],
    filters: u16,
    kernel: [u16; 2],
    stride: [u16; 2],
    relu: bool,
) -> Layer {
    Layer::Convolution(Convolution { channels, height, width, filters, kernel, stride, relu })
}

/// `(ahead − behind) / 2h`.
fn difference(ahead: &[f64], behind: &[f64]) -> Vec<f64> {
    ahead.iter().zip(behind).map(|(a, b)| (a - b) / (2.0 * STEP)).collect()
}

/// y, x̄ and θ̄, or their tangents.
type Passes = [Vec<f64>; 3];

/// A sequence at a random point that moves in a random direction, with a random cotangent that
/// moves too.
struct Case<'a> {
    sequence: Sequence<'a>,
    input: [Vec<f64>; 2],
    parameters: [Vec<f64>; 2],
    cotangent: [Vec<f64>; 2],
}

impl<'a> Case<'a> {
    fn new(layers: &'a [Layer], seed: u64) -> Self {
        let mut draws = draws(seed);
        let mut pair = |floats| [random(&mut draws, floats), random(&mut draws, floats)];
        let inputs = layers[0].inputs();
        Self {
            sequence: Sequence { layers, rows: ROWS },
            input: pair(ROWS * inputs),
            parameters: pair(parameters(layers)),
            cotangent: pair(ROWS * outputs(layers, inputs)),
        }
    }

    /// A trace of cotangents whose last output is `bar`.
    fn ending_in(&self, bar: &[f64]) -> Vec<f64> {
        let mut trace = vec![0.0; ROWS * activations(self.sequence.layers)];
        let start = trace.len() - bar.len();
        trace[start..].copy_from_slice(bar);
        trace
    }

    fn blank(&self) -> Vec<f64> {
        vec![0.0; ROWS * activations(self.sequence.layers)]
    }

    /// y, x̄ and θ̄ after `step` along the direction.
    fn first_order(&self, step: f64) -> Passes {
        let at = |[here, direction]: &[Vec<f64>; 2]| moved(here, step, direction);
        let (input, parameters) = (at(&self.input), at(&self.parameters));
        let bar = at(&self.cotangent);
        let mut values = self.blank();
        self.sequence.forward(&mut Compact, &parameters, &input, &mut values).unwrap();
        let mut bars = self.ending_in(&bar);
        let (mut x_bar, mut gradient) = (vec![9.0; input.len()], vec![9.0; parameters.len()]);
        let wanted = (Some(&mut x_bar[..]), Some(&mut gradient[..]));
        let point = (&parameters[..], &input[..], &values[..]);
        self.sequence.backward(&mut Compact, point, &mut bars, wanted).unwrap();
        [values[values.len() - bar.len()..].to_vec(), x_bar, gradient]
    }

    /// ẏ, and the tangents of x̄ and θ̄, from the tangent passes.
    fn tangents(&self) -> Passes {
        let ([input, input_dot], [parameters, parameters_dot]) = (&self.input, &self.parameters);
        let [bar, bar_dot] = &self.cotangent;
        let mut values = self.blank();
        self.sequence.forward(&mut Compact, parameters, input, &mut values).unwrap();
        let point = (&parameters[..], &input[..], &values[..]);
        let direction =
            Direction { input: Some(&input_dot[..]), parameters: Some(&parameters_dot[..]) };
        let mut dots = self.blank();
        self.sequence.tangent(&mut Compact, point, direction, &mut dots).unwrap();
        let mut bars = self.ending_in(bar);
        self.sequence.backward(&mut Compact, point, &mut bars, (None, None)).unwrap();
        let mut moving = self.ending_in(bar_dot);
        let (mut x_bar, mut gradient) = (vec![9.0; input.len()], vec![9.0; parameters.len()]);
        let wanted = (Some(&mut x_bar[..]), Some(&mut gradient[..]));
        let moved = (direction, &dots[..]);
        self.sequence
            .backward_tangent(&mut Compact, point, moved, Some(&bars), &mut moving, wanted)
            .unwrap();
        [dots[dots.len() - bar.len()..].to_vec(), x_bar, gradient]
    }

    fn check(&self, seed: u64) {
        let [y, x_bar, gradient] = self.first_order(0.0);
        let (ahead, behind) = (self.first_order(STEP), self.first_order(-STEP));
        let found = self.tangents();
        assert!(y.iter().any(|y| *y != 0.0), "seed {seed}: a dead layer");
        for (pass, found) in found.iter().enumerate() {
            let error = distance(found, &difference(&ahead[pass], &behind[pass]));
            assert!(error < TOLERANCE, "seed {seed}, pass {pass}: {error:.1e}");
        }
        // The backward pass is the adjoint of the tangent pass.
        let forward = dot(&self.cotangent[0], &found[0]);
        let backward = dot(&x_bar, &self.input[1]) + dot(&gradient, &self.parameters[1]);
        assert!((forward - backward).abs() < 1e-12 * (1.0 + forward.abs()), "seed {seed}");
    }
}

fn check(layers: &[Layer]) {
    for seed in 0..12 {
        Case::new(layers, 800 + seed).check(seed);
    }
}

#[test]
fn dense_layers_have_their_four_passes() {
    check(&[dense(5, 4, true, false)]);
    check(&[dense(5, 4, false, false)]);
    check(&[dense(5, 7, true, true)]);
}

/// Two channels of a time series, windows of 3 that overlap by 1.
const SERIES: Layer = convolution([2, 1, 9], 4, [1, 3], [1, 2], true);
/// A picture of 5 × 6 pixels with 2 channels.
const PICTURE: Layer = convolution([2, 5, 6], 3, [3, 2], [2, 1], false);

#[test]
fn convolutions_have_their_four_passes() {
    check(&[SERIES]);
    check(&[PICTURE]);
}

#[test]
fn average_pools_have_their_four_passes() {
    check(&[dense(5, 12, true, true), Layer::AveragePool { channels: 3, positions: 4 }]);
}

#[test]
fn sequences_have_their_four_passes() {
    check(&[dense(6, 7, true, true), dense(7, 5, true, true), dense(5, 4, false, false)]);
    check(&[
        SERIES,
        convolution([4, 1, 4], 3, [1, 2], [1, 1], true),
        Layer::AveragePool { channels: 3, positions: 3 },
        dense(3, 4, true, false),
    ]);
    check(&[PICTURE, dense(30, 4, true, true)]);
}

/// A convolution by its definition, `[y][x][channel]`.
fn convolve(c: &Convolution, w: &[f64], b: &[f64], x: &[f64]) -> Vec<f64> {
    let [channels, height, width, filters] =
        [c.channels, c.height, c.width, c.filters].map(usize::from);
    let [[rows, columns], [down, right]] = [c.kernel, c.stride].map(|p| p.map(usize::from));
    let mut out = vec![];
    for top in (0..=height - rows).step_by(down) {
        for left in (0..=width - columns).step_by(right) {
            for (filter, bias) in b.iter().enumerate().take(filters) {
                let mut sum = *bias;
                for (row, column, channel) in (0..rows).flat_map(|r| {
                    (0..columns)
                        .flat_map(move |c| (0..channels).map(move |channel| (r, c, channel)))
                }) {
                    let weight = ((filter * rows + row) * columns + column) * channels + channel;
                    let value = ((top + row) * width + left + column) * channels + channel;
                    sum += w[weight] * x[value];
                }
                out.push(if c.relu && sum < 0.0 { 0.0 } else { sum });
            }
        }
    }
    out
}

#[test]
fn convolution_is_what_its_definition_says() {
    for layer in [SERIES, PICTURE] {
        let Layer::Convolution(convolution) = layer else { unreachable!("both are convolutions") };
        let mut draws = draws(77);
        let theta: Vec<f64> = random(&mut draws, layer.parameters());
        let x: Vec<f64> = random(&mut draws, ROWS * layer.inputs());
        let mut values = vec![0.0; ROWS * layer.outputs()];
        let sequence = Sequence { layers: &[layer], rows: ROWS };
        sequence.forward(&mut Compact, &theta, &x, &mut values).unwrap();
        let (w, b) = theta.split_at(layer.weights());
        let expected: Vec<f64> =
            x.chunks(layer.inputs()).flat_map(|x| convolve(&convolution, w, b, x)).collect();
        assert_eq!(expected.len(), values.len());
        assert!(distance(&values, &expected) < 1e-14);
    }
}

#[test]
fn arrays_of_another_length_are_refused() {
    let sequence =
        Sequence { layers: &[dense(2, 3, true, true), dense(3, 2, true, false)], rows: 2 };
    let fits = (vec![1.0f32; 17], vec![1.0; 4], vec![0.0; 10]);
    let run = |(theta, x, mut values): (Vec<f32>, Vec<f32>, Vec<f32>)| {
        sequence.forward(&mut Compact, &theta, &x, &mut values)
    };
    assert!(run(fits.clone()).is_some());
    assert!(run((vec![1.0; 16], fits.1.clone(), fits.2.clone())).is_none());
    assert!(run((fits.0, fits.1, vec![0.0; 9])).is_none());
}

#[test]
fn rectifier_shows_a_nan_and_keeps_zeros() {
    let mut values = [-1.0f32, -0.0, 0.0, 2.0, f32::NAN, f32::NEG_INFINITY];
    Compact.relu(&mut values);
    assert!(values[4].is_nan());
    let bits: Vec<u32> = values[..4].iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, [0, (-0.0f32).to_bits(), 0, 2f32.to_bits()]);
    assert_eq!(values[5], 0.0);
    assert!(Real::is_finite(values[3]));
}
