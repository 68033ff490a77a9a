//! Encoded bytes to RGB pixels, within limits that are checked before pixels are allocated.

#[cfg(test)]
mod damage;
mod exif;
mod jpeg;
mod limits;
mod png;
#[cfg(test)]
mod tests;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};

pub use limits::ImageSettings;

use super::DataError;

/// Decodes JPEG or PNG, told apart by content, to upright 8-bit RGB.
///
/// Grey, grey + alpha, palette, RGBA, CMYK and 16-bit images are converted; transparent pixels are
/// laid over white. The orientation that EXIF states is applied, so that the picture stands as a
/// viewer shows it; torchvision's `ImageFolder` leaves it as it is stored. `name` is for error
/// messages.
///
/// # Errors
/// [`DataError::BadImage`] for what is neither JPEG nor PNG, a broken header, sizes over the limits
/// (found before pixels are allocated), or damaged or missing pixel data.
pub fn decode_image(
    name: &str,
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<RgbImage, DataError> {
    let decoded = match format_of(bytes) {
        Some(ImageFormat::Jpeg) => jpeg::decode(bytes, settings),
        Some(_) => png::decode(bytes, settings),
        None => Err("expected JPEG or PNG data, found neither".to_owned()),
    };
    let (image, orientation) = decoded.map_err(|reason| DataError::bad_image(name, reason))?;
    Ok(upright(image, orientation))
}

/// The format, by its first bytes; `None` for anything but JPEG and PNG.
pub(crate) fn format_of(head: &[u8]) -> Option<ImageFormat> {
    if head.starts_with(&[0xFF, 0xD8, 0xFF]) {
        Some(ImageFormat::Jpeg)
    } else if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(ImageFormat::Png)
    } else {
        None
    }
}

/// What an image that decodes is stored as, in words: `JPEG, colour`.
pub(super) fn kind_of(bytes: &[u8]) -> &'static str {
    match format_of(bytes) {
        Some(ImageFormat::Jpeg) => match jpeg::components(bytes) {
            Some(1) => "JPEG, grey",
            Some(4) => "JPEG, CMYK",
            _ => "JPEG, colour",
        },
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
