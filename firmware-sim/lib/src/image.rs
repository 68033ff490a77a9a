//! The flash image: a pretrained network, as another program wrote it.
//!
//! `docs/flash-image.md` describes the format. Everything is little-endian and every field has 4
//! bytes, so weights are read in place.

use core::fmt;

use crate::model::{Convolution, Layer, Model};
use crate::{Crc, Scale};

const MAGIC: [u8; 8] = *b"bisslfim";
const VERSION: u32 = 1;
/// Words that describe a layer.
const LAYER_WORDS: usize = 10;
/// Words before the channels: magic, version, layers of encoder and projector, input, weights.
const HEADER_WORDS: usize = 9;
/// Words of a channel: scale, offset, and the factor from a sensor's unit to a stored number.
const CHANNEL_WORDS: usize = 3;

/// Most channels of an image.
pub const CHANNELS_MAX: usize = 8;

/// A part of an image. An error names the part in which image and model differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Part {
    /// Layers of the backbone.
    EncoderLayers,
    /// Layers of the pretext head.
    ProjectorLayers,
    /// Channels of a frame.
    Channels,
    /// Rows of a frame.
    Height,
    /// Columns of a frame.
    Width,
    /// Floats of all weights together.
    Weights,
    /// Word `word` of the description of layer `layer`, the pretext head's after the backbone's.
    Layer {
        /// Layer, from 0.
        layer: u16,
        /// Word, from 0.
        word: u8,
    },
}

/// Why bytes are not an image of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes do not begin at a multiple of 4, or their number is not a multiple of 4.
    NotAligned,
    /// There are fewer or more bytes than the header says.
    Length {
        /// Bytes that there are.
        found: u32,
        /// Bytes that the model's image has.
        expected: u32,
    },
    /// The first eight bytes are not those of an image.
    NoImage,
    /// Another version of the format.
    Version {
        /// Version of the image.
        found: u32,
        /// Version that this program reads.
        expected: u32,
    },
    /// The image is of another network.
    Differs {
        /// The part that differs.
        part: Part,
        /// Value in the image.
        found: u32,
        /// Value of the model.
        expected: u32,
    },
    /// The checksum differs: bits flipped.
    Checksum {
        /// CRC-32 of the image as read.
        found: u32,
        /// CRC-32 that the image states.
        expected: u32,
    },
    /// The model has more channels than an image may have.
    TooManyChannels,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAligned => write!(f, "image not aligned to words of 4 bytes"),
            Self::Length { found, expected } => {
                write!(f, "image of {found} bytes, expected {expected}")
            }
            Self::NoImage => write!(f, "no flash image: it does not begin with `bisslfim`"),
            Self::Version { found, expected } => {
                write!(f, "image of version {found}, expected {expected}")
            }
            Self::Differs { part, found, expected } => {
                write!(f, "image of another network: {part:?} is {found}, expected {expected}")
            }
            Self::Checksum { found, expected } => {
                write!(f, "image damaged: CRC-32 {found:#010x}, expected {expected:#010x}")
            }
            Self::TooManyChannels => write!(f, "more than {CHANNELS_MAX} channels"),
        }
    }
}

impl core::error::Error for ImageError {}

/// A pretrained network in flash.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    channels: &'a [f32],
    weights: &'a [f32],
}

/// The words that describe a layer in an image.
pub fn layer_words(layer: &Layer) -> [u32; LAYER_WORDS] {
    let mut words = [0; LAYER_WORDS];
    let parts: &[u32] = match layer {
        Layer::Dense { inputs, outputs, bias, relu } => {
            &[1, u32::from(*inputs), u32::from(*outputs), u32::from(*bias), u32::from(*relu)]
        }
        Layer::Convolution(Convolution {
            channels,
            height,
            width,
            filters,
            kernel,
            stride,
            relu,
        }) => {
            let ([kernel_rows, kernel_columns], [down, right]) = (*kernel, *stride);
            &[
                2,
                u32::from(*channels),
                u32::from(*height),
                u32::from(*width),
                u32::from(*filters),
                u32::from(kernel_rows),
                u32::from(kernel_columns),
                u32::from(down),
                u32::from(right),
                u32::from(*relu),
            ]
        }
        Layer::AveragePool { channels, positions } => {
            &[3, u32::from(*channels), u32::from(*positions)]
        }
    };
    words.iter_mut().zip(parts).for_each(|(word, part)| *word = *part);
    words
}

/// Words of an image of `model`, with the checksum.
pub const fn image_words(model: &Model) -> usize {
    HEADER_WORDS
        + CHANNEL_WORDS * model.input.channels as usize
        + LAYER_WORDS * (model.encoder.len() + model.projector.len())
        + model.image_weights()
        + 1
}

impl<'a> Image<'a> {
    /// Reads an image of `model` and checks all of it.
    ///
    /// # Errors
    /// The bytes are no image, or an image of another network.
    pub fn read(model: &Model, bytes: &'a [u8]) -> Result<Self, ImageError> {
        if usize::from(model.input.channels) > CHANNELS_MAX {
            return Err(ImageError::TooManyChannels);
        }
        let words: &[u32] = bytemuck::try_cast_slice(bytes).map_err(|_| ImageError::NotAligned)?;
        let floats: &[f32] = bytemuck::try_cast_slice(bytes).map_err(|_| ImageError::NotAligned)?;
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(ImageError::NoImage);
        }
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        if word(2) != VERSION {
            return Err(ImageError::Version { found: word(2), expected: VERSION });
        }
        let input = &model.input;
        for (at, part, expected) in [
            (3, Part::EncoderLayers, model.encoder.len() as u32),
            (4, Part::ProjectorLayers, model.projector.len() as u32),
            (5, Part::Channels, input.channels.into()),
            (6, Part::Height, input.height.into()),
            (7, Part::Width, input.width.into()),
            (8, Part::Weights, model.image_weights() as u32),
        ] {
            let found = word(at);
            if found != expected {
                return Err(ImageError::Differs { part, found, expected });
            }
        }
        let expected = 4 * image_words(model);
        if bytes.len() != expected {
            let (found, expected) = (bytes.len() as u32, expected as u32);
            return Err(ImageError::Length { found, expected });
        }
        let channels = CHANNEL_WORDS * usize::from(input.channels);
        let layers = HEADER_WORDS + channels;
        for (number, layer) in model.encoder.iter().chain(model.projector).enumerate() {
            for (i, expected) in layer_words(layer).into_iter().enumerate() {
                let found = word(layers + LAYER_WORDS * number + i);
                if found != expected {
                    let part = Part::Layer { layer: number as u16, word: i as u8 };
                    return Err(ImageError::Differs { part, found, expected });
                }
            }
        }
        let body = bytes.get(..expected.saturating_sub(4)).unwrap_or(&[]);
        let (found, said) = (Crc::new().with(body).value(), word(image_words(model) - 1));
        if found != said {
            return Err(ImageError::Checksum { found, expected: said });
        }
        let start = layers + LAYER_WORDS * (model.encoder.len() + model.projector.len());
        let part = |from: usize, count: usize| {
            floats.get(from..).and_then(|rest| rest.get(..count)).unwrap_or(&[])
        };
        Ok(Self {
            channels: part(HEADER_WORDS, channels),
            weights: part(start, model.image_weights()),
        })
    }

    /// Weights of the whole backbone, then of the pretext head.
    pub fn weights(&self) -> &'a [f32] {
        self.weights
    }

    /// How stored numbers become values, one scale for each channel; scales after the last channel
    /// are the identity.
    pub fn scales(&self) -> [Scale; CHANNELS_MAX] {
        let mut scales = [Scale { scale: 1.0, offset: 0.0 }; CHANNELS_MAX];
        let (channels, _) = self.channels.as_chunks::<CHANNEL_WORDS>();
        for (to, [scale, offset, _]) in scales.iter_mut().zip(channels) {
            *to = Scale { scale: *scale, offset: *offset };
        }
        scales
    }

    /// The stored number that one unit of the sensor becomes on `channel`; whoever quantises needs
    /// it.
    pub fn per_unit(&self, channel: usize) -> Option<f32> {
        let (channels, _) = self.channels.as_chunks::<CHANNEL_WORDS>();
        channels.get(channel).map(|[_, _, per_unit]| *per_unit)
    }
}
