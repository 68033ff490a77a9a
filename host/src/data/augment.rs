//! The augmentation recipes: an image and random draws in, a normalised view out.
//!
//! In two steps: what is done to an image is drawn, then it is done. The first needs the image's
//! size only, and is the same wherever the second happens.

use bissl_core::{ConfigError, Draws};
use image::RgbImage;

use super::AugmentSettings;
use super::blur::{blur, kernel, kernel_length};
use super::colour;
use super::crop::{CropBox, Cut};

/// Which of the two pretext recipes; they differ in the probabilities of blur and solarisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Nearly always blurred, never solarised.
    A,
    /// Seldom blurred, sometimes solarised.
    B,
}

/// The parts of a pretext view's work, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Cut, scaled, mirrored, to planes of values.
    Crop,
    /// Jitter and grey.
    Colour,
    /// Blur and solarisation.
    Blur,
    /// Mean and deviation.
    Normalise,
}

/// What a recipe does to one image, drawn and not yet done.
///
/// A pure function of the recipe, of the image's size and of the draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    pub(crate) cut: Cut,
    pub(crate) mirror: Mirror,
    /// In the order in which they are made.
    pub(crate) jitter: Option<[Change; 4]>,
    pub(crate) grey: bool,
    /// Weights of the blur, an odd number of them.
    pub(crate) blur: Option<Vec<f32>>,
    pub(crate) solarise: bool,
}

/// One part of the colour jitter, with its factor; of the hue, turns of the colour circle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

/// Whether left and right change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mirror {
    No,
    Yes,
}

/// The recipes at one image size, with settings that were checked.
///
/// Every recipe writes `[3, size, size]` values, red plane first, normalised by ImageNet's mean and
/// deviation. Results are a pure function of the arguments. Work after the crop is in f32 without
/// rounding to bytes in between, which is a difference from torchvision's transforms on Pillow
/// images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    size: u32,
    settings: AugmentSettings,
}

impl Augmentation {
    /// Recipes for square images of `size` pixels, 8 to 1024.
    ///
    /// # Errors
    /// The size or a setting out of range.
    pub fn new(size: u32, settings: AugmentSettings) -> Result<Self, ConfigError> {
        if !(8..=1024).contains(&size) {
            let (name, range) = ("image size", "8 to 1024 pixels");
            return Err(ConfigError::OutOfRange { name, value: size as f32, range });
        }
        Ok(Self { size, settings: settings.checked()? })
    }

    /// Side of the images, in pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Values of one image: 3 · size².
    pub fn image_len(&self) -> usize {
        3 * self.size as usize * self.size as usize
    }

    /// One pretext view: random crop, flip, colour jitter, grey, blur, solarisation.
    ///
    /// `out` has [`image_len`](Self::image_len) values.
    pub fn pretext(&self, image: &RgbImage, view: View, draws: Draws, out: &mut [f32]) {
        self.pretext_timed(image, view, draws, out, |_| {});
    }

    /// The same; `ended` is told when each part of the work has been done.
    pub(crate) fn pretext_timed(
        &self,
        image: &RgbImage,
        view: View,
        draws: Draws,
        out: &mut [f32],
        ended: impl FnMut(Work),
    ) {
        self.apply_timed(image, &self.draw_pretext(image.dimensions(), view, draws), out, ended);
    }

    /// A labelled training image: random crop and flip.
    ///
    /// `out` has [`image_len`](Self::image_len) values.
    pub fn downstream(&self, image: &RgbImage, draws: Draws, out: &mut [f32]) {
        self.apply(image, &self.draw_downstream(image.dimensions(), draws), out);
    }

    /// The image as evaluation sees it: shorter side to 109⁄96 of the size, centre square.
    ///
    /// An image of exactly the size is taken as it is, unless `evaluation_resize` is set.
    /// `out` has [`image_len`](Self::image_len) values.
    pub fn evaluation(&self, image: &RgbImage, out: &mut [f32]) {
        self.apply(image, &self.evaluation_of(image.dimensions()), out);
    }

    /// Draws what [`pretext`](Self::pretext) does to an image of a width and height.
    pub fn draw_pretext(&self, dimensions: (u32, u32), view: View, mut draws: Draws) -> Drawn {
        let settings = &self.settings;
        let (cut, mirror) = self.random_crop(dimensions, &mut draws);
        let jitter = draws.chance(settings.jitter).then(|| self.jitter(&mut draws));
        let grey = draws.chance(settings.grey);
        let (blur_chance, solarise_chance) = match view {
            View::A => (settings.blur_a, 0.0),
            View::B => (settings.blur_b, settings.solarise_b),
        };
        let blur = draws.chance(blur_chance).then(|| {
            let [least, most] = settings.blur_sigma;
            kernel(kernel_length(self.size), draws.uniform_in(least, most))
        });
        let solarise = draws.chance(solarise_chance);
        Drawn { cut, mirror, jitter, grey, blur, solarise }
    }

    /// Draws what [`downstream`](Self::downstream) does to an image of a width and height.
    pub fn draw_downstream(&self, dimensions: (u32, u32), mut draws: Draws) -> Drawn {
        let (cut, mirror) = self.random_crop(dimensions, &mut draws);
        Drawn { cut, mirror, jitter: None, grey: false, blur: None, solarise: false }
    }

    /// What [`evaluation`](Self::evaluation) does to an image of a width and height; nothing is
    /// random.
    pub fn evaluation_of(&self, dimensions: (u32, u32)) -> Drawn {
        let size = (self.size, self.size);
        let cut = if dimensions == size && !self.settings.evaluation_resize {
            Cut::scaled(CropBox::whole(dimensions), size)
        } else {
            Cut::evaluation(dimensions, self.size)
        };
        let mirror = Mirror::No;
        Drawn { cut, mirror, jitter: None, grey: false, blur: None, solarise: false }
    }

    /// Does what was drawn for an image of this size.
    ///
    /// `out` has [`image_len`](Self::image_len) values.
    pub fn apply(&self, image: &RgbImage, drawn: &Drawn, out: &mut [f32]) {
        self.apply_timed(image, drawn, out, |_| {});
    }

    fn apply_timed(
        &self,
        image: &RgbImage,
        drawn: &Drawn,
        out: &mut [f32],
        mut ended: impl FnMut(Work),
    ) {
        write_planes(&drawn.cut.of(image), drawn.mirror, out);
        ended(Work::Crop);
        for &change in drawn.jitter.iter().flatten() {
            match change {
                Change::Brightness(factor) => colour::brightness(out, factor),
                Change::Contrast(factor) => colour::contrast(out, factor),
                Change::Saturation(factor) => colour::saturation(out, factor),
                Change::Hue(shift) => colour::hue(out, shift),
            }
        }
        if drawn.grey {
            colour::grey(out);
        }
        ended(Work::Colour);
        if let Some(kernel) = &drawn.blur {
            blur(out, self.size, kernel);
        }
        if drawn.solarise {
            colour::solarise(out);
        }
        ended(Work::Blur);
        colour::normalise(out);
        ended(Work::Normalise);
    }

    fn random_crop(&self, dimensions: (u32, u32), draws: &mut Draws) -> (Cut, Mirror) {
        let AugmentSettings { crop_area, crop_aspect, flip, .. } = self.settings;
        let part = CropBox::random(dimensions, crop_area, crop_aspect, draws);
        let mirror = if draws.chance(flip) { Mirror::Yes } else { Mirror::No };
        (Cut::scaled(part, (self.size, self.size)), mirror)
    }

    /// The four colour changes in random order, as torchvision's `ColorJitter`.
    fn jitter(&self, draws: &mut Draws) -> [Change; 4] {
        let mut order = [0, 1, 2, 3];
        for last in (1..4).rev() {
            order.swap(last, draws.below(last as u32 + 1) as usize);
        }
        let settings = &self.settings;
        let around_one = |draws: &mut Draws, strength: f32| {
            draws.uniform_in((1.0 - strength).max(0.0), 1.0 + strength)
        };
        let changes = [
            Change::Brightness(around_one(draws, settings.brightness)),
            Change::Contrast(around_one(draws, settings.contrast)),
            Change::Saturation(around_one(draws, settings.saturation)),
            Change::Hue(draws.uniform_in(-settings.hue, settings.hue)),
        ];
        order.map(|change| changes[change])
    }
}

/// Interleaved bytes to planes of values in `[0, 1]`.
fn write_planes(image: &RgbImage, mirror: Mirror, out: &mut [f32]) {
    assert_eq!(image.as_raw().len(), out.len(), "the image has the recipe's size");
    let width = image.width() as usize;
    for (channel, plane) in out.chunks_exact_mut(image.as_raw().len() / 3).enumerate() {
        let rows = image.as_raw().chunks_exact(3 * width).zip(plane.chunks_exact_mut(width));
        for (pixels, row) in rows {
            let values = pixels.chunks_exact(3).map(|pixel| f32::from(pixel[channel]) / 255.0);
            match mirror {
                Mirror::No => row.iter_mut().zip(values).for_each(|(to, value)| *to = value),
                Mirror::Yes => row.iter_mut().rev().zip(values).for_each(|(to, value)| *to = value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Stream;
    use image::Rgb;

    fn pattern(size: u32) -> RgbImage {
        RgbImage::from_fn(size, size, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]))
    }

    /// Nothing random is left: the whole image, neither mirrored nor changed.
    fn still() -> AugmentSettings {
        AugmentSettings {
            crop_area: [1.0, 1.0],
            crop_aspect: [1.0, 1.0],
            flip: 0.0,
            jitter: 0.0,
            grey: 0.0,
            blur_a: 0.0,
            blur_b: 0.0,
            solarise_b: 0.0,
            ..AugmentSettings::default()
        }
    }

    fn pretext(settings: AugmentSettings, view: View, index: u64) -> Vec<f32> {
        let augmentation = Augmentation::new(16, settings).unwrap();
        let mut out = vec![f32::NAN; augmentation.image_len()];
        augmentation.pretext(&pattern(16), view, Stream::new(1, 2).at(index), &mut out);
        assert!(out.iter().all(|value| value.is_finite()));
        out
    }

    fn evaluated() -> Vec<f32> {
        let augmentation = Augmentation::new(16, still()).unwrap();
        let mut out = vec![f32::NAN; augmentation.image_len()];
        augmentation.evaluation(&pattern(16), &mut out);
        out
    }

    #[test]
    fn evaluation_of_an_image_of_the_size_is_the_normalised_image() {
        let out = evaluated();
        for (x, y, pixel) in pattern(16).enumerate_pixels() {
            for channel in 0..3 {
                let expected = (f32::from(pixel[channel]) / 255.0 - colour::MEAN[channel])
                    / colour::DEVIATION[channel];
                assert_eq!(out[channel * 256 + (y * 16 + x) as usize], expected);
            }
        }
        let resized = AugmentSettings { evaluation_resize: true, ..still() };
        let augmentation = Augmentation::new(16, resized).unwrap();
        let mut other = vec![f32::NAN; augmentation.image_len()];
        augmentation.evaluation(&pattern(16), &mut other);
        assert_ne!(out, other);
    }

    #[test]
    fn with_every_probability_zero_a_view_is_the_image() {
        for view in [View::A, View::B] {
            assert_eq!(pretext(still(), view, 0), evaluated());
        }
    }

    #[test]
    fn a_certain_flip_mirrors_rows() {
        let mirrored = pretext(AugmentSettings { flip: 1.0, ..still() }, View::A, 0);
        let straight = evaluated();
        for (row, other) in straight.chunks(16).zip(mirrored.chunks(16)) {
            assert!(row.iter().eq(other.iter().rev()));
        }
    }

    #[test]
    fn blur_and_solarisation_belong_to_their_views() {
        let settings = AugmentSettings { blur_a: 1.0, ..still() };
        assert_ne!(pretext(settings, View::A, 0), evaluated());
        assert_eq!(pretext(settings, View::B, 0), evaluated());
        let settings = AugmentSettings { blur_b: 1.0, ..still() };
        assert_eq!(pretext(settings, View::A, 0), evaluated());
        assert_ne!(pretext(settings, View::B, 0), evaluated());
        let settings = AugmentSettings { solarise_b: 1.0, ..still() };
        assert_eq!(pretext(settings, View::A, 0), evaluated());
        assert_ne!(pretext(settings, View::B, 0), evaluated());
    }

    #[test]
    fn grey_and_jitter_act_when_certain() {
        let grey = pretext(AugmentSettings { grey: 1.0, ..still() }, View::A, 0);
        let value = |channel: usize| {
            grey[channel * 256 + 77] * colour::DEVIATION[channel] + colour::MEAN[channel]
        };
        assert!((value(0) - value(1)).abs() < 1e-6 && (value(1) - value(2)).abs() < 1e-6);
        assert_ne!(pretext(AugmentSettings { jitter: 1.0, ..still() }, View::A, 0), evaluated());
        let idle = AugmentSettings {
            jitter: 1.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            ..still()
        };
        for (a, b) in pretext(idle, View::A, 0).iter().zip(evaluated()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn probabilities_are_met() {
        let settings = AugmentSettings { flip: 0.5, ..still() };
        let straight = evaluated();
        let kept = (0..400).filter(|&i| pretext(settings, View::A, i) == straight).count();
        // Binomial, 400 draws of 0.5: five deviations are 50.
        assert!((150..250).contains(&kept), "{kept}");
    }

    #[test]
    fn other_draws_give_other_views() {
        let settings = AugmentSettings::default();
        let first = pretext(settings, View::A, 0);
        assert_eq!(first, pretext(settings, View::A, 0));
        assert_ne!(first, pretext(settings, View::A, 1));
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [0, 7, 1025] {
            assert!(Augmentation::new(size, AugmentSettings::default()).is_err());
        }
    }
}
