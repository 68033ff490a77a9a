//! The flash image that a device starts from: an encoder and its pretext head, as
//! `docs/flash-image.md` says.

use crate::network::LayerSpec;

const MAGIC: &[u8; 8] = b"bisslfim";
const VERSION: u32 = 1;

/// How a device makes an input of a stored sample: `value = raw · scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct InputChannel {
    /// Of the integer that is stored.
    pub(super) scale: f32,
    pub(super) offset: f32,
    /// `raw = round(physical · per_unit)`.
    pub(super) per_unit: f32,
}

/// One layer with its weights in the order of the device.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    words: [u32; 10],
    /// W, then the bias.
    weights: Vec<f32>,
}

/// An image before it is bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FlashImage {
    input: [usize; 3],
    channels: Vec<InputChannel>,
    encoder: Vec<Layer>,
    projector: Vec<Layer>,
}

impl FlashImage {
    /// `encoder` and `projector` are the flat parameters of [`layered`](crate::network::layered) on
    /// `layers` and `input`, and of [`plain_head`](crate::network::plain_head) with `widths` on top
    /// of it.
    ///
    /// # Panics
    /// If parameters are left over or too few.
    pub(super) fn new(
        (layers, input): (&[LayerSpec], [usize; 3]),
        channels: Vec<InputChannel>,
        encoder: &[f32],
        widths: &[usize],
        projector: &[f32],
    ) -> Self {
        let (mut rest, mut shape) = (encoder, input);
        let encoder = layers
            .iter()
            .map(|layer| {
                let behind = layer.output(shape).expect("the configuration was checked");
                let made = match *layer {
                    LayerSpec::Convolution { filters, kernel, stride } => {
                        let numbers = [filters, kernel[0], kernel[1], stride[0], stride[1], 1];
                        Layer::convolution(shape, numbers, &mut rest)
                    }
                    LayerSpec::AveragePool => Layer::pool(shape),
                    LayerSpec::Dense { outputs } => {
                        Layer::dense(shape, outputs, (true, true), &mut rest)
                    }
                };
                shape = behind;
                made
            })
            .collect();
        assert!(rest.is_empty(), "every parameter of the encoder is in a layer");
        let mut rest = projector;
        let projector = widths
            .iter()
            .enumerate()
            .map(|(index, outputs)| {
                let hidden = index + 1 < widths.len();
                let made = Layer::dense(shape, *outputs, (hidden, hidden), &mut rest);
                shape = [*outputs, 1, 1];
                made
            })
            .collect();
        assert!(rest.is_empty(), "every parameter of the projector is in a layer");
        Self { input, channels, encoder, projector }
    }

    /// Weights in it.
    pub(super) fn weights(&self) -> usize {
        self.layers().map(|layer| layer.weights.len()).sum()
    }

    fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.encoder.iter().chain(&self.projector)
    }

    /// The file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let [channels, height, width] = self.input.map(word);
        let (encoder, projector) = (word(self.encoder.len()), word(self.projector.len()));
        let head = [VERSION, encoder, projector, channels, height, width, word(self.weights())];
        bytes.extend(head.into_iter().flat_map(u32::to_le_bytes));
        for InputChannel { scale, offset, per_unit } in &self.channels {
            bytes.extend([*scale, *offset, *per_unit].into_iter().flat_map(f32::to_le_bytes));
        }
        bytes.extend(self.layers().flat_map(|layer| layer.words).flat_map(u32::to_le_bytes));
        let weights = self.layers().flat_map(|layer| &layer.weights);
        bytes.extend(weights.flat_map(|weight| weight.to_le_bytes()));
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        bytes.extend(crc.sum().to_le_bytes());
        bytes
    }
}

/// A size as the file's number.
fn word(size: usize) -> u32 {
    u32::try_from(size).expect("the limits of the configuration keep sizes below 2^32")
}

/// The first `len` of the parameters that are left.
fn take<'a>(rest: &mut &'a [f32], len: usize) -> &'a [f32] {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

/// `[rows, channels, positions]` to `[rows, positions, channels]`.
fn channels_last(values: &[f32], channels: usize, positions: usize) -> Vec<f32> {
    let rows = values.chunks_exact(channels * positions);
    rows.flat_map(|row| {
        (0..positions).flat_map(move |position| {
            (0..channels).map(move |channel| row[channel * positions + position])
        })
    })
    .collect()
}

impl Layer {
    fn dense(
        [channels, height, width]: [usize; 3],
        outputs: usize,
        (bias, relu): (bool, bool),
        rest: &mut &[f32],
    ) -> Self {
        let inputs = channels * height * width;
        let mut weights = channels_last(take(rest, outputs * inputs), channels, height * width);
        if bias {
            weights.extend(take(rest, outputs));
        }
        let (bias, relu) = (u32::from(bias), u32::from(relu));
        Self { words: [1, word(inputs), word(outputs), bias, relu, 0, 0, 0, 0, 0], weights }
    }

    /// `numbers`: filters, kernel, stride, and 1 for ReLU.
    fn convolution(
        [channels, height, width]: [usize; 3],
        numbers: [usize; 6],
        rest: &mut &[f32],
    ) -> Self {
        let [filters, kernel_height, kernel_width, down, right, relu] = numbers;
        let positions = kernel_height * kernel_width;
        let mut weights =
            channels_last(take(rest, filters * channels * positions), channels, positions);
        weights.extend(take(rest, filters));
        let words =
            [2, channels, height, width, filters, kernel_height, kernel_width, down, right, relu];
        Self { words: words.map(word), weights }
    }

    fn pool([channels, height, width]: [usize; 3]) -> Self {
        let words = [3, channels, height * width, 0, 0, 0, 0, 0, 0, 0].map(word);
        Self { words, weights: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_document_says() {
        let layers = ["convolution 2 kernel 1x2 stride 1x2", "dense 1"]
            .map(|text| text.parse::<LayerSpec>().unwrap());
        let channel = |n: f32| InputChannel { scale: n, offset: n + 0.25, per_unit: n + 0.5 };
        // Convolution: filters 2, channels 2, width 2; dense on 2 channels of 2 positions.
        let encoder: Vec<f32> = (0..15).map(|i| i as f32).collect();
        let image = FlashImage::new(
            (&layers, [2, 1, 4]),
            vec![channel(1.0), channel(2.0)],
            &encoder,
            &[3, 1],
            &[20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0, 27.0, 28.0],
        );
        let bytes = image.to_bytes();
        let words: Vec<u32> =
            bytes[8..].as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        assert_eq!(&bytes[..8], b"bisslfim");
        assert_eq!(words[..7], [1, 2, 2, 2, 1, 4, 24]);
        let floats = |words: &[u32]| words.iter().map(|w| f32::from_bits(*w)).collect::<Vec<_>>();
        assert_eq!(floats(&words[7..13]), [1.0, 1.25, 1.5, 2.0, 2.25, 2.5]);
        assert_eq!(words[13..23], [2, 2, 1, 4, 2, 1, 2, 1, 2, 1]);
        assert_eq!(words[23..33], [1, 4, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(words[33..43], [1, 1, 3, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(words[43..53], [1, 3, 1, 0, 0, 0, 0, 0, 0, 0]);
        let mut expected = vec![0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0, 8.0, 9.0];
        expected.extend([10.0, 12.0, 11.0, 13.0, 14.0]);
        expected.extend((20..29).map(|i| i as f32));
        assert_eq!(floats(&words[53..77]), expected);
        assert_eq!(words.len(), 78);
        assert_eq!(words[77], crc(&bytes[..bytes.len() - 4]));
    }

    /// Bit by bit, by the polynomial's definition.
    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        !crc
    }
}
