//! How much an image may take.

use bissl_core::ConfigError;
use serde::{Deserialize, Serialize};

use crate::data::OnBadImage;

/// How images are read: limits on one image, on the broken ones, and on the memory of all.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// Largest width or height, in pixels, at least 1; a larger image counts as broken.
    pub side_max: u32,
    /// Most pixels of one image, at least 1; a larger one counts as broken.
    pub pixels_max: u64,
    /// Most bytes one image may take encoded, or decoded as its file stores it; more counts as
    /// broken.
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

/// Refuses an image by what its header says.
///
/// `bytes` is what its pixels take as the file stores them, at most 8 a pixel.
pub(super) fn within_limits(
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
