//! Samples of a motion sensor, and the windows into them.

use std::path::PathBuf;

/// Values of a sample: acceleration x, y, z, angular rate x, y, z.
pub const CHANNELS: usize = 6;

/// A piece of a recording that windows are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Number of the recording's line, counted from 0.
    pub(super) recording: usize,
    /// Samples of the file before it.
    pub(super) first: usize,
    pub(super) samples: usize,
}

/// The samples of the chosen recordings, and how they are cut.
#[derive(Debug)]
pub(crate) struct Recordings {
    pub(super) path: PathBuf,
    /// Of the whole file, `[samples, CHANNELS]`.
    pub(super) samples: Vec<f32>,
    pub(super) stretches: Vec<Stretch>,
    pub(super) length: usize,
}

/// One window, with what lies around it.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// `[samples, CHANNELS]`: the stretch that the window lies in; shifted windows stay inside.
    pub stretch: &'a [f32],
    /// The window's first sample in the stretch.
    pub start: usize,
    /// Samples of the window; `start + length` is at most the stretch's.
    pub length: usize,
}

impl<'a> Window<'a> {
    /// `[length, CHANNELS]`: its own samples.
    pub(crate) fn samples(&self) -> &'a [f32] {
        let Self { stretch, start, length } = *self;
        &stretch[start * CHANNELS..(start + length) * CHANNELS]
    }
}

/// How the network's inputs are made of samples: `value = sample · scale + offset`, for each
/// channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Channels {
    /// 1/σ.
    pub scale: [f32; CHANNELS],
    /// −μ/σ.
    pub offset: [f32; CHANNELS],
    /// What a device multiplies a sample by before it rounds it to 16 bits; the largest magnitude
    /// that was met becomes 30 000.
    pub per_unit: [f32; CHANNELS],
}

impl Recordings {
    /// A window by its stretch and first sample, which an item has.
    pub(crate) fn window(&self, index: usize, start: usize) -> Window<'_> {
        let Stretch { first, samples, .. } = self.stretches[index];
        let stretch = &self.samples[first * CHANNELS..(first + samples) * CHANNELS];
        Window { stretch, start, length: self.length }
    }

    /// Samples of a window.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// `FOLDER#RECORDING@SAMPLE`, both counted from 0 in the whole set.
    pub(crate) fn name(&self, index: usize, start: usize) -> String {
        let Stretch { recording, first, .. } = self.stretches[index];
        format!("{}#{recording}@{}", self.path.display(), first + start)
    }

    /// Mean, deviation and magnitude of every channel over the chosen stretches.
    pub(crate) fn channels(&self) -> Channels {
        let mut channels =
            Channels { scale: [1.0; CHANNELS], offset: [0.0; CHANNELS], per_unit: [1.0; CHANNELS] };
        let values = |channel: usize| {
            let stretch = |s: &Stretch| s.first * CHANNELS..(s.first + s.samples) * CHANNELS;
            let ranges = self.stretches.iter().map(stretch);
            ranges.flat_map(move |range| {
                self.samples[range].iter().skip(channel).step_by(CHANNELS).map(|v| f64::from(*v))
            })
        };
        for channel in 0..CHANNELS {
            let count = values(channel).count() as f64;
            let mean = values(channel).sum::<f64>() / count;
            let square = values(channel).map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
            // A channel that is constant stays as it is but for its mean.
            let scale = if square > 0.0 { 1.0 / libm::sqrt(square) } else { 1.0 };
            channels.scale[channel] = scale as f32;
            channels.offset[channel] = (-mean * scale) as f32;
            let largest = values(channel).fold(0.0, |largest: f64, v| largest.max(v.abs()));
            if largest > 0.0 {
                channels.per_unit[channel] = (30_000.0 / largest) as f32;
            }
        }
        channels
    }
}
