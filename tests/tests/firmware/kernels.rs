//! The kernels are where a port puts its accelerator.

use bissl_firmware::{Kernels, Portable, Rows, Tick};
use bissl_firmware_sim::{Digits, SimulatedDevice};

use crate::support::{short, train};

/// A port that sums like the portable kernels and counts what it is asked for.
#[derive(Default)]
struct Counting {
    multiplications: u64,
    elementwise: u64,
    vectors: u64,
}

impl Kernels<f32> for Counting {
    fn multiply_transposed<const R: usize, const I: usize, const O: usize>(
        &mut self,
        x: &Rows<f32, R, I>,
        w: &Rows<f32, O, I>,
        y: &mut Rows<f32, R, O>,
    ) {
        self.multiplications += (R * I * O) as u64;
        Portable.multiply_transposed(x, w, y);
    }

    fn multiply<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<f32, R, O>,
        w: &Rows<f32, O, I>,
        x: &mut Rows<f32, R, I>,
    ) {
        self.multiplications += (R * I * O) as u64;
        Portable.multiply(y, w, x);
    }

    fn outer<const R: usize, const I: usize, const O: usize>(
        &mut self,
        y: &Rows<f32, R, O>,
        x: &Rows<f32, R, I>,
        w: &mut Rows<f32, O, I>,
    ) {
        self.multiplications += (R * I * O) as u64;
        Portable.outer(y, x, w);
    }

    fn relu(&mut self, y: &mut [f32]) {
        self.elementwise += y.len() as u64;
        Portable.relu(y);
    }

    fn relu_mask(&mut self, y: &[f32], v: &mut [f32]) {
        self.elementwise += v.len() as u64;
        Portable.relu_mask(y, v);
    }

    fn axpby(&mut self, a: f32, x: &[f32], b: f32, y: &mut [f32]) {
        self.vectors += y.len() as u64;
        Portable.axpby(a, x, b, y);
    }

    fn dot(&mut self, x: &[f32], y: &[f32]) -> f32 {
        self.vectors += y.len() as u64;
        Portable.dot(x, y)
    }
}

/// The same training on a port's kernels: the exchange that `wanted` asks for, in multiplications.
fn multiplications_of(wanted: fn(&bissl_core::Request) -> bool) -> u64 {
    let digits = Digits::embedded();
    let mut device = SimulatedDevice::new(digits.flash(), Counting::default(), short(1));
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
    let mut device = SimulatedDevice::new(digits.flash(), Counting::default(), short(1));
    while device.tick().unwrap() != Tick::Idle {}
    assert_eq!(device.device.hash().unwrap(), train(&digits, short(1)));
    let Counting { multiplications, elementwise, vectors } = device.kernels;
    assert!(multiplications > 1_000_000 && elementwise > 10_000 && vectors > 100_000);
}

#[test]
fn product_costs_the_tangent_work_alone() {
    use bissl_core::{Evaluation, Request};
    use bissl_firmware::shape::{EMBEDDING, FEATURES, HIDDEN, PIXELS, PROJECTED, VIEWS};

    let (stem, backbone) = (PIXELS * HIDDEN, HIDDEN * FEATURES);
    let head = FEATURES * PROJECTED + PROJECTED * EMBEDDING;
    let units = |forward: usize| (VIEWS * forward) as u64;
    // Forward, θ̄ and x̄ everywhere, but no gradient of the frames.
    let gradient = multiplications_of(|request| {
        matches!(request, Request::Gradient { evaluation: Evaluation::Lower, .. })
    });
    assert_eq!(gradient, units(2 * stem + 3 * backbone + 3 * head));
    // A linearisation wants no parameter's gradient.
    let linearisation = multiplications_of(|r| matches!(r, Request::Linearize { .. }));
    assert_eq!(linearisation, units(stem + 2 * backbone + 2 * head));
    // θ̇ in, θ̄̇ out: six units in the backbone's second layer, two in its first (the frames stand
    // still), two in the head (its parameters stand still).
    let product = multiplications_of(|request| matches!(request, Request::Product { .. }));
    assert_eq!(product, units(2 * stem + 6 * backbone + 2 * head));
}
