//! PNG, all colour types and depths.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits, RgbImage};

use super::limits::{ImageSettings, within_limits};

/// Most bytes that the decoder may hold beside the pixels: a row, and what colour profiles and
/// texts expand to. A few kilobytes of such a chunk may claim gigabytes.
const BESIDE_PIXELS_MAX: u64 = 32 << 20;

/// Pixels as they are stored, over white where they are transparent, and how they are to be turned.
///
/// # Errors
/// Words for what was found and what was expected.
pub(super) fn decode(
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<(RgbImage, Orientation), String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(BESIDE_PIXELS_MAX);
    let mut decoder =
        PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| error.to_string())?;
    within_limits(decoder.dimensions(), decoder.total_bytes(), settings)?;
    // A broken EXIF chunk is no reason to lose the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    let rgb = if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() };
    Ok((rgb, orientation))
}

/// Lays an image with transparency over white, rounding to nearest.
fn over_white(image: &DynamicImage) -> RgbImage {
    let rgba = image.to_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(from[3]);
        for channel in 0..3 {
            let value = u32::from(from[channel]) * alpha + 255 * (255 - alpha);
            to[channel] = ((value + 127) / 255) as u8;
        }
    }
    rgb
}
