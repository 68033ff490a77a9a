//! Shapes of the values between layers, and why a layer cannot take one.

use std::fmt;

use thiserror::Error;

/// What one sample is between two layers. The tensor has rank 4, the batch first, whatever the
/// kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Feature maps, `[batch, channels, height, width]`; features are maps of one position.
    Maps {
        /// Channels, or features.
        channels: usize,
        /// Height and width; `None` for a network that takes images of any size.
        size: Option<[usize; 2]>,
    },
    /// Tokens, `[batch, 1, count, width]`.
    Tokens {
        /// Tokens of a sample.
        count: usize,
        /// Values of a token.
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

    /// Values of a sample; `None` where they depend on the size of the image.
    pub fn values(self) -> Option<usize> {
        match self {
            Self::Maps { channels, size } => size.map(|[height, width]| channels * height * width),
            Self::Tokens { count, width } => Some(count * width),
        }
    }

    /// Channels and size of feature maps.
    ///
    /// # Errors
    /// The shape is another one.
    pub fn maps(self) -> Result<(usize, Option<[usize; 2]>), Unfit> {
        match self {
            Self::Maps { channels, size } => Ok((channels, size)),
            Self::Tokens { .. } => Err(Unfit::new(self, "feature maps")),
        }
    }

    /// Number and width of tokens.
    ///
    /// # Errors
    /// The shape is another one.
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
    /// What there is.
    pub found: String,
    /// What the layer takes.
    pub expected: String,
}

impl Unfit {
    /// An input that does not fit, in words.
    pub fn new(found: impl fmt::Display, expected: impl fmt::Display) -> Self {
        Self { found: found.to_string(), expected: expected.to_string() }
    }
}

/// Why layers do not make a network: the first one that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("layer {slot}, {layer:?}: {reason}")]
pub struct BuildError {
    /// Its place in forward order, from 0; a residual sum has that of the layer after it.
    pub slot: usize,
    /// Its name.
    pub layer: String,
    /// What was found and what was expected.
    pub reason: Unfit,
}
