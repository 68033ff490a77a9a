//! Encoded bytes to RGB pixels, within limits that are checked before pixels are allocated.

#[cfg(test)]
mod damage;
mod exif;
mod jpeg;
mod limits;
mod png;
mod raster;
#[cfg(test)]
mod tests;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};

pub use limits::ImageSettings;

use super::DataError;

/// Decodes JPEG, PNG, WebP, BMP, TIFF or GIF, told apart by content, to upright 8-bit RGB.
///
/// Grey, grey + alpha, palette, RGBA, CMYK and 16-bit images are converted; transparent pixels are
/// laid over white. Of several pictures in a file the first is read. The orientation that EXIF
/// states is applied, so that the picture stands as a viewer shows it; torchvision's `ImageFolder`
/// leaves it as it is stored. `name` is for error messages.
///
/// # Errors
/// [`DataError::BadImage`] for any other format, a broken header, sizes over the limits (found
/// before pixels are allocated), or damaged or missing pixel data.
pub fn decode_image(
    name: &str,
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<RgbImage, DataError> {
    let flat = |(image, orientation)| (flat(image), orientation);
    let decoded = match format_of(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::decode(bytes, settings),
        Some(ImageFormat::Png) => png::decode(bytes, settings).map(flat),
        Some(format) => raster::decode(format, bytes, settings).map(flat),
        None => {
            let found = unread_format(bytes).map_or("found none of them", |format| format);
            Err(format!("expected JPEG, PNG, WebP, BMP, TIFF or GIF data, {found}"))
        }
    };
    let (image, orientation) = decoded.map_err(|reason| DataError::bad_image(name, reason))?;
    Ok(upright(image, orientation))
}

/// How many bytes [`format_of`] looks at.
pub(crate) const HEAD: usize = 18;

/// The format, by its first bytes; `None` for anything that is not read.
pub(crate) fn format_of(head: &[u8]) -> Option<ImageFormat> {
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Some(ImageFormat::Jpeg)
    } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(ImageFormat::Png)
    } else if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
        Some(ImageFormat::WebP)
    } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
        Some(ImageFormat::Gif)
    } else if head.starts_with(b"II*\0") || head.starts_with(b"MM\0*") {
        Some(ImageFormat::Tiff)
    } else if head.starts_with(b"BM") {
        // Two letters begin many files: the length of the second header decides.
        let second = head.get(14..18)?;
        let known = [12, 40, 52, 56, 64, 108, 124].iter().any(|&bytes| second == [bytes, 0, 0, 0]);
        known.then_some(ImageFormat::Bmp)
    } else {
        None
    }
}

/// What a file is that is named like an image and begins like one of another format.
fn unread_format(head: &[u8]) -> Option<&'static str> {
    match (head.get(4..12), head) {
        (Some(b"ftypavif" | b"ftypavis"), _) => Some("found AVIF"),
        (Some([b'f', b't', b'y', b'p', b'h' | b'm', ..]), _) => Some("found HEIC or another video"),
        (Some(b"JXL \r\n\x87\n"), _) | (_, [0xFF, 0x0A, ..]) => Some("found JPEG XL"),
        (Some([b'j', b'P', ..]), _) => Some("found JPEG 2000"),
        (_, [b'8', b'B', b'P', b'S', ..]) => Some("found a Photoshop document"),
        (_, [b'I', b'I', b'+', ..] | [b'M', b'M', 0, b'+', ..]) => Some("found BigTIFF"),
        _ => None,
    }
}

/// 8-bit RGB, over white where it is transparent.
fn flat(image: DynamicImage) -> RgbImage {
    if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() }
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

/// What an image that decodes is stored as, in words: `JPEG, colour`.
pub(super) fn kind_of(bytes: &[u8]) -> &'static str {
    match format_of(bytes) {
        Some(ImageFormat::Jpeg) => match jpeg::components(bytes) {
            Some(1) => "JPEG, grey",
            Some(4) => "JPEG, CMYK",
            _ => "JPEG, colour",
        },
        Some(ImageFormat::WebP) => "WebP",
        Some(ImageFormat::Bmp) => "BMP",
        Some(ImageFormat::Tiff) => "TIFF",
        Some(ImageFormat::Gif) => "GIF",
        // Bit depth and colour type stand at fixed places.
        _ => match bytes.get(24..26) {
            Some([16, 0]) => "PNG, grey, 16 bit",
            Some([16, 4]) => "PNG, grey and alpha, 16 bit",
            Some([16, 2]) => "PNG, colour, 16 bit",
            Some([16, 6]) => "PNG, colour and alpha, 16 bit",
            Some([_, 0]) => "PNG, grey",
            Some([_, 3]) => "PNG, palette",
            Some([_, 4]) => "PNG, grey and alpha",
            Some([_, 6]) => "PNG, colour and alpha",
            _ => "PNG, colour",
        },
    }
}

/// The picture as a viewer shows it.
fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return image;
    }
    let mut image = DynamicImage::from(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}
