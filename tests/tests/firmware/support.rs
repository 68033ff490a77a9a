//! Devices that train quickly, and vectors to test with.

use bissl_core::{Draws, Stream};
use bissl_firmware::{
    Compact, Corpus, DigitsDevice, FlashFrames, FrameSource, Lengths, Program, Real, Settings,
};
use bissl_firmware_sim::{Digits, SimulatedDevice};

/// The device that the tests of the superloop train.
pub(crate) type Device = Program<DigitsDevice>;

/// That device, simulated.
pub(crate) type Simulated<'a> = SimulatedDevice<DigitsDevice, FlashFrames<'a, u8>, Compact>;

/// A simulated device whose training has begun.
pub(crate) fn start(digits: &Digits, settings: Settings) -> Simulated<'_> {
    bissl_firmware_sim::start(digits, settings)
}

/// Stages of a few steps: every kind of request and event occurs, and a debug build is quick.
pub(crate) fn short(seed: u64) -> Settings {
    let lengths = Lengths {
        pretrain: 4,
        warm_up: 3,
        alternations: 2,
        lower_steps: 3,
        upper_steps: 2,
        finetune: 4,
    };
    Settings::new(seed, lengths).unwrap()
}

/// Runs to the end; returns the hash of the final state.
pub(crate) fn finish(mut device: Simulated<'_>) -> u64 {
    while device.tick().unwrap() != bissl_firmware::Tick::Idle {}
    device.device.hash().unwrap()
}

/// The hash of a whole short training.
pub(crate) fn train(digits: &Digits, settings: Settings) -> u64 {
    finish(start(digits, settings))
}

/// The draws of one test.
pub(crate) fn draws(seed: u64) -> Draws {
    Stream::new(seed, 0x7e57).at(0)
}

/// A vector uniform in `[−1, 1)`.
pub(crate) fn random<T: Real>(draws: &mut Draws, floats: usize) -> Vec<T> {
    (0..floats).map(|_| T::from_f32(draws.uniform_in(-1.0, 1.0))).collect()
}

/// `a x + y`.
pub(crate) fn moved<T: Real>(y: &[T], a: T, x: &[T]) -> Vec<T> {
    y.iter().zip(x).map(|(y, x)| *y + a * *x).collect()
}

/// `x · y`.
pub(crate) fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let mut sum = T::BLANK;
    x.iter().zip(y).for_each(|(x, y)| sum += *x * *y);
    sum
}

/// `‖x − y‖ / ‖y‖`.
pub(crate) fn distance(x: &[f64], y: &[f64]) -> f64 {
    let difference = moved(x, -1.0, y);
    (dot(&difference, &difference) / dot(y, y)).sqrt()
}

/// A source of frames in which one frame is bad.
#[derive(Clone)]
pub(crate) struct Spoilt<S> {
    pub(crate) source: S,
    pub(crate) corpus: Corpus,
    pub(crate) index: u32,
    pub(crate) pixel: f32,
}

impl<S: FrameSource> Spoilt<S> {
    fn spoil(&self, corpus: Corpus, index: u32, frame: &mut [f32]) {
        if (corpus, index) == (self.corpus, self.index) {
            frame[13] = self.pixel;
        }
    }
}

impl<S: FrameSource> FrameSource for Spoilt<S> {
    fn count(&self, corpus: Corpus) -> u32 {
        self.source.count(corpus)
    }

    fn unlabelled(&self, index: u32, frame: &mut [f32]) -> Option<()> {
        self.source.unlabelled(index, frame)?;
        self.spoil(Corpus::Unlabelled, index, frame);
        Some(())
    }

    fn labelled(&self, index: u32, frame: &mut [f32]) -> Option<u8> {
        let label = self.source.labelled(index, frame)?;
        self.spoil(Corpus::Labelled, index, frame);
        Some(label)
    }
}
