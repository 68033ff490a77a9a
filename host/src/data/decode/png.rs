//! PNG, all colour types and depths.

use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits};

use super::exif;
use super::limits::{ImageSettings, within_limits};

/// Most bytes that the decoder may hold beside the pixels: a row, and what colour profiles and
/// texts expand to. A few kilobytes of such a chunk may claim gigabytes.
const BESIDE_PIXELS_MAX: u64 = 32 << 20;

/// Pixels as they are stored, and how they are to be turned.
///
/// # Errors
/// Words for what was found and what was expected.
pub(super) fn decode(
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<(DynamicImage, Orientation), String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(BESIDE_PIXELS_MAX);
    let mut decoder =
        PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(|error| error.to_string())?;
    within_limits(decoder.dimensions(), decoder.total_bytes(), settings)?;
    // A broken EXIF chunk is no reason to lose the picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.map_or(Orientation::NoTransforms, |exif| exif::orientation(&exif));
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((image, orientation))
}
