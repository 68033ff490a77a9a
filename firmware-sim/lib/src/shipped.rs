//! The devices that this project trains, simulates and runs on emulated boards.

use bissl_core::ConjugateGradient;

use crate::{Configuration, Curvature, Input, Layer, Model, Plan, Program};

const fn dense(inputs: u16, outputs: u16) -> Layer {
    Layer::Dense { inputs, outputs, bias: true, relu: true }
}

/// The last layer of a pretext head.
const fn embedding(inputs: u16, outputs: u16) -> Layer {
    Layer::Dense { inputs, outputs, bias: false, relu: false }
}

/// Grey pictures of 8 × 8 pixels; a dark sensor reads 0, a saturated one 1.
const PICTURE: Input = Input { channels: 1, height: 8, width: 8, range: [0.0, 1.0] };

/// Pictures on a device with 128 KiB of RAM (STM32F405), which pretrains its whole network itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigitsDevice;

impl Configuration for DigitsDevice {
    const MODEL: Model = Model {
        input: PICTURE,
        encoder: &[dense(64, 20), dense(20, 16)],
        frozen: 0,
        projector: &[dense(16, 16), embedding(16, 8)],
        classes: 10,
        pretext_batch: 10,
        product_batch: 10,
        downstream_batch: 10,
        curvature: Curvature::Hessian,
        basis: 0,
        basis_products: 0,
        shared: true,
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
    const SEGMENTS: bool = true;
}

/// 2 000 trained parameters and more, of 128 KiB: what is left is for stack and board.
const _: () = assert!(DigitsDevice::MODEL.trained_parameters() >= 2_000);
const _: () = assert!(Program::<DigitsDevice>::BYTES <= 96 * 1024);

/// The same on a device with 16 KiB of RAM (nRF51822, FE310), with a network that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallDigitsDevice;

impl Configuration for SmallDigitsDevice {
    const MODEL: Model = Model {
        input: PICTURE,
        encoder: &[dense(64, 2), dense(2, 4)],
        frozen: 0,
        projector: &[dense(4, 4), embedding(4, 4)],
        classes: 10,
        pretext_batch: 4,
        product_batch: 4,
        downstream_batch: 3,
        curvature: Curvature::Hessian,
        basis: 0,
        basis_products: 0,
        shared: true,
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
}

/// 300 trained parameters and more, of 16 KiB: what is left is for stack and board.
const _: () = assert!(SmallDigitsDevice::MODEL.trained_parameters() >= 200);
const _: () = assert!(Program::<SmallDigitsDevice>::BYTES <= 14 * 1024);
