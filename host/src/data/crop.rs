//! Which part of an image is seen, and its scaling.

use bissl_core::Draws;
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A rectangle of whole pixels within an image, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CropBox {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl CropBox {
    /// A random rectangle of an image, as torchvision's `RandomResizedCrop` draws it.
    ///
    /// `area` is the range of its share of the image's area, `aspect` of its width over its height
    /// (log-uniform). After ten draws that do not fit: the largest centred one of an allowed
    /// aspect.
    pub(crate) fn random(
        (width, height): (u32, u32),
        area: [f32; 2],
        aspect: [f32; 2],
        draws: &mut Draws,
    ) -> Self {
        let log_aspect = aspect.map(|ratio| libm::log(f64::from(ratio)));
        for _ in 0..10 {
            let share = between(area.map(f64::from), draws.uniform());
            let pixels = share * f64::from(width) * f64::from(height);
            let ratio = libm::exp(between(log_aspect, draws.uniform()));
            let crop_width = libm::rint(libm::sqrt(pixels * ratio)) as u32;
            let crop_height = libm::rint(libm::sqrt(pixels / ratio)) as u32;
            if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
                let top = draws.below(height - crop_height + 1);
                let left = draws.below(width - crop_width + 1);
                return Self { left, top, width: crop_width, height: crop_height };
            }
        }
        let [least, most] = aspect.map(f64::from);
        let ratio = f64::from(width) / f64::from(height);
        if ratio < least {
            let rows = libm::rint(f64::from(width) / least) as u32;
            Self::centred((width, height), (width, rows))
        } else if ratio > most {
            let columns = libm::rint(f64::from(height) * most) as u32;
            Self::centred((width, height), (columns, height))
        } else {
            Self::whole((width, height))
        }
    }

    /// The centred rectangle of a size, cut down to what the image has.
    pub(crate) fn centred((width, height): (u32, u32), size: (u32, u32)) -> Self {
        let (crop_width, crop_height) = (size.0.clamp(1, width), size.1.clamp(1, height));
        // Halves go to the even pixel, as Python's `round` in torchvision's `center_crop`.
        let half = |rest: u32| libm::rint(f64::from(rest) / 2.0) as u32;
        let (left, top) = (half(width - crop_width), half(height - crop_height));
        Self { left, top, width: crop_width, height: crop_height }
    }

    pub(crate) fn whole((width, height): (u32, u32)) -> Self {
        Self { left: 0, top: 0, width, height }
    }
}

fn between([low, high]: [f64; 2], uniform: f32) -> f64 {
    low + (high - low) * f64::from(uniform)
}

/// How an image becomes the pixels that a network sees: a part is scaled, and a window of that is
/// kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Within the image.
    pub(crate) part: CropBox,
    /// Width and height of the part once it is scaled.
    pub(crate) scaled: (u32, u32),
    /// Within the scaled part.
    pub(crate) window: CropBox,
}

impl Cut {
    /// A part scaled to a width and height, all of it kept.
    pub(crate) fn scaled(part: CropBox, scaled: (u32, u32)) -> Self {
        Self { part, scaled, window: CropBox::whole(scaled) }
    }

    /// The centre that evaluation sees: shorter side to 109⁄96 of `size`, then the middle square.
    ///
    /// The longer side is rounded down (torchvision's `Resize`). Of an image more than four times
    /// as long as wide only the middle is scaled: the ends are cut away in any case, and memory
    /// stays bounded.
    pub(crate) fn evaluation((width, height): (u32, u32), size: u32) -> Self {
        let longest = width.min(height).saturating_mul(4);
        let part = CropBox::centred((width, height), (longest, longest));
        let shorter = evaluation_side(size);
        let longer = |long: u32, short: u32| {
            (u64::from(shorter) * u64::from(long) / u64::from(short)) as u32
        };
        let scaled = if part.width <= part.height {
            (shorter, longer(part.height, part.width))
        } else {
            (longer(part.width, part.height), shorter)
        };
        Self { part, scaled, window: CropBox::centred(scaled, (size, size)) }
    }

    /// What is kept of an image.
    pub(crate) fn of(&self, image: &RgbImage) -> RgbImage {
        let scaled = cut_and_scale(image, self.part, self.scaled);
        if self.window == CropBox::whole(self.scaled) {
            return scaled;
        }
        cut_and_scale(&scaled, self.window, (self.window.width, self.window.height))
    }
}

/// A part of an image scaled to `width` × `height`: bicubic (a = −½), widened when shrinking, as
/// Pillow's.
///
/// Pixels beyond the part have no influence. 8-bit fixed-point arithmetic that rounds and clamps
/// between columns and rows, as Pillow's does between rows and columns.
fn cut_and_scale(image: &RgbImage, part: CropBox, (width, height): (u32, u32)) -> RgbImage {
    let mut scaled = RgbImage::new(width, height);
    scale(&mut Resizer::new(), image, part, &mut scaled);
    scaled
}

/// Scales a part of an image to the size of another; where that is its own size, it is copied.
///
/// Through the resizer's typed entrance: the other one compiles every pixel format into this crate.
/// The part is a view of its own. The resizer's own `crop` would let pixels beyond it shine in.
fn scale(resizer: &mut Resizer, source: &RgbImage, part: CropBox, scaled: &mut RgbImage) {
    let (width, height) = source.dimensions();
    let source = TypedImageRef::<U8x3>::from_buffer(width, height, source.as_raw())
        .expect("an RGB image has three bytes per pixel");
    let CropBox { left, top, width, height } = part;
    let part = TypedCroppedImage::new(source, left, top, width, height)
        .expect("a part lies within its image");
    let (width, height) = scaled.dimensions();
    let mut scaled =
        TypedImage::<U8x3>::from_buffer(width, height, scaled.as_flat_samples_mut().samples)
            .expect("an RGB image has three bytes per pixel");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    resizer.resize_typed(&part, &mut scaled, &options).expect("no further crop is asked for");
}

/// Length of the shorter side before the centre is cut, in pixels: 109 for 96, 36 for 32.
fn evaluation_side(size: u32) -> u32 {
    (2 * size * 109 + 96) / (2 * 96)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Stream;
    use image::{Rgb, imageops};

    fn pattern(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 37 + y * 11) as u8, (x * x + 3 * y) as u8, (y * 53 + 7 * x * y) as u8])
        })
    }

    #[test]
    fn an_identity_crop_is_exact() {
        let image = pattern(32, 32);
        assert_eq!(cut_and_scale(&image, CropBox::whole((32, 32)), (32, 32)), image);
    }

    #[test]
    fn scaling_a_constant_gives_that_constant() {
        for value in [0, 1, 127, 254, 255] {
            let image = RgbImage::from_pixel(41, 23, Rgb([value, 255 - value, value / 2]));
            for size in [(7, 5), (32, 32), (96, 60)] {
                let scaled = cut_and_scale(&image, CropBox::whole((41, 23)), size);
                assert!(scaled.pixels().all(|p| *p == Rgb([value, 255 - value, value / 2])));
            }
        }
    }

    #[test]
    fn shrinking_is_antialiased() {
        // Alternate black and white columns have no detail that half the size could show.
        let image = RgbImage::from_fn(64, 64, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
        let scaled = cut_and_scale(&image, CropBox::whole((64, 64)), (32, 32));
        for (x, y, pixel) in scaled.enumerate_pixels().filter(|(x, _, _)| (2..30).contains(x)) {
            assert!((120..=135).contains(&pixel[0]), "{pixel:?} at {x}, {y}");
        }
    }

    #[test]
    fn pixels_beyond_the_part_have_no_influence() {
        let mut image = RgbImage::from_pixel(40, 40, Rgb([255, 0, 0]));
        let part = CropBox { left: 10, top: 12, width: 9, height: 7 };
        for y in part.top..part.top + part.height {
            for x in part.left..part.left + part.width {
                image.put_pixel(x, y, Rgb([9, 99, 199]));
            }
        }
        let scaled = cut_and_scale(&image, part, (32, 32));
        assert!(scaled.pixels().all(|p| *p == Rgb([9, 99, 199])));
    }

    #[test]
    fn a_part_is_scaled_as_if_it_had_been_cut_out() {
        let image = pattern(73, 51);
        for (left, top, width, height) in [(0, 0, 40, 51), (3, 7, 64, 44), (72, 50, 1, 1)] {
            let part = CropBox { left, top, width, height };
            let cut = imageops::crop_imm(&image, left, top, width, height).to_image();
            let expected = cut_and_scale(&cut, CropBox::whole((width, height)), (32, 19));
            assert_eq!(cut_and_scale(&image, part, (32, 19)), expected, "{part:?}");
        }
    }

    /// Vector instructions must not change a result: runs are compared between processors.
    #[test]
    fn scaling_is_the_same_without_vector_instructions() {
        let image = pattern(73, 51);
        for size in [(32, 32), (19, 96), (96, 96), (100, 7)] {
            let mut plain = RgbImage::new(size.0, size.1);
            let mut resizer = Resizer::new();
            // SAFETY: no extension at all is supported by every processor.
            unsafe { resizer.set_cpu_extensions(fast_image_resize::CpuExtensions::None) };
            scale(&mut resizer, &image, CropBox::whole((73, 51)), &mut plain);
            let ours = cut_and_scale(&image, CropBox::whole((73, 51)), size);
            assert_eq!(ours, plain, "{size:?}");
        }
    }

    #[test]
    fn random_crops_cover_the_ranges_and_stay_inside() {
        let stream = Stream::new(5, 1);
        let (width, height) = (500, 400);
        let (area, aspect) = ([0.08f32, 1.0f32], [0.75f32, 4.0f32 / 3.0]);
        let mut shares = Vec::new();
        let mut upright = 0;
        for index in 0..4000 {
            let crop = CropBox::random((width, height), area, aspect, &mut stream.at(index));
            assert!(crop.left + crop.width <= width && crop.top + crop.height <= height);
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            // One pixel of rounding on a side of at least 100.
            assert!((0.73..1.36).contains(&ratio), "{crop:?}");
            upright += u32::from(ratio < 1.0);
            shares.push(f64::from(crop.width * crop.height) / f64::from(width * height));
        }
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let most = shares.iter().copied().fold(0.0, f64::max);
        assert!((0.075..0.09).contains(&least) && (0.9..=1.0).contains(&most), "{least} {most}");
        // Large crops fit less often, so the mean is a little under the middle of the range, 0.54.
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        assert!((0.46..0.54).contains(&mean), "{mean}");
        // Log-uniform and symmetric about 1, but a wide image has less room for upright crops.
        assert!((1600..2100).contains(&upright), "{upright}");
    }

    #[test]
    fn where_no_crop_fits_the_largest_centred_one_is_taken() {
        let draw =
            |size, aspect| CropBox::random(size, [1.0, 1.0], aspect, &mut Stream::new(0, 0).at(0));
        assert_eq!(
            draw((1000, 10), [0.5, 2.0]),
            CropBox { left: 490, top: 0, width: 20, height: 10 }
        );
        assert_eq!(
            draw((10, 1000), [0.5, 2.0]),
            CropBox { left: 0, top: 490, width: 10, height: 20 }
        );
        assert_eq!(draw((1, 1), [3.0, 3.0]), CropBox::whole((1, 1)));
    }

    #[test]
    fn evaluation_takes_the_middle_of_the_scaled_image() {
        assert_eq!([32, 96, 224].map(evaluation_side), [36, 109, 254]);
        // A white square in the exact middle, of half the side, stays in the middle.
        let image = RgbImage::from_fn(218, 109, |x, y| {
            let inside = (82..136).contains(&x) && (27..82).contains(&y);
            Rgb([if inside { 255 } else { 0 }; 3])
        });
        let seen = Cut::evaluation(image.dimensions(), 96).of(&image);
        assert_eq!(seen.dimensions(), (96, 96));
        // No scaling: shorter side 109 already; offsets (218 − 96) / 2 = 61 and round(6.5) = 6.
        let expected = imageops::crop_imm(&image, 61, 6, 96, 96).to_image();
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_extremely_long_image_is_evaluated_in_bounded_memory() {
        for size in [(16_384, 1), (1, 16_384), (3, 16_384)] {
            let seen = Cut::evaluation(size, 96).of(&RgbImage::new(size.0, size.1));
            assert_eq!(seen.dimensions(), (96, 96));
        }
    }
}
