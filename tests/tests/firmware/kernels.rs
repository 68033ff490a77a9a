//! A port plugs its accelerator in as kernels.

use bissl_firmware::{
    Blocked, Compact, Configuration, DigitsDevice, Kernels, Matrix, MatrixMut, Tick,
};
use bissl_firmware_sim::{Digits, SimulatedDevice};

use crate::support::{draws, random, short, train};

/// A port that sums like the plain kernels and counts its operations.
#[derive(Default)]
struct Counting {
    multiplications: u64,
    elementwise: u64,
    vectors: u64,
}

fn products(x: &Matrix<'_, f32>, w: &Matrix<'_, f32>) -> u64 {
    (x.rows() * w.rows() * w.columns()) as u64
}

impl Kernels<f32> for Counting {
    fn multiply_transposed(
        &mut self,
        x: Matrix<'_, f32>,
        w: Matrix<'_, f32>,
        y: MatrixMut<'_, f32>,
    ) {
        self.multiplications += products(&x, &w);
        Compact.multiply_transposed(x, w, y);
    }

    fn multiply(&mut self, y: Matrix<'_, f32>, w: Matrix<'_, f32>, x: MatrixMut<'_, f32>) {
        self.multiplications += products(&y, &w);
        Compact.multiply(y, w, x);
    }

    fn outer(&mut self, y: Matrix<'_, f32>, x: Matrix<'_, f32>, w: MatrixMut<'_, f32>) {
        self.multiplications += (x.rows() * w.rows() * w.columns()) as u64;
        Compact.outer(y, x, w);
    }

    fn relu(&mut self, y: &mut [f32]) {
        self.elementwise += y.len() as u64;
        Compact.relu(y);
    }

    fn relu_mask(&mut self, y: &[f32], v: &mut [f32]) {
        self.elementwise += v.len() as u64;
        Compact.relu_mask(y, v);
    }

    fn axpby(&mut self, a: f32, x: &[f32], b: f32, y: &mut [f32]) {
        self.vectors += y.len() as u64;
        Compact.axpby(a, x, b, y);
    }

    fn dot(&mut self, x: &[f32], y: &[f32]) -> f32 {
        self.vectors += y.len() as u64;
        Compact.dot(x, y)
    }
}

fn counting(
    digits: &Digits,
) -> SimulatedDevice<DigitsDevice, impl bissl_firmware::FrameSource, Counting> {
    SimulatedDevice::new(digits.flash(), Counting::default(), short(1))
}

/// Multiplications of the first exchange whose request is `wanted`, in the same training on a
/// port's kernels.
fn multiplications_of(wanted: fn(&bissl_core::Request) -> bool) -> u64 {
    let digits = Digits::embedded();
    let mut device = counting(&digits);
    loop {
        let before = device.kernels.multiplications;
        match device.tick().unwrap() {
            Tick::Performed(exchange) if wanted(&exchange.request) => {
                return device.kernels.multiplications - before;
            }
            Tick::Idle => panic!("no such request"),
            _ => {}
        }
    }
}

#[test]
fn port_with_the_same_sums_ends_in_the_same_state() {
    let digits = Digits::embedded();
    let mut device = counting(&digits);
    while device.tick().unwrap() != Tick::Idle {}
    assert_eq!(device.device.hash().unwrap(), train(&digits, short(1)));
    let Counting { multiplications, elementwise, vectors } = device.kernels;
    assert!(multiplications > 1_000_000 && elementwise > 10_000 && vectors > 100_000);
}

#[test]
fn product_costs_the_tangent_work_alone() {
    use bissl_core::{Evaluation, Request};

    let model = DigitsDevice::MODEL;
    let [stem, backbone] = [model.encoder[0].weights(), model.encoder[1].weights()];
    let head: usize = model.projector.iter().map(bissl_firmware::Layer::weights).sum();
    let units = |forward: usize| 2 * u64::from(model.pretext_batch) * forward as u64;
    // Forward, θ̄ and x̄ for every layer, but no gradient of the frames.
    let gradient = multiplications_of(|request| {
        matches!(request, Request::Gradient { evaluation: Evaluation::Lower, .. })
    });
    assert_eq!(gradient, units(2 * stem + 3 * backbone + 3 * head));
    // A linearisation needs no gradient of parameters.
    let linearisation = multiplications_of(|r| matches!(r, Request::Linearize { .. }));
    assert_eq!(linearisation, units(stem + 2 * backbone + 2 * head));
    // θ̇ in, θ̄̇ out: six units in the backbone's second layer, two in its first (the frames do not
    // move), two in the head (its parameters do not move).
    let product = multiplications_of(|request| matches!(request, Request::Product { .. }));
    assert_eq!(product, units(2 * stem + 6 * backbone + 2 * head));
}

/// The result of one of the three products on random operands; rows of `x` begin every `stride`
/// floats.
fn result<K: Kernels<f32>>(
    kernels: &mut K,
    product: usize,
    (rows, inputs, outputs): (usize, usize, usize),
    stride: usize,
) -> Vec<u32> {
    let mut draws = draws((rows * 1000 + inputs * 100 + outputs * 10 + stride) as u64);
    let floats = stride * (rows - 1) + inputs;
    let mut x: Vec<f32> = random(&mut draws, floats);
    let mut w: Vec<f32> = random(&mut draws, inputs * outputs + 3);
    let mut y: Vec<f32> = random(&mut draws, rows * outputs);
    let (w_stride, y_stride) = (inputs, outputs);
    match product {
        0 => kernels.multiply_transposed(
            Matrix::new(&x, rows, inputs, stride),
            Matrix::new(&w, outputs, inputs, w_stride),
            MatrixMut::new(&mut y, rows, outputs, y_stride),
        ),
        1 => kernels.multiply(
            Matrix::new(&y, rows, outputs, y_stride),
            Matrix::new(&w, outputs, inputs, w_stride),
            MatrixMut::new(&mut x, rows, inputs, stride),
        ),
        _ => kernels.outer(
            Matrix::new(&y, rows, outputs, y_stride),
            Matrix::new(&x, rows, inputs, stride),
            MatrixMut::new(&mut w, outputs, inputs, w_stride),
        ),
    }
    x.into_iter().chain(w).chain(y).map(f32::to_bits).collect()
}

#[test]
fn blocked_kernels_give_the_bits_of_the_plain_loops() {
    let sizes = [1usize, 2, 3, 4, 5, 7, 8, 13, 16, 18];
    for product in 0..3 {
        for (rows, inputs, outputs) in sizes.into_iter().flat_map(|rows| {
            sizes.into_iter().flat_map(move |i| sizes.into_iter().map(move |o| (rows, i, o)))
        }) {
            // Rows without gaps, with gaps between them, and overlapping as windows do.
            for stride in [inputs, inputs + 3, inputs.div_ceil(2), 1] {
                let sizes = (rows, inputs, outputs);
                let (plain, blocked) = (
                    result(&mut Compact, product, sizes, stride),
                    result(&mut Blocked, product, sizes, stride),
                );
                assert!(plain == blocked, "product {product}, {sizes:?}, stride {stride}");
            }
        }
    }
}

#[test]
fn blocked_kernels_train_to_the_same_state() {
    let digits = Digits::embedded();
    let mut device: SimulatedDevice<DigitsDevice, _, _> =
        SimulatedDevice::new(digits.flash(), Blocked, short(1));
    while device.tick().unwrap() != Tick::Idle {}
    assert_eq!(device.device.hash().unwrap(), train(&digits, short(1)));
}
