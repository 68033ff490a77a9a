//! Devices that train quickly, and vectors to test with.

use bissl_core::{Draws, Stream};
use bissl_firmware::{
    Corpus, FlashFrames, Frame, FrameSource, Lengths, Portable, Real, Settings, Vector,
};
use bissl_firmware_sim::{Digits, SimulatedDevice, start};

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

/// Runs to the end; the hash of the final state.
pub(crate) fn finish(mut device: SimulatedDevice<FlashFrames<'_>, Portable>) -> u64 {
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
pub(crate) fn random<T: Real, V: Vector<T>>(draws: &mut Draws) -> V {
    let mut vector = V::BLANK;
    vector.each_mut(&mut |segment| {
        segment.iter_mut().for_each(|x| *x = T::from_f32(draws.uniform_in(-1.0, 1.0)));
    });
    vector
}

/// `a x + y`.
pub(crate) fn moved<T: Real, V: Vector<T> + Clone>(y: &V, a: T, x: &V) -> V {
    let mut sum = y.clone();
    sum.zip_mut(x, &mut |y, x| y.iter_mut().zip(x).for_each(|(y, x)| *y += a * *x));
    sum
}

/// `x · y`.
pub(crate) fn dot<T: Real, V: Vector<T>>(x: &V, y: &V) -> T {
    let mut sum = T::BLANK;
    x.zip(y, &mut |x, y| x.iter().zip(y).for_each(|(x, y)| sum += *x * *y));
    sum
}

/// `‖x − y‖ / ‖y‖`.
pub(crate) fn distance<V: Vector<f64> + Clone>(x: &V, y: &V) -> f64 {
    let difference = moved(x, -1.0, y);
    (dot(&difference, &difference) / dot(y, y)).sqrt()
}

/// Another source with one frame spoilt.
#[derive(Clone)]
pub(crate) struct Spoilt<S> {
    pub(crate) source: S,
    pub(crate) corpus: Corpus,
    pub(crate) index: u32,
    pub(crate) pixel: f32,
}

impl<S: FrameSource> Spoilt<S> {
    fn spoil(&self, corpus: Corpus, index: u32, frame: &mut Frame) {
        if (corpus, index) == (self.corpus, self.index) {
            frame[13] = self.pixel;
        }
    }
}

impl<S: FrameSource> FrameSource for Spoilt<S> {
    fn count(&self, corpus: Corpus) -> u32 {
        self.source.count(corpus)
    }

    fn unlabelled(&self, index: u32, frame: &mut Frame) -> Option<()> {
        self.source.unlabelled(index, frame)?;
        self.spoil(Corpus::Unlabelled, index, frame);
        Some(())
    }

    fn labelled(&self, index: u32, frame: &mut Frame) -> Option<u8> {
        let label = self.source.labelled(index, frame)?;
        self.spoil(Corpus::Labelled, index, frame);
        Some(label)
    }
}
