//! An item of a data set: where it lies, its label and its part.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;

use super::label::Label;
use super::raw::RawImages;
use super::recordings::Recordings;
use super::{DataError, ImageSettings, decode_image};

/// The part of a split that an item was given in, by its folder or by the files of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `train`.
    Train,
    /// `validation`, `valid` or `val`.
    Validation,
    /// `test`.
    Test,
}

impl Part {
    /// The part that folders and split files call `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "validation" | "valid" | "val" => Some(Self::Validation),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Embedded {
        name: String,
        bytes: &'static [u8],
    },
    Raw {
        images: Arc<RawImages>,
        index: u32,
    },
    /// Stretch and first sample.
    Window {
        recordings: Arc<Recordings>,
        index: usize,
        start: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) source: Source,
    pub(crate) label: Label,
    pub(crate) part: Option<Part>,
}

impl Item {
    /// The same with another label.
    pub(super) fn labelled(&self, label: Label) -> Self {
        Self { label, ..self.clone() }
    }

    pub(super) fn name(&self) -> Cow<'_, str> {
        match &self.source {
            Source::File(path) => path.to_string_lossy(),
            Source::Embedded { name, .. } => Cow::Borrowed(name),
            Source::Raw { images, index } => Cow::Owned(images.name(*index)),
            Source::Window { recordings, index, start } => {
                Cow::Owned(recordings.name(*index, *start))
            }
        }
    }

    /// What is stored of it: an encoded image, pixels, or samples.
    pub(super) fn bytes(&self, settings: &ImageSettings) -> Result<Cow<'_, [u8]>, DataError> {
        let path = match &self.source {
            Source::File(path) => path,
            Source::Embedded { bytes, .. } => return Ok(Cow::Borrowed(bytes)),
            Source::Raw { images, index } => return Ok(Cow::Borrowed(images.bytes(*index))),
            Source::Window { recordings, index, start } => {
                let samples = recordings.window(*index, *start).samples();
                return Ok(Cow::Borrowed(bytemuck::cast_slice(samples)));
            }
        };
        let unreadable = |error: std::io::Error| DataError::bad_image(&self.name(), error);
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            // Reading a pipe would wait for its writer.
            let reason = "a folder, pipe, socket or device, expected a file";
            return Err(DataError::bad_image(&self.name(), reason));
        }
        let length = metadata.len();
        if length > settings.image_bytes_max {
            let most = settings.image_bytes_max;
            let reason = format!("a file of {length} bytes, expected at most {most}");
            return Err(DataError::bad_image(&self.name(), reason));
        }
        fs::read(path).map(Cow::Owned).map_err(unreadable)
    }

    pub(super) fn decode(&self, settings: &ImageSettings) -> Result<RgbImage, DataError> {
        match &self.source {
            Source::Raw { images, index } => return Ok(images.image(*index)),
            Source::Window { .. } => {
                let reason = "a window of sensor samples, expected an image";
                return Err(DataError::bad_image(&self.name(), reason));
            }
            Source::File(_) | Source::Embedded { .. } => {}
        }
        decode_image(&self.name(), &self.bytes(settings)?, settings)
    }
}
