//! Sensor frames: where they come from, and the views that are made of them.

use bissl_core::Draws;

use crate::shape::{CLASSES, PIXELS, SIDE};
use crate::{Corpus, Fault};

/// One frame, row by row; pixels in `[0, 1]`: a dark sensor reads 0, a saturated one 1.
pub type Frame = [f32; PIXELS];

/// Frames in flash, or on a sensor that can repeat them.
///
/// *The same index gives the same frame*: batches are drawn by number, and products and replays rest
/// on reading them again.
pub trait FrameSource {
    /// How many frames of a corpus there are.
    fn count(&self, corpus: Corpus) -> u32;

    /// Reads an unlabelled frame; `None` if there is none of this number.
    fn unlabelled(&self, index: u32, frame: &mut Frame) -> Option<()>;

    /// Reads a labelled frame and its class; `None` if there is none of this number.
    fn labelled(&self, index: u32, frame: &mut Frame) -> Option<u8>;
}

/// Reads an unlabelled frame that is there and in range.
pub(crate) fn unlabelled<S: FrameSource>(
    source: &S,
    index: u32,
    frame: &mut Frame,
) -> Result<(), Fault> {
    let corpus = Corpus::Unlabelled;
    source.unlabelled(index, frame).ok_or(Fault::FrameMissing { corpus, index })?;
    check(frame, corpus, index)
}

/// Reads a labelled frame that is there, in range, and of a known class.
pub(crate) fn labelled<S: FrameSource>(
    source: &S,
    index: u32,
    frame: &mut Frame,
) -> Result<u8, Fault> {
    let corpus = Corpus::Labelled;
    let label = source.labelled(index, frame).ok_or(Fault::FrameMissing { corpus, index })?;
    check(frame, corpus, index)?;
    if usize::from(label) < CLASSES { Ok(label) } else { Err(Fault::LabelUnknown { index, label }) }
}

fn check(frame: &Frame, corpus: Corpus, index: u32) -> Result<(), Fault> {
    if frame.iter().all(|pixel| (0.0..=1.0).contains(pixel)) {
        Ok(())
    } else {
        Err(Fault::PixelOutOfRange { corpus, index })
    }
}

/// Frames of one byte a pixel, 0 to 16, as the optdigits data set has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashFrames<'a> {
    /// The pretext corpus.
    pub unlabelled: &'a [[u8; PIXELS]],
    /// The downstream corpus.
    pub labelled: &'a [[u8; PIXELS]],
    /// Its classes, one for each labelled frame.
    pub labels: &'a [u8],
}

impl FlashFrames<'_> {
    /// One byte a pixel as a frame: 16 is full scale, and the division is exact.
    pub fn scale(bytes: &[u8; PIXELS], frame: &mut Frame) {
        for (pixel, byte) in frame.iter_mut().zip(bytes) {
            *pixel = f32::from(*byte) / 16.0;
        }
    }
}

impl FrameSource for FlashFrames<'_> {
    fn count(&self, corpus: Corpus) -> u32 {
        match corpus {
            Corpus::Unlabelled => self.unlabelled.len() as u32,
            Corpus::Labelled => self.labelled.len() as u32,
        }
    }

    fn unlabelled(&self, index: u32, frame: &mut Frame) -> Option<()> {
        Self::scale(self.unlabelled.get(index as usize)?, frame);
        Some(())
    }

    fn labelled(&self, index: u32, frame: &mut Frame) -> Option<u8> {
        let label = *self.labels.get(index as usize)?;
        Self::scale(self.labelled.get(index as usize)?, frame);
        Some(label)
    }
}

/// How strongly a view differs from its frame.
///
/// A shift by up to one pixel along each axis, a gain, and uniform noise on each pixel: what a cheap
/// sensor does to a picture, at a handful of integer draws a pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Augmentation {
    /// The gain is uniform in `[1 − gain, 1 + gain)`.
    pub gain: f32,
    /// The noise is uniform in `[−noise, noise)`.
    pub noise: f32,
}

impl Augmentation {
    /// One view of `frame`; the same draws give the same view.
    pub fn view(&self, frame: &Frame, draws: &mut Draws, view: &mut Frame) {
        let (down, right) = (offset(draws), offset(draws));
        let gain = draws.uniform_in(1.0 - self.gain, 1.0 + self.gain);
        let (rows, _) = frame.as_chunks::<SIDE>();
        let (out, _) = view.as_chunks_mut::<SIDE>();
        for (y, out) in out.iter_mut().enumerate() {
            let row = rows.get(y.wrapping_add_signed(down));
            for (x, out) in out.iter_mut().enumerate() {
                let pixel = row.and_then(|row| row.get(x.wrapping_add_signed(right)));
                let noise = draws.uniform_in(-self.noise, self.noise);
                *out = gain * pixel.copied().unwrap_or(0.0) + noise;
            }
        }
    }
}

/// −1, 0 or 1.
fn offset(draws: &mut Draws) -> isize {
    match draws.below(3) {
        0 => -1,
        1 => 0,
        _ => 1,
    }
}
