//! Flash images as files.

use std::fs;
use std::path::Path;

use bissl_firmware::{
    Configuration, Crc, Image, ImageError, Model, SmallDigitsDevice, layer_words,
};

/// Why a file cannot be used as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageFileError {
    /// It could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is no image of this model.
    #[error("{path}: {error}")]
    Image {
        /// The file.
        path: String,
        /// The cause.
        error: ImageError,
    },
}

/// The bytes of an image, aligned so that its words can be read in place.
#[derive(Clone, Debug)]
pub struct AlignedImage {
    words: Vec<u32>,
    path: String,
}

impl AlignedImage {
    /// Reads a file without checking its content.
    ///
    /// # Errors
    /// The file cannot be read, or its length is not a whole number of words.
    pub fn open(path: &Path) -> Result<Self, ImageFileError> {
        let name = path.display().to_string();
        let bytes =
            fs::read(path).map_err(|source| ImageFileError::Read { path: name.clone(), source })?;
        Self::new(&bytes, &name)
    }

    /// An image from bytes; errors name it by `path`.
    ///
    /// # Errors
    /// The length is not a whole number of words.
    pub fn new(bytes: &[u8], path: &str) -> Result<Self, ImageFileError> {
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            let error = ImageError::NotAligned;
            return Err(ImageFileError::Image { path: path.to_owned(), error });
        }
        let words = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        Ok(Self { words, path: path.to_owned() })
    }

    /// The image, checked.
    ///
    /// # Errors
    /// The image is of another network, or damaged.
    pub fn read(&self, model: &Model) -> Result<Image<'_>, ImageFileError> {
        Image::read(model, bytemuck::cast_slice(&self.words))
            .map_err(|error| ImageFileError::Image { path: self.path.clone(), error })
    }
}

/// The image of a model. Each of `channels` is scale, offset, and stored numbers for one unit;
/// `weights` are those of the backbone, then of the pretext head.
///
/// # Panics
/// The number of weights or channels is not the model's.
pub fn write_image(model: &Model, channels: &[[f32; 3]], weights: &[f32]) -> Vec<u8> {
    assert_eq!(weights.len(), model.image_weights(), "weights of the model");
    assert_eq!(channels.len(), usize::from(model.input.channels), "channels of the model");
    let mut bytes = b"bisslfim".to_vec();
    let mut word = |word: u32| bytes.extend(word.to_le_bytes());
    word(1);
    word(model.encoder.len() as u32);
    word(model.projector.len() as u32);
    word(model.input.channels.into());
    word(model.input.height.into());
    word(model.input.width.into());
    word(model.image_weights() as u32);
    channels.as_flattened().iter().for_each(|number| word(number.to_bits()));
    for layer in model.encoder.iter().chain(model.projector) {
        layer_words(layer).into_iter().for_each(&mut word);
    }
    weights.iter().for_each(|weight| word(weight.to_bits()));
    let crc = Crc::new().with(&bytes).value();
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// The network in flash of the smallest boards, written by `bissl-firmware-sim pretrain --device
/// small-digits` with seed 1.
static SMALL_DIGITS: &[u8] = include_bytes!("../../data/small-digits.bin");

/// Weights of the embedded image.
///
/// # Errors
/// The embedded image is of another network and has to be written again.
pub fn small_digits_weights() -> anyhow::Result<Vec<f32>> {
    let image = AlignedImage::new(SMALL_DIGITS, "the embedded image")?;
    Ok(image.read(&SmallDigitsDevice::MODEL)?.weights().to_vec())
}
