//! Encoded bytes to RGB pixels, within limits that are checked before pixels are allocated.

#[cfg(test)]
mod damage;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;

use bissl_core::ConfigError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};

use super::{DataError, OnBadImage};

/// How images are read: limits on one image, on the broken ones, and on the memory of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// Largest width or height, in pixels, at least 1; a larger image counts as broken.
    pub side_max: u32,
    /// Most pixels of one image, at least 1; a larger one counts as broken.
    pub pixels_max: u64,
    /// Most bytes one image may take encoded, or decoded as its file stores it; more counts as broken.
    pub image_bytes_max: u64,
    /// What is done about broken images.
    pub on_bad_image: OnBadImage,
    /// Share of a data set's images, in `[0, 1]`, that may be broken. They are left out, with a
    /// warning. Unless it is 0, 16 broken images are always tolerated in a set of at least 32.
    pub bad_image_limit: f32,
    /// Decoded images are kept in memory if all of them together take at most this many bytes.
    pub cache_bytes_max: u64,
}

impl Default for ImageSettings {
    fn default() -> Self {
        Self {
            side_max: 16_384,
            pixels_max: 100_000_000,
            image_bytes_max: 512 << 20,
            on_bad_image: OnBadImage::default(),
            bad_image_limit: 0.01,
            cache_bytes_max: 1 << 30,
        }
    }
}

impl ImageSettings {
    /// The settings, if each is in its range.
    ///
    /// # Errors
    /// The first setting out of range.
    pub fn checked(self) -> Result<Self, ConfigError> {
        if self.side_max == 0 {
            return Err(ConfigError::Zero { name: "side_max" });
        }
        if self.pixels_max == 0 {
            return Err(ConfigError::Zero { name: "pixels_max" });
        }
        if self.image_bytes_max == 0 {
            return Err(ConfigError::Zero { name: "image_bytes_max" });
        }
        if !(0.0..=1.0).contains(&self.bad_image_limit) {
            return Err(ConfigError::OutOfRange {
                name: "bad_image_limit",
                value: self.bad_image_limit,
                range: "[0, 1]",
            });
        }
        Ok(self)
    }

    /// How many of `items` images may be broken: the share, at least 16, never more than half.
    pub(crate) fn bad_images_allowed(&self, items: u32) -> u32 {
        if self.bad_image_limit == 0.0 {
            return 0;
        }
        let share = libm::round(f64::from(self.bad_image_limit) * f64::from(items)) as u32;
        share.max(16).min(items / 2)
    }
}

/// Decodes JPEG or PNG, told apart by content, to upright 8-bit RGB.
///
/// Grey, grey + alpha, palette, RGBA, CMYK and 16-bit images are converted; transparent pixels are laid
/// over white. The orientation that EXIF states is applied, so that the picture stands as a viewer shows
/// it; torchvision's `ImageFolder` leaves it as it is stored. `name` is for error messages.
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

/// Refuses an image by what its header says.
///
/// `bytes` is what its pixels take as the file stores them, at most 8 a pixel.
fn within_limits(
    (width, height): (u32, u32),
    bytes: u64,
    settings: &ImageSettings,
) -> Result<(), String> {
    let ImageSettings { side_max, pixels_max, image_bytes_max, .. } = *settings;
    if width == 0 || height == 0 || width > side_max || height > side_max {
        return Err(format!("{width} x {height} pixels, expected sides of 1 to {side_max}"));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > pixels_max {
        return Err(format!(
            "{width} x {height} pixels are {pixels}, expected at most {pixels_max} (`pixels_max`)"
        ));
    }
    if bytes > image_bytes_max {
        return Err(format!("takes {bytes} bytes decoded, expected at most {image_bytes_max}"));
    }
    Ok(())
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
