//! The four passes of every layer: tangents against central differences of the pass below, the
//! backward pass as the tangent's adjoint and against differences of a scalar.

use bissl::kernels::Precision::F32;
use bissl::network::{
    AveragePool, BatchNorm, Builder, Conv, Cotangents, Direction, Init, Linear, MaxPool, Network,
    OnEveryBackend, Parameters, Passes, Relu,
};
use burn_tensor::Tensor;

use crate::backend::{B, Precision, precision};
use crate::support::{central, dot, error, norm, random, shifted, tensor, values};

/// A layer at a point, with all directions.
pub(crate) struct Probe<L> {
    name: String,
    layer: L,
    /// The layer alone.
    network: Network,
    at: (Tensor<B, 1>, Tensor<B, 4>),
    dot: (Tensor<B, 1>, Tensor<B, 4>),
    y_bar: Tensor<B, 4>,
    y_bar_dot: Tensor<B, 4>,
}

impl<L: Passes<B> + OnEveryBackend + Clone> Probe<L> {
    /// A layer on random input.
    pub(crate) fn new(name: &str, layer: L, shape: [usize; 4]) -> Self {
        Self::on(name, layer, random(11, shape))
    }

    /// A layer on a given input.
    fn on(name: &str, layer: L, x: Tensor<B, 4>) -> Self {
        let [_, channels, height, width] = x.dims();
        let builder = Builder::new([channels, height, width]).layer("l", layer.clone());
        let network = builder.build().unwrap();
        // A layer without parameters gets one that it does not look at.
        let p = random(12, [network.parameters().len().max(1)]);
        let y = network.forward(&p, x.clone()).y.dims();
        Self {
            name: format!("{name} on {:?}", x.dims()),
            layer,
            network,
            dot: (random(13, p.dims()), random(14, x.dims())),
            at: (p, x),
            y_bar: random(15, y),
            y_bar_dot: random(16, y),
        }
    }

    fn view<'a>(&'a self, flat: &'a Tensor<B, 1>) -> Parameters<'a, B> {
        Parameters::new(flat, self.network.parameters().segments(), F32)
    }

    fn has_parameters(&self) -> bool {
        !self.network.parameters().is_empty()
    }

    fn forward(
        &self,
        p: &Tensor<B, 1>,
        x: &Tensor<B, 4>,
    ) -> (Tensor<B, 4>, <L as Passes<B>>::Saved) {
        self.layer.forward(self.view(p), x.clone())
    }

    fn moved(&self, step: f64) -> (Tensor<B, 1>, Tensor<B, 4>) {
        (shifted(&self.at.0, step, &self.dot.0), shifted(&self.at.1, step, &self.dot.1))
    }

    fn value(&self, (p, x): &(Tensor<B, 1>, Tensor<B, 4>)) -> Vec<f64> {
        values(&self.forward(p, x).0)
    }

    /// p̄ and then x̄.
    fn backward(&self, (p, x): &(Tensor<B, 1>, Tensor<B, 4>), y_bar: &Tensor<B, 4>) -> Vec<f64> {
        let saved = self.forward(p, x).1;
        let mut out = Cotangents::new(self.has_parameters(), true);
        let x_bar = self.layer.backward(self.view(p), &saved, y_bar, &mut out).expect("asked for");
        self.join(out, &x_bar)
    }

    fn backward_tangent(
        &self,
        p_dot: Option<&Tensor<B, 1>>,
        x_dot: Option<&Tensor<B, 4>>,
        y_bar_dot: &Tensor<B, 4>,
    ) -> Vec<f64> {
        let (p, x) = &self.at;
        let saved = self.forward(p, x).1;
        let mut out = Cotangents::new(self.has_parameters(), true);
        let p_dot = p_dot.map(|p_dot| self.view(p_dot));
        let direction = Direction { x_dot, p_dot, y_bar_dot };
        let p = self.view(p);
        let x_bar = self.layer.backward_tangent(p, &saved, direction, &self.y_bar, &mut out);
        self.join(out, &x_bar.expect("asked for"))
    }

    fn tangent(&self, p_dot: Option<&Tensor<B, 1>>, x_dot: Option<&Tensor<B, 4>>) -> Vec<f64> {
        let (p, x) = &self.at;
        let saved = self.forward(p, x).1;
        let p_dot = p_dot.map(|p_dot| self.view(p_dot));
        match self.layer.tangent(self.view(p), &saved, x_dot, p_dot) {
            Some(y_dot) => values(&y_dot),
            None => vec![0.0; values(&self.y_bar).len()],
        }
    }

    fn join(&self, out: Cotangents<B>, x_bar: &Tensor<B, 4>) -> Vec<f64> {
        let mut all = if self.has_parameters() {
            let tensors = self.network.parameters().segments().len();
            values(&out.into_flat(tensors).expect("asked for"))
        } else {
            vec![0.0]
        };
        all.extend(values(x_bar));
        all
    }

    fn dots(&self) -> Vec<f64> {
        values(&self.dot.0).into_iter().chain(values(&self.dot.1)).collect()
    }

    fn assert_close(&self, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        let error = error(found, expected);
        assert!(error <= tolerance, "{}: {what} differs by {error:e}", self.name);
    }

    pub(crate) fn check(&self) {
        let Precision { step, difference, equal } = precision::<B>();
        let (plus, minus) = (self.moved(step), self.moved(-step));
        let (p_dot, x_dot) = (&self.dot.0, &self.dot.1);

        let tangent = self.tangent(Some(p_dot), Some(x_dot));
        let expected = central(&self.value(&plus), &self.value(&minus), step);
        self.assert_close("tangent", &tangent, &expected, difference);

        let backward = self.backward(&self.at, &self.y_bar);
        let y_bar = values(&self.y_bar);
        let adjoint = dot(&y_bar, &tangent) - dot(&backward, &self.dots());
        let size = norm(&y_bar) * norm(&tangent);
        assert!(adjoint.abs() <= equal * size, "{}: adjoint off by {adjoint:e}", self.name);
        self.check_coordinates(&backward);

        let tangent = self.backward_tangent(Some(p_dot), Some(x_dot), &self.y_bar_dot);
        let bar = |step: f64| shifted(&self.y_bar, step, &self.y_bar_dot);
        let (plus, minus) = (self.backward(&plus, &bar(step)), self.backward(&minus, &bar(-step)));
        let expected = central(&plus, &minus, step);
        self.assert_close("tangent of backward", &tangent, &expected, difference);
        self.check_absent_directions();
    }

    /// The backward pass coordinate by coordinate, some hundred of them.
    fn check_coordinates(&self, backward: &[f64]) {
        let Precision { step, difference, .. } = precision::<B>();
        let (p, x) = (values(&self.at.0), values(&self.at.1));
        let both: Vec<f64> = p.iter().chain(&x).copied().collect();
        let y_bar = values(&self.y_bar);
        let chosen: Vec<usize> = (0..both.len()).step_by(both.len().div_ceil(150)).collect();
        let differences: Vec<f64> = chosen
            .iter()
            .map(|&i| {
                let scalar = |step: f64| {
                    let mut moved = both.clone();
                    moved[i] += step;
                    let (p, x) = moved.split_at(p.len());
                    let at = (tensor(p, [p.len()]), tensor(x, self.at.1.dims()));
                    dot(&y_bar, &self.value(&at))
                };
                (scalar(step) - scalar(-step)) / (2.0 * step)
            })
            .collect();
        let found: Vec<f64> = chosen.iter().map(|i| backward[*i]).collect();
        self.assert_close("backward", &found, &differences, difference);
    }

    /// An absent direction means zero.
    fn check_absent_directions(&self) {
        let equal = precision::<B>().equal;
        let (p_dot, x_dot) = (&self.dot.0, &self.dot.1);
        let (p_zero, x_zero) = (p_dot.zeros_like(), x_dot.zeros_like());
        let cases = [
            (None, Some(x_dot), (&p_zero, x_dot)),
            (Some(p_dot), None, (p_dot, &x_zero)),
            (None, None, (&p_zero, &x_zero)),
        ];
        for (p_dot, x_dot, (p, x)) in cases {
            let expected = self.tangent(Some(p), Some(x));
            let found = self.tangent(p_dot, x_dot);
            self.assert_close("tangent without a direction", &found, &expected, equal);
            let expected = self.backward_tangent(Some(p), Some(x), &self.y_bar_dot);
            let found = self.backward_tangent(p_dot, x_dot, &self.y_bar_dot);
            self.assert_close("backward tangent without a direction", &found, &expected, equal);
        }
    }
}

/// Distinct numbers, 1/4 apart and at least 1/8 from 0: no step of a difference crosses a kink.
fn apart(shape: [usize; 4]) -> Tensor<B, 4> {
    let len: usize = shape.iter().product();
    // 7919 is a prime, and so visits every place once.
    let place = |i: usize| ((i * 7919) % len) as f64;
    let values: Vec<f64> = (0..len).map(|i| 0.25 * (place(i) - (len / 2) as f64) + 0.125).collect();
    tensor(&values, shape)
}

#[test]
fn convolution_passes_agree_with_differences() {
    // channels in and out, kernel, stride; batch, height, width
    let shapes = [
        ((3, 4, 3, 1), (2, 5, 5)),
        ((2, 3, 3, 2), (3, 7, 6)),
        ((3, 2, 1, 1), (2, 4, 4)),
        ((2, 4, 1, 2), (3, 5, 4)),
        ((3, 2, 7, 2), (2, 9, 11)),
        ((1, 1, 3, 1), (1, 1, 1)),
        ((2, 3, 3, 2), (2, 1, 3)),
        // one image a group, in parts of unequal length
        ((1, 2, 3, 1), (20, 16, 17)),
        ((2, 2, 1, 1), (9, 16, 16)),
        // 64 images a group, the last one not full
        ((2, 3, 3, 1), (70, 2, 2)),
        ((2, 3, 1, 1), (70, 2, 2)),
    ];
    for ((channels_in, channels_out, kernel, stride), (batch, height, width)) in shapes {
        let conv = Conv::same(channels_out, kernel, stride);
        let name = format!("{kernel}×{kernel} to {channels_out}, stride {stride}");
        Probe::new(&name, conv, [batch, channels_in, height, width]).check();
    }
}

#[test]
fn convolution_with_bias_and_without_padding_passes_agree_with_differences() {
    // channels in and out, kernel, stride; batch, height, width
    let shapes = [
        ((6, 4, [1, 8], [1, 4]), (3, 1, 40)),
        ((4, 3, [1, 5], [1, 2]), (2, 1, 9)),
        ((2, 3, [2, 3], [2, 1]), (3, 5, 6)),
        ((1, 2, [3, 1], [1, 1]), (2, 3, 4)),
        ((2, 2, [1, 1], [1, 1]), (2, 2, 2)),
        ((1, 1, [2, 2], [3, 3]), (9, 8, 8)),
    ];
    for ((channels_in, channels_out, kernel, stride), (batch, height, width)) in shapes {
        let conv = Conv::valid(channels_out, kernel, stride);
        let name = format!("{kernel:?} to {channels_out}, stride {stride:?}, with bias");
        Probe::new(&name, conv, [batch, channels_in, height, width]).check();
    }
}

#[test]
fn batch_norm_passes_agree_with_differences() {
    for shape in [[4, 3, 2, 3], [5, 2, 1, 1], [2, 1, 4, 4], [3, 4, 3, 5]] {
        Probe::new("batch norm", BatchNorm { gamma: Init::One }, shape).check();
    }
}

#[test]
fn linear_passes_agree_with_differences() {
    for (batch, from, to, bias) in [(3, 4, 5, true), (3, 4, 5, false), (1, 1, 1, true)] {
        let linear = Linear { features_out: to, bias, init: Init::UniformFanIn };
        Probe::new("linear", linear, [batch, from, 1, 1]).check();
    }
    // An image counts as its values.
    let linear = Linear { features_out: 5, bias: true, init: Init::UniformFanIn };
    Probe::new("linear", linear, [3, 2, 3, 4]).check();
}

#[test]
fn relu_passes_agree_with_differences() {
    Probe::on("relu", Relu, apart([3, 2, 4, 5])).check();
}

#[test]
fn max_pool_passes_agree_with_differences() {
    let windows = [(3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)];
    for (kernel, stride, padding) in windows {
        for shape in [[2, 2, 6, 6], [2, 1, 5, 7], [1, 3, 9, 5]] {
            let pool = MaxPool { kernel, stride, padding };
            Probe::on(&format!("{pool:?}"), pool, apart(shape)).check();
        }
    }
}

#[test]
fn average_pool_passes_agree_with_differences() {
    for shape in [[2, 3, 4, 5], [1, 1, 1, 1], [3, 2, 7, 1]] {
        Probe::new("average pool", AveragePool, shape).check();
    }
}

#[test]
fn the_first_of_equal_maxima_wins_in_all_passes() {
    let none = tensor::<B, 1>(&[0.0], [1]);
    let p = Parameters::new(&none, &[], F32);
    let pool = MaxPool { kernel: 2, stride: 2, padding: 0 };
    let x = tensor::<B, 4>(&[1.0, 3.0, 3.0, 3.0, -2.0, -2.0, -2.0, -2.0], [1, 1, 4, 2]);
    let (y, saved) = pool.forward(p, x);
    assert_eq!(values(&y), [3.0, -2.0]);
    let x_dot = tensor::<B, 4>(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1, 1, 4, 2]);
    let y_dot = pool.tangent(p, &saved, Some(&x_dot), None).unwrap();
    assert_eq!(values(&y_dot), [2.0, 5.0]);
    let y_bar = tensor::<B, 4>(&[10.0, 20.0], [1, 1, 2, 1]);
    let x_bar = pool.backward(p, &saved, &y_bar, &mut Cotangents::new(false, true)).unwrap();
    assert_eq!(values(&x_bar), [0.0, 10.0, 0.0, 0.0, 20.0, 0.0, 0.0, 0.0]);
}

#[test]
fn relu_at_zero_has_derivative_zero() {
    let none = tensor::<B, 1>(&[0.0], [1]);
    let p = Parameters::new(&none, &[], F32);
    let (y, saved) = Passes::<B>::forward(&Relu, p, tensor(&[0.0, -0.0, 1.0, -1.0], [1, 4, 1, 1]));
    assert_eq!(values(&y), [0.0, 0.0, 1.0, 0.0]);
    let ones = tensor::<B, 4>(&[1.0; 4], [1, 4, 1, 1]);
    let y_dot = Relu.tangent(p, &saved, Some(&ones), None).unwrap();
    assert_eq!(values(&y_dot), [0.0, 0.0, 1.0, 0.0]);
    let x_bar = Relu.backward(p, &saved, &ones, &mut Cotangents::new(false, true)).unwrap();
    assert_eq!(values(&x_bar), [0.0, 0.0, 1.0, 0.0]);
}
