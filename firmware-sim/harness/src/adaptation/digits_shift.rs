//! Digits that differ from those of the pretraining: they are rotated and noisy.

use bissl_core::{Draws, Group, Stream};
use bissl_firmware::{
    Blocked, Configuration, ConvolutionalDigitsDevice, FlashFrames, Lengths, Model, Plan, Program,
    Settings, SmallDigitsDevice, Stage, Tick,
};

use super::Surroundings;
use crate::digits::{CLASSES, Digits, PIXELS};
use crate::{Path, Stopped};

/// Domain of the streams that draw noise.
const NOISE: u16 = 0x0015;

/// How the frames on the device differ from those of the pretraining.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DigitsShift {
    /// Rotation in degrees, counter-clockwise.
    pub degrees: f32,
    /// Noise, uniform from −noise to noise; full scale is 16.
    pub noise: f32,
    /// Labelled pictures of each class.
    pub labelled_per_class: usize,
    /// Pictures without labels.
    pub unlabelled: usize,
}

impl Default for DigitsShift {
    fn default() -> Self {
        Self { degrees: 60.0, noise: 2.0, labelled_per_class: 3, unlabelled: 300 }
    }
}

impl DigitsShift {
    /// The pictures that the pretraining does not see, with the shift. They are other pictures of
    /// the same data set, which does not name its writers.
    pub fn surroundings(&self, seed: u64) -> Surroundings<u8> {
        let digits = Digits::embedded();
        let mut draws = Stream::new(seed, NOISE).at(0);
        let mut surroundings = Surroundings::default();
        let mut taken = [0; CLASSES];
        let flash = digits.flash();
        let labelled = flash.labelled.as_chunks::<PIXELS>().0.iter().zip(flash.labels);
        let others = labelled.map(|(picture, label)| (*picture, *label));
        for (picture, label) in others.chain(digits.held_out().iter().copied()) {
            let picture = self.shift(&picture, &mut draws);
            let taken = &mut taken[usize::from(label)];
            if *taken < self.labelled_per_class {
                *taken += 1;
                surroundings.labelled.extend(picture);
                surroundings.labels.push(label);
            } else if surroundings.unlabelled.len() < self.unlabelled * PIXELS {
                surroundings.unlabelled.extend(picture);
            } else {
                surroundings.held_out.extend(picture);
                surroundings.held_out_labels.push(label);
            }
        }
        surroundings
    }

    fn shift(&self, picture: &[u8; PIXELS], draws: &mut Draws) -> [u8; PIXELS] {
        let (sine, cosine) = self.degrees.to_radians().sin_cos();
        let pixel = |x: i32, y: i32| match (usize::try_from(x), usize::try_from(y)) {
            (Ok(x), Ok(y)) if x < 8 && y < 8 => f32::from(picture[8 * y + x]),
            _ => 0.0,
        };
        std::array::from_fn(|i| {
            let (x, y) = ((i % 8) as f32 - 3.5, (i / 8) as f32 - 3.5);
            let (x, y) = (cosine * x - sine * y + 3.5, sine * x + cosine * y + 3.5);
            let (left, top) = (x.floor(), y.floor());
            let (right, down) = (x - left, y - top);
            let (left, top) = (left as i32, top as i32);
            let upper = (1.0 - right) * pixel(left, top) + right * pixel(left + 1, top);
            let lower = (1.0 - right) * pixel(left, top + 1) + right * pixel(left + 1, top + 1);
            let noise = draws.uniform_in(-self.noise, self.noise);
            // `as` saturates at both ends of a byte; 16 is full scale.
            ((1.0 - down) * upper + down * lower + noise).round().min(16.0) as u8
        })
    }
}

/// A device whose network can be pretrained here, with batches that no microcontroller has room
/// for.
pub trait PretrainedDigits: Configuration {
    /// The same network with all of it trained.
    type Factory: Configuration<Solver = bissl_core::ConjugateGradient>;
}

macro_rules! factory {
    ($name:ident, $device:ty) => {
        /// The network of the device with the same name, all of it trained, in batches of 64.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;

        impl Configuration for $name {
            const MODEL: Model = Model {
                frozen: 0,
                pretext_batch: 64,
                product_batch: 2,
                ..<$device as Configuration>::MODEL
            };
            type Memory = [f32; Plan::new(&Self::MODEL).floats];
            type Solver = bissl_core::ConjugateGradient;
        }

        impl PretrainedDigits for $device {
            type Factory = $name;
        }
    };
}

factory!(SmallDigitsFactory, SmallDigitsDevice);
factory!(ConvolutionalDigitsFactory, ConvolutionalDigitsDevice);

/// Weights of backbone and pretext head after `steps` steps on upright pictures without labels.
///
/// # Errors
/// The device stops with a fault.
pub fn pretrain_digits<D: PretrainedDigits>(seed: u64, steps: u32) -> Result<Vec<f32>, Stopped> {
    let digits = Digits::embedded();
    let frames: FlashFrames<'_, u8> = digits.flash();
    let lengths = Lengths { pretrain: steps, ..Lengths::default() };
    let Ok(settings) = Settings::new(seed, lengths) else {
        unreachable!("the command line keeps the steps in range")
    };
    let settings = settings.without_alignment();
    let mut device = Box::new(Program::<D::Factory>::new());
    device.begin(settings);
    loop {
        let tick = device.ticks();
        let path = Path::Conventional;
        let done =
            device.tick(&frames, &mut Blocked).map_err(|fault| Stopped { path, tick, fault })?;
        if done == Tick::Ended(Stage::Pretrain) {
            let [encoder, projector] =
                [Group::LowerBackbone, Group::PretextHead].map(|group| device.parameters(group));
            return Ok([encoder, projector].concat());
        }
    }
}
