//! Sensor frames: where they come from, and the views that are made of them.

use bissl_core::Draws;
use serde::{Deserialize, Serialize};

use crate::model::{Input, Model};
use crate::network::at_least_one;
use crate::{Corpus, Fault};

/// What the device's flash holds: frames, and perhaps pretrained weights.
///
/// *The same index gives the same frame*: batches are drawn by number, and products and replays
/// read the same frames again.
pub trait FrameSource {
    /// Frames of a corpus.
    fn count(&self, corpus: Corpus) -> u32;

    /// Reads an unlabelled frame, `[y][x][channel]`; `None` if there is no such frame or its length
    /// differs.
    fn unlabelled(&self, index: u32, frame: &mut [f32]) -> Option<()>;

    /// Reads a labelled frame and returns its class; `None` if there is no such frame or its length
    /// differs.
    fn labelled(&self, index: u32, frame: &mut [f32]) -> Option<u8>;

    /// Weights of the whole backbone, then of the pretext head; empty on a device that starts from
    /// random weights.
    fn weights(&self) -> &[f32] {
        &[]
    }
}

/// Reads an unlabelled frame; a fault if it is missing or out of range.
pub(crate) fn unlabelled<S: FrameSource>(
    source: &S,
    model: &Model,
    index: u32,
    frame: &mut [f32],
) -> Result<(), Fault> {
    let corpus = Corpus::Unlabelled;
    source.unlabelled(index, frame).ok_or(Fault::FrameMissing { corpus, index })?;
    check(model, frame, corpus, index)
}

/// Reads a labelled frame; a fault if it is missing, out of range, or of an unknown class.
pub(crate) fn labelled<S: FrameSource>(
    source: &S,
    model: &Model,
    index: u32,
    frame: &mut [f32],
) -> Result<u8, Fault> {
    let corpus = Corpus::Labelled;
    let label = source.labelled(index, frame).ok_or(Fault::FrameMissing { corpus, index })?;
    check(model, frame, corpus, index)?;
    if u16::from(label) < model.classes {
        Ok(label)
    } else {
        Err(Fault::LabelUnknown { index, label })
    }
}

fn check(model: &Model, frame: &[f32], corpus: Corpus, index: u32) -> Result<(), Fault> {
    let [least, most] = model.input.range;
    if frame.iter().all(|value| (least..=most).contains(value)) {
        Ok(())
    } else {
        Err(Fault::ValueOutOfRange { corpus, index })
    }
}

/// How a stored number becomes a value: `number · scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Factor.
    pub scale: f32,
    /// The value of a stored 0.
    pub offset: f32,
}

/// A number as a sensor stores it.
pub trait Sample: Copy {
    /// The same number as an f32.
    fn to_f32(self) -> f32;
}

impl Sample for u8 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}

impl Sample for i16 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}

/// Frames of integers in flash: one byte for a pixel of a picture, 16 bits for a sample of an
/// inertial sensor.
#[derive(Clone, Copy, Debug)]
pub struct FlashFrames<'a, N> {
    /// The pretext corpus, frame after frame.
    pub unlabelled: &'a [N],
    /// The downstream corpus.
    pub labelled: &'a [N],
    /// Classes of the labelled frames, one each.
    pub labels: &'a [u8],
    /// Numbers of a frame.
    pub floats: usize,
    /// The scale of each channel.
    pub scales: &'a [Scale],
    /// Weights of backbone and pretext head, or nothing.
    pub weights: &'a [f32],
}

impl<N: Sample> FlashFrames<'_, N> {
    /// Turns stored numbers into values.
    pub fn scale(&self, numbers: &[N], frame: &mut [f32]) {
        let mut scales = self.scales.iter().cycle();
        for (value, number) in frame.iter_mut().zip(numbers) {
            let Scale { scale, offset } =
                scales.next().copied().unwrap_or(Scale { scale: 1.0, offset: 0.0 });
            *value = number.to_f32() * scale + offset;
        }
    }

    fn read(&self, corpus: &[N], index: u32, frame: &mut [f32]) -> Option<()> {
        let start = (index as usize).checked_mul(self.floats)?;
        let numbers = corpus.get(start..)?.get(..self.floats)?;
        if frame.len() != self.floats {
            return None;
        }
        self.scale(numbers, frame);
        Some(())
    }
}

impl<N: Sample> FrameSource for FlashFrames<'_, N> {
    fn count(&self, corpus: Corpus) -> u32 {
        let numbers = match corpus {
            Corpus::Unlabelled => self.unlabelled.len(),
            Corpus::Labelled => self.labelled.len(),
        };
        (numbers / at_least_one(self.floats)) as u32
    }

    fn unlabelled(&self, index: u32, frame: &mut [f32]) -> Option<()> {
        self.read(self.unlabelled, index, frame)
    }

    fn labelled(&self, index: u32, frame: &mut [f32]) -> Option<u8> {
        let label = *self.labels.get(index as usize)?;
        self.read(self.labelled, index, frame)?;
        Some(label)
    }

    fn weights(&self) -> &[f32] {
        self.weights
    }
}

/// How strongly a view differs from its frame.
///
/// A shift along each axis (values shifted in are 0), a gain, and uniform noise on each value.
/// These are the faults of a cheap sensor, and they cost a few integer draws per value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Augmentation {
    /// The gain is uniform in `[1 − gain, 1 + gain)`.
    pub gain: f32,
    /// This many adjacent channels share a gain, such as the axes of one sensor. At most eight
    /// groups have a gain of their own.
    pub gain_channels: u8,
    /// The noise is uniform in `[−noise, noise)`.
    pub noise: f32,
    /// The shift of rows and of columns, each uniform from −shift to shift.
    pub shift: [u8; 2],
}

/// Most groups of channels that have gains of their own.
const GAINS: usize = 8;

impl Augmentation {
    /// One view of `frame`; the same draws give the same view.
    pub fn view(&self, input: &Input, frame: &[f32], draws: &mut Draws, view: &mut [f32]) {
        let [rows, columns] = self.shift;
        let (down, right) = (offset(draws, rows), offset(draws, columns));
        let channels = at_least_one(usize::from(input.channels));
        let together = at_least_one(usize::from(self.gain_channels));
        let mut gains = [1.0; GAINS];
        for gain in gains.iter_mut().take(channels.div_ceil(together)) {
            *gain = draws.uniform_in(1.0 - self.gain, 1.0 + self.gain);
        }
        let line = at_least_one(channels * usize::from(input.width));
        for (y, out) in view.chunks_mut(line).enumerate() {
            let from = y.wrapping_add_signed(down);
            let row = if from < usize::from(input.height) {
                frame.get(from.wrapping_mul(line)..).and_then(|rest| rest.get(..line))
            } else {
                None
            };
            for (x, out) in out.chunks_mut(channels).enumerate() {
                let from = x.wrapping_add_signed(right);
                for (channel, out) in out.iter_mut().enumerate() {
                    let value = if from < usize::from(input.width) {
                        row.and_then(|row| {
                            row.get(from.wrapping_mul(channels).wrapping_add(channel))
                        })
                    } else {
                        None
                    };
                    let gain = gains.get(channel / together).copied().unwrap_or(1.0);
                    let noise = draws.uniform_in(-self.noise, self.noise);
                    *out = gain * value.copied().unwrap_or(0.0) + noise;
                }
            }
        }
    }
}

/// A uniform offset from `−most` to `most`.
fn offset(draws: &mut Draws, most: u8) -> isize {
    draws.below(2 * u32::from(most) + 1) as isize - isize::from(most)
}
