//! The four passes of layers and of their composition, each against f64 central differences.

use bissl_firmware::network::{
    Chain, Dense, Direction, Gradient, Layer, Linear, Moved, Passed, Point, Relu,
};
use bissl_firmware::{Blank, Portable, Real, Rows, Vector};

use crate::support::{distance, dot, draws, moved, random};

const R: usize = 3;
const STEP: f64 = 1e-7;
/// Central differences of smooth f64 functions of size 1 at this step carry about 1e-9.
const TOLERANCE: f64 = 1e-7;

/// A batch of rows as a vector, for the tests' arithmetic.
#[derive(Clone, Debug)]
struct Batch<const N: usize>(Rows<f64, R, N>);

impl<const N: usize> Blank for Batch<N> {
    const BLANK: Self = Self([[0.0; N]; R]);
}

impl<const N: usize> Vector<f64> for Batch<N> {
    fn zip(&self, other: &Self, visit: &mut impl FnMut(&[f64], &[f64])) {
        visit(self.0.as_flattened(), other.0.as_flattened());
    }

    fn zip_mut(&mut self, other: &Self, visit: &mut impl FnMut(&mut [f64], &[f64])) {
        visit(self.0.as_flattened_mut(), other.0.as_flattened());
    }

    fn each_mut(&mut self, visit: &mut impl FnMut(&mut [f64])) {
        visit(self.0.as_flattened_mut());
    }
}

/// `(ahead − behind) / 2h`.
fn difference<V: Vector<f64> + Clone>(ahead: &V, behind: &V) -> V {
    let mut difference = moved(ahead, -1.0, behind);
    difference.each_mut(&mut |segment| segment.iter_mut().for_each(|x| *x /= 2.0 * STEP));
    difference
}

/// What the backward passes give: x̄ and θ̄.
type Bars<L, const I: usize> = (Batch<I>, <L as Layer<f64>>::Parameters);

/// A layer at a random point, moving in a random direction, with a random cotangent that moves.
struct Case<L: Layer<f64>, const I: usize, const O: usize> {
    input: [Batch<I>; 2],
    parameters: [L::Parameters; 2],
    cotangent: [Batch<O>; 2],
}

impl<L, const I: usize, const O: usize> Case<L, I, O>
where
    L: Layer<f64, Input = Rows<f64, R, I>, Output = Rows<f64, R, O>>,
    L::Parameters: Clone,
{
    fn new(seed: u64) -> Self {
        let mut draws = draws(seed);
        Self {
            input: [random(&mut draws), random(&mut draws)],
            parameters: [random(&mut draws), random(&mut draws)],
            cotangent: [random(&mut draws), random(&mut draws)],
        }
    }

    /// y and, with the same trace, x̄ and θ̄, after `step` along the direction.
    fn first_order(&self, step: f64) -> (Batch<O>, Bars<L, I>) {
        let at = |pair: &[Batch<I>; 2]| moved(&pair[0], step, &pair[1]);
        let (input, parameters) =
            (at(&self.input), moved(&self.parameters[0], step, &self.parameters[1]));
        let mut bar = moved(&self.cotangent[0], step, &self.cotangent[1]);
        let (mut trace, mut bars, mut y) = (L::Trace::BLANK, L::Trace::BLANK, Batch::BLANK);
        L::forward(&mut Portable, &parameters, &input.0, &mut trace, &mut y.0);
        let (mut x_bar, mut parameters_bar) = (Batch::BLANK, L::Parameters::BLANK);
        let point = Point { parameters: &parameters, input: &input.0, trace: &trace, output: &y.0 };
        let wanted = Gradient { input: Some(&mut x_bar.0), parameters: Some(&mut parameters_bar) };
        L::backward(&mut Portable, point, &mut bar.0, &mut bars, wanted);
        (y, (x_bar, parameters_bar))
    }

    /// ẏ, and the tangents of x̄ and θ̄, by the tangent passes.
    fn tangents(&self) -> (Batch<O>, Bars<L, I>) {
        let ([input, input_dot], [parameters, parameters_dot]) = (&self.input, &self.parameters);
        let (mut trace, mut dots, mut bars, mut moving) =
            (L::Trace::BLANK, L::Trace::BLANK, L::Trace::BLANK, L::Trace::BLANK);
        let mut y = Batch::<O>::BLANK;
        L::forward(&mut Portable, parameters, &input.0, &mut trace, &mut y.0);
        let point = || Point { parameters, input: &input.0, trace: &trace, output: &y.0 };
        let direction =
            || Direction { input: Some(&input_dot.0), parameters: Some(parameters_dot) };
        let mut y_dot = Batch::<O>::BLANK;
        L::tangent(&mut Portable, point(), direction(), &mut dots, &mut y_dot.0);

        let [mut bar, mut bar_dot] = self.cotangent.clone();
        let nothing = Gradient { input: None, parameters: None };
        L::backward(&mut Portable, point(), &mut bar.0, &mut bars, nothing);
        let (mut x_bar, mut parameters_bar) = (Batch::BLANK, L::Parameters::BLANK);
        L::backward_tangent(
            &mut Portable,
            point(),
            Moved { direction: direction(), trace: &dots },
            Passed { output: &bar.0, trace: &bars },
            &mut bar_dot.0,
            &mut moving,
            Gradient { input: Some(&mut x_bar.0), parameters: Some(&mut parameters_bar) },
        );
        (y_dot, (x_bar, parameters_bar))
    }

    fn check(&self, seed: u64) {
        let (y, (x_bar, parameters_bar)) = self.first_order(0.0);
        let (ahead, behind) = (self.first_order(STEP), self.first_order(-STEP));
        let (y_dot, (x_bar_dot, parameters_bar_dot)) = self.tangents();
        assert!(y.0.as_flattened().iter().any(|y| *y != 0.0), "seed {seed}: a dead layer");

        let errors = [
            distance(&y_dot, &difference(&ahead.0, &behind.0)),
            distance(&x_bar_dot, &difference(&ahead.1.0, &behind.1.0)),
            distance(&parameters_bar_dot, &difference(&ahead.1.1, &behind.1.1)),
        ];
        assert!(errors.iter().all(|e| *e < TOLERANCE), "seed {seed}: {errors:?}");

        // The backward pass is the adjoint of the tangent pass.
        let forward = dot(&self.cotangent[0], &y_dot);
        let backward = dot(&x_bar, &self.input[1]) + dot(&parameters_bar, &self.parameters[1]);
        assert!((forward - backward).abs() < 1e-12 * (1.0 + forward.abs()), "seed {seed}");
    }
}

fn check<L, const I: usize, const O: usize>()
where
    L: Layer<f64, Input = Rows<f64, R, I>, Output = Rows<f64, R, O>>,
    L::Parameters: Clone,
{
    for seed in 0..20 {
        Case::<L, I, O>::new(800 + seed).check(seed);
    }
}

#[test]
fn dense_layer_has_its_four_passes() {
    check::<Dense<Linear, R, 5, 4, 4>, 5, 4>();
}

#[test]
fn dense_layer_without_bias_has_its_four_passes() {
    check::<Dense<Linear, R, 5, 4, 0>, 5, 4>();
}

#[test]
fn dense_layer_with_relu_has_its_four_passes() {
    check::<Dense<Relu, R, 5, 7, 7>, 5, 7>();
}

#[test]
fn chains_have_their_four_passes() {
    type Inner = Chain<Dense<Relu, R, 6, 7, 7>, Dense<Relu, R, 7, 5, 5>>;
    check::<Chain<Inner, Dense<Linear, R, 5, 4, 0>>, 6, 4>();
    check::<Chain<Dense<Linear, R, 8, 6, 6>, Inner>, 8, 5>();
}

#[test]
fn rectifier_shows_a_nan_and_keeps_zeros() {
    let mut values = [-1.0f32, -0.0, 0.0, 2.0, f32::NAN, f32::NEG_INFINITY];
    bissl_firmware::Kernels::relu(&mut Portable, &mut values);
    assert!(values[4].is_nan());
    let bits: Vec<u32> = values[..4].iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, [0, (-0.0f32).to_bits(), 0, 2f32.to_bits()]);
    assert_eq!(values[5], 0.0);
    assert!(Real::is_finite(values[3]));
}
