//! The border between kinds of samples: what an item of a data set is, and the recipes that turn it
//! into the network's input.

use std::borrow::Cow;

use bissl_core::Draws;
use image::RgbImage;

use super::recordings::CHANNELS;
use super::{Augmentation, Motion, View, Window};

/// An item of a data set.
#[derive(Clone, Debug)]
pub enum Sample<'a> {
    /// Pixels.
    Image(Cow<'a, RgbImage>),
    /// A window of a recording.
    Window(Window<'a>),
}

/// How samples of one kind become inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recipe {
    /// Images.
    Image(Augmentation),
    /// Windows of motion.
    Window(Motion),
}

impl From<Augmentation> for Recipe {
    fn from(augmentation: Augmentation) -> Self {
        Self::Image(augmentation)
    }
}

impl From<Motion> for Recipe {
    fn from(motion: Motion) -> Self {
        Self::Window(motion)
    }
}

impl Recipe {
    /// Channels, height and width of an input.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Image(augmentation) => {
                let size = augmentation.size() as usize;
                [3, size, size]
            }
            Self::Window(motion) => [CHANNELS, 1, motion.length()],
        }
    }

    /// Values of an input.
    pub fn input_len(&self) -> usize {
        self.shape().iter().product()
    }

    /// One view of the pretext task into `out` of [`Recipe::input_len`] values.
    ///
    /// # Panics
    /// If the sample is of the other kind; so do the other two.
    pub fn pretext(&self, sample: &Sample<'_>, view: View, draws: Draws, out: &mut [f32]) {
        match (self, sample) {
            (Self::Image(augmentation), Sample::Image(image)) => {
                augmentation.pretext(image, view, draws, out);
            }
            (Self::Window(motion), Sample::Window(window)) => motion.pretext(*window, draws, out),
            _ => self.other_kind(),
        }
    }

    /// A labelled training sample.
    pub fn downstream(&self, sample: &Sample<'_>, draws: Draws, out: &mut [f32]) {
        match (self, sample) {
            (Self::Image(augmentation), Sample::Image(image)) => {
                augmentation.downstream(image, draws, out);
            }
            (Self::Window(motion), Sample::Window(window)) => {
                motion.downstream(*window, draws, out);
            }
            _ => self.other_kind(),
        }
    }

    /// The sample as evaluation sees it.
    pub fn evaluation(&self, sample: &Sample<'_>, out: &mut [f32]) {
        match (self, sample) {
            (Self::Image(augmentation), Sample::Image(image)) => {
                augmentation.evaluation(image, out);
            }
            (Self::Window(motion), Sample::Window(window)) => motion.evaluation(*window, out),
            _ => self.other_kind(),
        }
    }

    fn other_kind(&self) -> ! {
        unreachable!("a data set's samples are of its recipe's kind: {self:?}")
    }
}
