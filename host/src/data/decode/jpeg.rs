//! JPEG, baseline and progressive, through the decoder that the `image` crate uses itself.
//!
//! Called directly: headers are parsed once instead of three times, and the encoded bytes are not
//! copied.

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::limits::{ImageSettings, within_limits};

/// Pixels as they are stored, and how they are to be turned.
///
/// Grey becomes RGB. Four components are CMYK, or YCCK where Adobe's marker says so, in Adobe's
/// convention: 255 is no ink. Pillow reads every CMYK file so, with that marker or without;
/// profiles are not looked at.
///
/// # Errors
/// Words for what was found and what was expected.
pub(super) fn decode(
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<(RgbImage, Orientation), String> {
    if !is_whole(bytes) {
        return Err("truncated JPEG, expected an end-of-image marker".to_owned());
    }
    // The decoder's own limits are wider than any size that the format can state: ours say more.
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().expect("the headers were decoded");
    let size @ (width, height) = (u32::from(info.width), u32::from(info.height));
    if ![1, 3, 4].contains(&info.components) {
        let found = info.components;
        return Err(format!("{found} colour components, expected 1 (grey), 3 or 4 (CMYK)"));
    }
    let stored = u64::from(width) * u64::from(height) * u64::from(info.components);
    within_limits(size, stored, settings)?;

    let orientation = info.exif_data.as_deref().and_then(Orientation::from_exif_chunk);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    decoder.decode_into(&mut pixels).map_err(|error| error.to_string())?;
    let image = RgbImage::from_raw(width, height, pixels).expect("three bytes a pixel");
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether a JPEG's segments lead to an end-of-image marker.
///
/// The decoder fills the missing part of a truncated file with grey and says nothing, so this is
/// asked first. Markers are walked, not searched: a thumbnail inside a segment has an end marker of
/// its own.
fn is_whole(bytes: &[u8]) -> bool {
    let mut position = 2;
    while let Some(&[first, marker]) = bytes.get(position..position + 2) {
        match (first, marker) {
            (0xFF, 0xD9) => return true,
            // Fill bytes before a marker, stuffed zeros, restart markers and entropy-coded data.
            (0xFF, 0xFF) => position += 1,
            (0xFF, 0x00 | 0x01 | 0xD0..=0xD7) => position += 2,
            (0xFF, _) => match bytes.get(position + 2..position + 4) {
                Some(&[high, low]) => position += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
            _ => position += 1,
        }
    }
    false
}

/// The number of colour components that the frame's header states.
pub(super) fn components(bytes: &[u8]) -> Option<u8> {
    let mut position = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(position..position + 4) {
        match marker {
            0xFF => position += 1,
            // Tables and reserved markers among those of frames.
            0xC0..=0xCF if ![0xC4, 0xC8, 0xCC].contains(&marker) => {
                return bytes.get(position + 9).copied();
            }
            _ => position += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    None
}
