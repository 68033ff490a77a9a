//! WebP, BMP, TIFF and GIF through the `image` crate: of several pictures in a file the first.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::ImageError;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, Limits};

use super::exif;
use super::limits::{ImageSettings, within_limits};

/// Most bytes that a decoder may hold beside the pixels: tables, tiles, a frame.
const BESIDE_PIXELS_MAX: u64 = 32 << 20;

/// Tag of a TIFF's compression, and the values that mean JPEG.
const COMPRESSION: u32 = 259;
const JPEG: [u32; 2] = [6, 7];

/// Pixels as they are stored, and how they are to be turned.
///
/// # Errors
/// Words for what was found and what was expected.
pub(super) fn decode(
    format: ImageFormat,
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<(DynamicImage, Orientation), String> {
    let words = |error: ImageError| error.to_string();
    let cursor = Cursor::new(bytes);
    match format {
        ImageFormat::WebP => read(WebPDecoder::new(cursor).map_err(words)?, settings),
        ImageFormat::Bmp => read(BmpDecoder::new(cursor).map_err(words)?, settings),
        ImageFormat::Gif => read(GifDecoder::new(cursor).map_err(words)?, settings),
        _ => {
            // The decoder makes room for as many values as an entry claims.
            if !exif::values_fit(bytes) {
                return Err("a TIFF directory that claims more than the file holds".into());
            }
            if exif::entry(bytes, COMPRESSION).is_some_and(|value| JPEG.contains(&value)) {
                return Err("a TIFF with JPEG inside, expected any other compression".into());
            }
            let (image, _) = read(TiffDecoder::new(cursor).map_err(words)?, settings)?;
            Ok((image, exif::orientation(bytes)))
        }
    }
}

fn read(
    mut decoder: impl ImageDecoder,
    settings: &ImageSettings,
) -> Result<(DynamicImage, Orientation), String> {
    let bytes = decoder.total_bytes();
    within_limits(decoder.dimensions(), bytes, settings)?;
    let found = decoder.original_color_type();
    if matches!(found, ExtendedColorType::Rgb32F | ExtendedColorType::Rgba32F) {
        return Err(format!("samples are floating-point numbers ({found:?}), expected integers"));
    }
    let mut limits = Limits::no_limits();
    // A frame beside the whole picture.
    limits.max_alloc = Some(2 * bytes + BESIDE_PIXELS_MAX);
    decoder.set_limits(limits).map_err(|error| error.to_string())?;
    // A broken EXIF block is no reason to lose the picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation =
        exif.map_or(Orientation::NoTransforms, |exif| exif::orientation(skip_name(&exif)));
    let image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    Ok((image, orientation))
}

/// Some writers put JPEG's name of the block before it.
fn skip_name(exif: &[u8]) -> &[u8] {
    exif.strip_prefix(b"Exif\0\0").unwrap_or(exif)
}
