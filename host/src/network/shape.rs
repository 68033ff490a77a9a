//! Shapes of the values between layers, and why a layer cannot take one.

use std::fmt;

use thiserror::Error;

/// Shape of one sample between two layers. The tensor always has rank 4, with the batch first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Feature maps, `[batch, channels, height, width]`; features are maps of one position.
    Maps {
        /// Channels, or features.
        channels: usize,
        /// Height and width; `None` in a network that takes images of any size.
        size: Option<[usize; 2]>,
    },
    /// Tokens, `[batch, 1, count, width]`.
    Tokens {
        /// Tokens per sample.
        count: usize,
        /// Values per token.
        width: usize,
    },
}

impl Shape {
    /// Feature vectors, `[batch, features, 1, 1]`.
    pub const fn features(features: usize) -> Self {
        Self::Maps { channels: features, size: Some([1, 1]) }
    }

    /// Images or feature maps of any size.
    pub const fn any_size(channels: usize) -> Self {
        Self::Maps { channels, size: None }
    }

    /// Number of values per sample; `None` if it depends on the size of the image.
    pub fn values(self) -> Option<usize> {
        match self {
            Self::Maps { channels, size } => size.map(|[height, width]| channels * height * width),
            Self::Tokens { count, width } => Some(count * width),
        }
    }

    /// Channels and size of feature maps.
    ///
    /// # Errors
    /// The shape has tokens.
    pub fn maps(self) -> Result<(usize, Option<[usize; 2]>), Unfit> {
        match self {
            Self::Maps { channels, size } => Ok((channels, size)),
            Self::Tokens { .. } => Err(Unfit::new(self, "feature maps")),
        }
    }

    /// Number and width of tokens.
    ///
    /// # Errors
    /// The shape has feature maps.
    pub fn tokens(self) -> Result<(usize, usize), Unfit> {
        match self {
            Self::Tokens { count, width } => Ok((count, width)),
            Self::Maps { .. } => Err(Unfit::new(self, "tokens")),
        }
    }
}

impl From<[usize; 3]> for Shape {
    /// Channels, height and width.
    fn from([channels, height, width]: [usize; 3]) -> Self {
        Self::Maps { channels, size: Some([height, width]) }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Maps { channels, size: None } => write!(f, "{channels} maps of any size"),
            Self::Maps { channels, size: Some([1, 1]) } => write!(f, "{channels} features"),
            Self::Maps { channels, size: Some([height, width]) } => {
                write!(f, "{channels} maps of {height}x{width}")
            }
            Self::Tokens { count, width } => write!(f, "{count} tokens of width {width}"),
        }
    }
}

/// Why a layer cannot take its input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("found {found}, expected {expected}")]
pub struct Unfit {
    /// What was found.
    pub found: String,
    /// What the layer takes.
    pub expected: String,
}

impl Unfit {
    /// Describes an input that does not fit.
    pub fn new(found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self { found: found.to_string(), expected: expected.to_string() }
    }
}

/// Why some layers do not form a network: the first one that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("layer {slot}, {layer:?}: {reason}")]
pub struct BuildError {
    /// Its position in forward order, from 0; a residual sum has that of the layer after it.
    pub slot: usize,
    /// Its name.
    pub layer: String,
    /// What was found and what was expected.
    pub reason: Unfit,
}
