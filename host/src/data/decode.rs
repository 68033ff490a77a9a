//! Encoded bytes to RGB pixels, within limits that are checked before pixels are allocated.

use std::io::Cursor;

use bissl_core::ConfigError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};

use super::DataError;

/// How images are read: limits on one image, on the broken ones, and on the memory of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// Largest width or height, in pixels, at least 1; a larger image counts as broken.
    pub side_max: u32,
    /// Most bytes one image may take encoded, or decoded as its file stores it; more counts as broken.
    pub image_bytes_max: u64,
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
            image_bytes_max: 512 << 20,
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

/// Decodes JPEG or PNG, told apart by content, to 8-bit RGB.
///
/// Grey, grey + alpha, palette, RGBA, CMYK JPEG and 16-bit images are converted; transparent pixels are
/// laid over white. EXIF orientation is not applied (nor is it by torchvision's `ImageFolder`).
/// `name` is for error messages.
///
/// # Errors
/// [`DataError::BadImage`] for what is neither JPEG nor PNG, a broken header, sizes over the limits
/// (found before pixels are allocated), or damaged or missing pixel data.
pub fn decode_image(
    name: &str,
    bytes: &[u8],
    settings: &ImageSettings,
) -> Result<RgbImage, DataError> {
    let decoder = open(name, bytes, settings)?;
    let image =
        DynamicImage::from_decoder(decoder).map_err(|error| DataError::bad_image(name, error))?;
    Ok(if image.color().has_alpha() { over_white(&image) } else { image.into_rgb8() })
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

/// A decoder that has read the header and found it within the limits.
fn open<'a>(
    name: &str,
    bytes: &'a [u8],
    settings: &ImageSettings,
) -> Result<impl ImageDecoder + 'a, DataError> {
    let format = format_of(bytes)
        .ok_or_else(|| DataError::bad_image(name, "expected JPEG or PNG data, found neither"))?;
    if format == ImageFormat::Jpeg && !jpeg_is_whole(bytes) {
        return Err(DataError::bad_image(name, "truncated JPEG, expected an end-of-image marker"));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(settings.image_bytes_max);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| DataError::bad_image(name, error))?;

    let (width, height) = decoder.dimensions();
    let (side, bytes_max) = (settings.side_max, settings.image_bytes_max);
    if width == 0 || height == 0 || width > side || height > side {
        let reason = format!("{width} x {height} pixels, expected sides of 1 to {side}");
        return Err(DataError::bad_image(name, reason));
    }
    if decoder.total_bytes() > bytes_max {
        let total = decoder.total_bytes();
        let reason = format!("takes {total} bytes decoded, expected at most {bytes_max}");
        return Err(DataError::bad_image(name, reason));
    }
    Ok(decoder)
}

/// Whether a JPEG's segments lead to an end-of-image marker.
///
/// The decoder fills the missing part of a truncated file with grey and says nothing, so this is asked
/// first. Markers are walked, not searched: a thumbnail inside a segment has an end marker of its own.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgba, RgbaImage};

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        encode(&image.into(), ImageFormat::Png)
    }

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8]) -> Result<RgbImage, DataError> {
        decode_image("a file", bytes, &ImageSettings::default())
    }

    #[test]
    fn transparency_is_laid_over_white() {
        let mut image = RgbaImage::new(3, 1);
        image.put_pixel(0, 0, Rgba([10, 20, 30, 255]));
        image.put_pixel(1, 0, Rgba([10, 20, 30, 0]));
        image.put_pixel(2, 0, Rgba([0, 100, 255, 51]));
        let rgb = decode(&png(image)).unwrap();
        // A fifth of (0, 100, 255) and four fifths of white.
        assert_eq!(rgb.as_raw(), &[10, 20, 30, 255, 255, 255, 204, 224, 255]);
        let grey = GrayAlphaImage::from_raw(2, 1, vec![7, 255, 7, 0]).unwrap();
        assert_eq!(decode(&png(grey)).unwrap().as_raw(), &[7, 7, 7, 255, 255, 255]);
    }

    #[test]
    fn grey_and_16_bit_images_become_rgb() {
        let grey = GrayImage::from_raw(2, 1, vec![3, 250]).unwrap();
        assert_eq!(decode(&png(grey)).unwrap().as_raw(), &[3, 3, 3, 250, 250, 250]);
        let deep = ImageBuffer::<Luma<u16>, _>::from_raw(2, 1, vec![0, 0xFFFF]).unwrap();
        assert_eq!(decode(&png(deep)).unwrap().as_raw(), &[0, 0, 0, 255, 255, 255]);
        let deep = ImageBuffer::<Rgba<u16>, _>::from_raw(1, 1, vec![0xFFFF, 0, 0, 0xFFFF]).unwrap();
        assert_eq!(decode(&png(deep)).unwrap().as_raw(), &[255, 0, 0]);
    }

    #[test]
    fn every_cut_of_a_jpeg_or_png_is_refused_by_name() {
        let image = DynamicImage::from(RgbImage::from_fn(33, 17, |x, y| {
            image::Rgb([(x * 7) as u8, (y * 13) as u8, (x * y) as u8])
        }));
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let bytes = encode(&image, format);
            assert_eq!(decode(&bytes).unwrap().dimensions(), (33, 17));
            // The last chunk of a PNG (12 bytes) holds no pixels; its loss is harmless.
            let whole = if format == ImageFormat::Png { bytes.len() - 12 } else { bytes.len() };
            for cut in 0..whole {
                let error = decode(&bytes[..cut]).unwrap_err();
                assert!(error.to_string().starts_with("a file: "), "cut at {cut}: {error}");
            }
        }
    }

    #[test]
    fn a_thumbnails_end_does_not_hide_a_cut() {
        let image = DynamicImage::from(RgbImage::new(8, 8));
        let inner = encode(&image, ImageFormat::Jpeg);
        let mut outer = vec![0xFF, 0xD8, 0xFF, 0xE1];
        outer.extend_from_slice(&u16::try_from(inner.len() + 2).unwrap().to_be_bytes());
        outer.extend_from_slice(&inner);
        outer.extend_from_slice(&inner[2..]);
        assert!(decode(&outer).is_ok());
        assert!(decode(&outer[..outer.len() - 2]).is_err());
    }

    #[test]
    fn sizes_over_the_limits_are_refused_by_the_header() {
        let bytes = png(RgbImage::new(20, 10));
        assert_eq!(decode(&bytes).unwrap().dimensions(), (20, 10));
        let narrow = ImageSettings { side_max: 19, ..ImageSettings::default() };
        let error = decode_image("a", &bytes, &narrow).unwrap_err().to_string();
        assert_eq!(error, "a: 20 x 10 pixels, expected sides of 1 to 19");
        let small = ImageSettings { image_bytes_max: 599, ..ImageSettings::default() };
        assert!(decode_image("a", &bytes, &small).is_err());
    }

    #[test]
    fn the_number_of_bad_images_allowed_has_a_floor_and_a_ceiling() {
        let settings = ImageSettings::default();
        let allowed: Vec<u32> =
            [0, 1, 3, 32, 1600, 5000].map(|items| settings.bad_images_allowed(items)).into();
        assert_eq!(allowed, [0, 0, 1, 16, 16, 50]);
        let strict = ImageSettings { bad_image_limit: 0.0, ..settings };
        assert_eq!(strict.bad_images_allowed(5000), 0);
        for wrong in [f32::NAN, -0.1, 1.1] {
            assert!(ImageSettings { bad_image_limit: wrong, ..settings }.checked().is_err());
        }
    }
}
