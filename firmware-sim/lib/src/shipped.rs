//! The devices that this project trains, simulates and runs on emulated boards.

use bissl_core::ConjugateGradient;

use crate::{Configuration, Convolution, Curvature, Input, Layer, Model, Plan, Program};

const fn dense(inputs: u16, outputs: u16) -> Layer {
    Layer::Dense { inputs, outputs, bias: true, relu: true }
}

/// The last layer of a pretext head.
const fn embedding(inputs: u16, outputs: u16) -> Layer {
    Layer::Dense { inputs, outputs, bias: false, relu: false }
}

/// A convolution with a ReLU on inputs of `[channels, height, width]`.
const fn convolution(
    [channels, height, width]: [u16; 3],
    filters: u16,
    kernel: [u16; 2],
    stride: [u16; 2],
) -> Layer {
    let relu = true;
    Layer::Convolution(Convolution { channels, height, width, filters, kernel, stride, relu })
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

/// At least 2 000 trained parameters in 128 KiB; what is left is for stack and board.
const _: () = assert!(DigitsDevice::MODEL.trained_parameters() >= 2_000);
const _: () = assert!(Program::<DigitsDevice>::BYTES <= 96 * 1024);

/// Pictures on a device with 16 KiB of RAM (nRF51822, FE310). The first layer is pretrained
/// elsewhere and stays in flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallDigitsDevice;

impl Configuration for SmallDigitsDevice {
    const MODEL: Model = Model {
        encoder: &[dense(64, 16), dense(16, 10)],
        frozen: 1,
        projector: &[dense(10, 4), embedding(4, 4)],
        pretext_batch: 4,
        product_batch: 4,
        downstream_batch: 4,
        ..DigitsDevice::MODEL
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
}

/// At least 300 trained parameters in 16 KiB; what is left is for stack and board.
const _: () = assert!(SmallDigitsDevice::MODEL.trained_parameters() >= 300);
const _: () = assert!(Program::<SmallDigitsDevice>::BYTES <= 12 * 1024);

/// Pictures on a device with 256 KiB of RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeDigitsDevice;

impl Configuration for LargeDigitsDevice {
    const MODEL: Model = Model {
        encoder: &[dense(64, 64), dense(64, 24)],
        projector: &[dense(24, 8), embedding(8, 8)],
        pretext_batch: 8,
        product_batch: 8,
        ..DigitsDevice::MODEL
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
}

/// At least 6 000 trained parameters; what is left is for stack and board.
const _: () = assert!(LargeDigitsDevice::MODEL.trained_parameters() >= 6_000);
const _: () = assert!(Program::<LargeDigitsDevice>::BYTES <= 248 * 1024);

/// Pictures through two convolutions on a device with 128 KiB of RAM; the first convolution is in
/// flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvolutionalDigitsDevice;

impl Configuration for ConvolutionalDigitsDevice {
    const MODEL: Model = Model {
        encoder: &[
            convolution([1, 8, 8], 8, [3, 3], [1, 1]),
            convolution([8, 6, 6], 12, [3, 3], [3, 3]),
            dense(48, 16),
        ],
        frozen: 1,
        projector: &[dense(16, 16), embedding(16, 8)],
        pretext_batch: 6,
        product_batch: 6,
        ..DigitsDevice::MODEL
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
}

const _: () = assert!(Program::<ConvolutionalDigitsDevice>::BYTES <= 116 * 1024);

/// Two seconds of a smartwatch's six inertial channels at 50 Hz, on a device with 128 KiB of RAM.
/// The first convolution is in flash; the rest is aligned to the person who wears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchDevice;

impl Configuration for WatchDevice {
    const MODEL: Model = Model {
        input: Input { channels: 6, height: 1, width: 100, range: [-50.0, 50.0] },
        encoder: &[
            convolution([6, 1, 100], 16, [1, 8], [1, 4]),
            convolution([16, 1, 24], 16, [1, 5], [1, 2]),
            Layer::AveragePool { channels: 16, positions: 10 },
            dense(16, 16),
        ],
        frozen: 1,
        projector: &[dense(16, 16), embedding(16, 8)],
        classes: 7,
        pretext_batch: 5,
        product_batch: 5,
        downstream_batch: 7,
        ..DigitsDevice::MODEL
    };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = ConjugateGradient;
}

const _: () = assert!(WatchDevice::MODEL.trained_parameters() >= 2_000);
const _: () = assert!(Program::<WatchDevice>::BYTES <= 116 * 1024);
