//! The handwritten digits that stand in for a sensor.

use bissl_core::{Permutation, Stream};
use bissl_firmware::{FlashFrames, Scale};

/// Pixels of a picture, 8 × 8.
pub const PIXELS: usize = 64;
/// Kinds of digits.
pub const CLASSES: usize = 10;
/// Full scale is 16, and the division is exact.
const SCALES: &[Scale] = &[Scale { scale: 1.0 / 16.0, offset: 0.0 }];

/// Pixels row by row (0 to 16), then labels; see `data/ATTRIBUTION.md`.
static OPTDIGITS: &[u8] = include_bytes!("../data/optdigits.bin");

/// Pictures in the data set.
pub const PICTURES: usize = 1797;
/// Pictures of the pretext corpus.
pub const UNLABELLED: usize = 1200;
/// Labelled pictures of each class.
pub const LABELLED_PER_CLASS: usize = 5;

/// The content of the simulated flash, and the held-out pictures, which are not in it.
#[derive(Clone, Debug, Default)]
pub struct Digits {
    unlabelled: Vec<[u8; PIXELS]>,
    labelled: Vec<[u8; PIXELS]>,
    labels: Vec<u8>,
    held_out: Vec<([u8; PIXELS], u8)>,
    weights: Vec<f32>,
}

impl Digits {
    /// The data set in its fixed split, which belongs to the data and not to a run's seed.
    ///
    /// In a fixed pseudo-random order, the first `UNLABELLED` pictures lose their labels. Of the
    /// others, the first `LABELLED_PER_CLASS` of each class are the downstream corpus, and the rest
    /// is held out.
    pub fn embedded() -> Self {
        let (pixels, labels) = OPTDIGITS.split_at(PICTURES * PIXELS);
        assert_eq!(labels.len(), PICTURES, "optdigits.bin holds {PICTURES} pictures and labels");
        let (pictures, _) = pixels.as_chunks::<PIXELS>();
        let order = Permutation::new(Stream::new(0, 0), 0, PICTURES as u32)
            .expect("the data set is not empty");

        let mut digits = Self::default();
        let mut taken = [0; CLASSES];
        for position in 0..PICTURES {
            let item = order.at(position as u32) as usize;
            let (picture, label) = (pictures[item], labels[item]);
            let taken = &mut taken[usize::from(label)];
            if position < UNLABELLED {
                digits.unlabelled.push(picture);
            } else if *taken < LABELLED_PER_CLASS {
                *taken += 1;
                digits.labelled.push(picture);
                digits.labels.push(label);
            } else {
                digits.held_out.push((picture, label));
            }
        }
        digits
    }

    /// The same data with a pretrained network in flash; `weights` are those of backbone and
    /// pretext head.
    #[must_use]
    pub fn with_weights(self, weights: &[f32]) -> Self {
        Self { weights: weights.to_vec(), ..self }
    }

    /// The corpora as the device sees them.
    pub fn flash(&self) -> FlashFrames<'_, u8> {
        FlashFrames {
            unlabelled: self.unlabelled.as_flattened(),
            labelled: self.labelled.as_flattened(),
            labels: &self.labels,
            floats: PIXELS,
            scales: SCALES,
            weights: &self.weights,
        }
    }

    /// The held-out pictures with their classes; no training sees them.
    pub fn held_out(&self) -> &[([u8; PIXELS], u8)] {
        &self.held_out
    }
}
