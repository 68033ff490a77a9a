//! Strengths and probabilities of the augmentations.

use bissl_core::ConfigError;
use serde::{Deserialize, Serialize};

/// Augmentation of all recipes, as in SimCLR's and BYOL's, at the strengths that BiSSL uses.
///
/// `Default` is what we recommend; [`AugmentSettings::paper`] is the reference's. The blur's kernel
/// is about a tenth of the image's side, odd and at least 3.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentSettings {
    /// Share of the image's area in a random crop: least and most, in `(0, 1]`.
    pub crop_area: [f32; 2],
    /// Width over height of a random crop, drawn log-uniformly: least and most, above 0.
    pub crop_aspect: [f32; 2],
    /// Probability of a mirror image.
    pub flip: f32,
    /// Probability of the colour jitter, all four parts together, in random order.
    pub jitter: f32,
    /// Brightness factor is drawn from `[max(0, 1 − b), 1 + b]`, b ≥ 0.
    pub brightness: f32,
    /// Contrast factor, likewise.
    pub contrast: f32,
    /// Saturation factor, likewise.
    pub saturation: f32,
    /// Hue shift is drawn from `[−h, h]` turns of the colour circle, h in `[0, 0.5]`.
    pub hue: f32,
    /// Probability of a grey image (three equal channels).
    pub grey: f32,
    /// Probability of a Gaussian blur in view A.
    pub blur_a: f32,
    /// Probability of a Gaussian blur in view B.
    pub blur_b: f32,
    /// Standard deviation of the blur in pixels, drawn uniformly: least and most, above 0.
    pub blur_sigma: [f32; 2],
    /// Probability that view B is solarised: values of at least 128 of 255 inverted.
    pub solarise_b: f32,
    /// Whether evaluation enlarges an image that already has exactly the network's size, only to
    /// cut the centre out of it again. Others are always brought to 109⁄96 of the size and cut.
    pub evaluation_resize: bool,
}

impl Default for AugmentSettings {
    fn default() -> Self {
        Self {
            crop_area: [0.08, 1.0],
            crop_aspect: [3.0 / 4.0, 4.0 / 3.0],
            flip: 0.5,
            jitter: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.2,
            hue: 0.1,
            grey: 0.2,
            blur_a: 1.0,
            blur_b: 0.1,
            blur_sigma: [0.1, 2.0],
            solarise_b: 0.2,
            evaluation_resize: false,
        }
    }
}

impl AugmentSettings {
    /// The reference's: upright crops only (aspect 0.5 to 1), and always resized for evaluation.
    pub fn paper() -> Self {
        Self { crop_aspect: [0.5, 1.0], evaluation_resize: true, ..Self::default() }
    }

    /// The settings, if each is in its range.
    ///
    /// # Errors
    /// The first setting out of range; NaN lies nowhere.
    pub fn checked(self) -> Result<Self, ConfigError> {
        within("crop_area", self.crop_area, 0.0, 1.0, "0 < least ≤ most ≤ 1")?;
        within("crop_aspect", self.crop_aspect, 0.0, 100.0, "0 < least ≤ most ≤ 100")?;
        within("blur_sigma", self.blur_sigma, 0.0, 1000.0, "0 < least ≤ most ≤ 1000")?;
        for (name, value) in [
            ("flip", self.flip),
            ("jitter", self.jitter),
            ("grey", self.grey),
            ("blur_a", self.blur_a),
            ("blur_b", self.blur_b),
            ("solarise_b", self.solarise_b),
        ] {
            require(name, value, (0.0..=1.0).contains(&value), "[0, 1]")?;
        }
        for (name, value) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            require(name, value, (0.0..=100.0).contains(&value), "[0, 100]")?;
        }
        require("hue", self.hue, (0.0..=0.5).contains(&self.hue), "[0, 0.5]")?;
        Ok(self)
    }
}

fn within(
    name: &'static str,
    [least, most]: [f32; 2],
    above: f32,
    limit: f32,
    range: &'static str,
) -> Result<(), ConfigError> {
    require(name, least, least > above && least <= limit, range)?;
    require(name, most, most >= least && most <= limit, range)
}

fn require(
    name: &'static str,
    value: f32,
    holds: bool,
    range: &'static str,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::OutOfRange { name, value, range }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid_and_differ_where_documented() {
        let (ours, paper) = (AugmentSettings::default(), AugmentSettings::paper());
        assert_eq!(ours.checked(), Ok(ours));
        assert_eq!(paper.checked(), Ok(paper));
        assert_eq!(paper.crop_aspect, [0.5, 1.0]);
        assert_eq!(
            AugmentSettings { crop_aspect: ours.crop_aspect, evaluation_resize: false, ..paper },
            ours
        );
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        let ours = AugmentSettings::default();
        let nan = f32::NAN;
        let wrong = [
            ("crop_area", AugmentSettings { crop_area: [0.0, 1.0], ..ours }),
            ("crop_area", AugmentSettings { crop_area: [0.5, 0.4], ..ours }),
            ("crop_area", AugmentSettings { crop_area: [0.5, 1.1], ..ours }),
            ("crop_aspect", AugmentSettings { crop_aspect: [nan, 1.0], ..ours }),
            ("blur_sigma", AugmentSettings { blur_sigma: [0.1, nan], ..ours }),
            ("blur_sigma", AugmentSettings { blur_sigma: [0.0, 1.0], ..ours }),
            ("flip", AugmentSettings { flip: 1.5, ..ours }),
            ("jitter", AugmentSettings { jitter: -0.1, ..ours }),
            ("grey", AugmentSettings { grey: nan, ..ours }),
            ("blur_a", AugmentSettings { blur_a: 2.0, ..ours }),
            ("blur_b", AugmentSettings { blur_b: 2.0, ..ours }),
            ("solarise_b", AugmentSettings { solarise_b: 2.0, ..ours }),
            ("brightness", AugmentSettings { brightness: -1.0, ..ours }),
            ("contrast", AugmentSettings { contrast: f32::INFINITY, ..ours }),
            ("saturation", AugmentSettings { saturation: nan, ..ours }),
            ("hue", AugmentSettings { hue: 0.6, ..ours }),
        ];
        for (name, settings) in wrong {
            let error = settings.checked().unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}: {error}");
        }
    }
}
