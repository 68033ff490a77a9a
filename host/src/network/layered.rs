//! Small networks for devices: lists of layers without batch norm, written in words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Builder, Conv, Init, Linear, Network};

/// Largest number in a layer's words.
const SIZE_MAX: usize = 4096;

/// One layer of a network, such as `convolution 16 kernel 1x8 stride 1x4`, `average-pool` or
/// `dense 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerSpec {
    /// A convolution with bias and without padding, then ReLU.
    Convolution {
        /// Output channels.
        filters: usize,
        /// Height and width.
        kernel: [usize; 2],
        /// Steps down and to the right.
        stride: [usize; 2],
    },
    /// The mean over all positions of each channel.
    AveragePool,
    /// A linear layer with bias on all values of its input, then ReLU.
    Dense {
        /// Number of output features.
        outputs: usize,
    },
}

impl LayerSpec {
    /// The words of a layer, for messages.
    pub(crate) const EXPECTED: &str = "\"convolution FILTERS kernel HxW stride HxW\" (or one number for both \
                                sides; stride 1 if not given), \"average-pool\" or \"dense OUTPUTS\"";

    /// Channels, height and width after this layer for an input of `[channels, height, width]`.
    ///
    /// # Errors
    /// The kernel is larger than the input.
    pub fn output(&self, [channels, height, width]: [usize; 3]) -> Result<[usize; 3], String> {
        match *self {
            Self::Convolution { filters, kernel, stride } => {
                if kernel[0] > height || kernel[1] > width {
                    return Err(format!(
                        "`{self}` has a kernel of {}x{}, expected at most its input's {height}x{width}",
                        kernel[0], kernel[1]
                    ));
                }
                let out = |size: usize, side: usize| (size - kernel[side]) / stride[side] + 1;
                Ok([filters, out(height, 0), out(width, 1)])
            }
            Self::AveragePool => Ok([channels, 1, 1]),
            Self::Dense { outputs } => Ok([outputs, 1, 1]),
        }
    }
}

/// Number of features that `layers` give for an input of `[channels, height, width]`.
///
/// # Errors
/// There is no layer, a kernel is larger than its input, or more than one position remains at the
/// end.
pub fn layered_features(layers: &[LayerSpec], input: [usize; 3]) -> Result<usize, String> {
    if layers.is_empty() {
        return Err(format!("there are none, expected at least one of {}", LayerSpec::EXPECTED));
    }
    match layers.iter().try_fold(input, |shape, layer| layer.output(shape))? {
        [features, 1, 1] => Ok(features),
        [_, height, width] => Err(format!(
            "{height}x{width} positions are left after the last layer, expected one: \
             end with \"average-pool\" or \"dense OUTPUTS\""
        )),
    }
}

/// The backbone: `[batch, channels, height, width]` to `[batch, features, 1, 1]`. Parameters are
/// named after the number of their layer: `0.weight`, `0.bias`, ….
///
/// # Errors
/// Those of [`layered_features`].
pub fn layered(layers: &[LayerSpec], input: [usize; 3]) -> Result<Network, String> {
    layered_features(layers, input)?;
    let start = Builder::new(input);
    let builder = (0..).zip(layers).fold(start, |builder, (index, layer)| {
        let name = index.to_string();
        match *layer {
            LayerSpec::Convolution { filters, kernel, stride } => {
                builder.layer(&name, Conv::valid(filters, kernel, stride)).relu()
            }
            LayerSpec::AveragePool => builder.average_pool(),
            LayerSpec::Dense { outputs } => {
                let init = Init::KaimingFanIn;
                builder.layer(&name, Linear { features_out: outputs, bias: true, init }).relu()
            }
        }
    });
    Ok(builder.build().expect("the whole list was checked"))
}

impl fmt::Display for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Convolution { filters, kernel: [height, width], stride: [down, right] } => {
                write!(f, "convolution {filters} kernel {height}x{width} stride {down}x{right}")
            }
            Self::AveragePool => f.write_str("average-pool"),
            Self::Dense { outputs } => write!(f, "dense {outputs}"),
        }
    }
}

impl FromStr for LayerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let parsed = match words[..] {
            ["average-pool"] => Some(Self::AveragePool),
            ["dense", outputs] => size(outputs).map(|outputs| Self::Dense { outputs }),
            ["convolution", filters, "kernel", kernel] => convolution(filters, kernel, "1"),
            ["convolution", filters, "kernel", kernel, "stride", stride] => {
                convolution(filters, kernel, stride)
            }
            _ => None,
        };
        parsed.ok_or_else(|| {
            format!("{text:?}, expected {} with numbers from 1 to {SIZE_MAX}", Self::EXPECTED)
        })
    }
}

fn convolution(filters: &str, kernel: &str, stride: &str) -> Option<LayerSpec> {
    let (filters, kernel, stride) = (size(filters)?, sides(kernel)?, sides(stride)?);
    Some(LayerSpec::Convolution { filters, kernel, stride })
}

fn size(text: &str) -> Option<usize> {
    text.parse().ok().filter(|size| (1..=SIZE_MAX).contains(size))
}

/// `HxW`, or one number for both.
fn sides(text: &str) -> Option<[usize; 2]> {
    match text.split_once('x') {
        Some((height, width)) => Some([size(height)?, size(width)?]),
        None => size(text).map(|side| [side; 2]),
    }
}

impl Serialize for LayerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_survive_their_words() {
        for (text, words) in [
            ("convolution 16 kernel 1x8 stride 1x4", "convolution 16 kernel 1x8 stride 1x4"),
            ("convolution 4 kernel 3", "convolution 4 kernel 3x3 stride 1x1"),
            ("  convolution 4  kernel 3 stride 2 ", "convolution 4 kernel 3x3 stride 2x2"),
            ("average-pool", "average-pool"),
            ("dense 7", "dense 7"),
        ] {
            let layer: LayerSpec = text.parse().unwrap();
            assert_eq!(layer.to_string(), words);
            assert_eq!(words.parse(), Ok(layer));
        }
    }

    #[test]
    fn other_words_and_numbers_are_refused() {
        for text in [
            "",
            "dense",
            "dense 0",
            "dense 5000",
            "dense -1",
            "dense 3 4",
            "pool",
            "convolution 4",
            "convolution 4 kernel 3x",
            "convolution 4 kernel 3x3x3",
            "convolution 4 kernel 3 stride 0",
            "convolution 4 stride 1 kernel 3",
        ] {
            let error = text.parse::<LayerSpec>().expect_err(text);
            assert!(error.starts_with(&format!("{text:?}, expected ")), "{error}");
        }
    }

    #[test]
    fn shapes_are_followed_to_one_position() {
        let layers = |texts: &[&str]| -> Vec<LayerSpec> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let two = layers(&["convolution 16 kernel 1x8 stride 1x4", "convolution 9 kernel 1x5"]);
        let output = two.iter().try_fold([6, 1, 100], |shape, layer| layer.output(shape));
        assert_eq!(output, Ok([9, 1, 20]));
        let error = layered_features(&two, [6, 1, 100]).expect_err("positions are left");
        assert!(error.starts_with("1x20 positions are left"), "{error}");
        let whole = [&two[..], &layers(&["average-pool", "dense 4"])].concat();
        assert_eq!(layered_features(&whole, [6, 1, 100]), Ok(4));
        let network = layered(&whole, [6, 1, 100]).unwrap();
        assert_eq!(network.parameters().len(), 6 * 8 * 16 + 16 + 16 * 5 * 9 + 9 + 9 * 4 + 4);
        assert_eq!(network.statistics().len(), 0);
        // A width of 7 is less than the first kernel. A width of 8 leaves one position, fewer than
        // the second kernel needs.
        for width in [7, 8] {
            let error = layered_features(&whole, [6, 1, width]).expect_err("too short");
            assert!(error.contains("expected at most its input's"), "{error}");
        }
        assert!(layered_features(&[], [6, 1, 100]).is_err());
    }
}
