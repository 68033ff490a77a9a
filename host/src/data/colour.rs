//! Colour operations on planar images: three planes (red, green, blue) of values in `[0, 1]`.
//!
//! Definitions are those of torchvision's functions on float tensors; results are clamped to `[0, 1]`.

/// Mean of the ImageNet training images per channel, red, green, blue, of values in `[0, 1]`.
pub(crate) const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of the ImageNet training images per channel.
pub(crate) const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Scales all values: 0 gives black, 1 the image.
pub(crate) fn brightness(image: &mut [f32], factor: f32) {
    for value in image {
        *value = (*value * factor).clamp(0.0, 1.0);
    }
}

/// Blends with the mean luma: 0 gives a constant image, 1 the image.
pub(crate) fn contrast(image: &mut [f32], factor: f32) {
    let mut sum = 0.0f64;
    for_each_pixel(image, |pixel| {
        sum += f64::from(luma(pixel));
        pixel
    });
    let mean = (sum / (image.len() / 3) as f64) as f32;
    for value in image {
        *value = blend(*value, mean, factor);
    }
}

/// Blends with the grey image: 0 gives grey, 1 the image.
pub(crate) fn saturation(image: &mut [f32], factor: f32) {
    for_each_pixel(image, |pixel| {
        let grey = luma(pixel);
        pixel.map(|value| blend(value, grey, factor))
    });
}

/// Turns the colour circle by `shift` in `[−0.5, 0.5]` turns; red goes to green at ⅓.
pub(crate) fn hue(image: &mut [f32], shift: f32) {
    for_each_pixel(image, |pixel| {
        let [hue, saturation, value] = to_hsv(pixel);
        from_hsv([fraction(hue + shift), saturation, value])
    });
}

/// Three equal channels of luma.
pub(crate) fn grey(image: &mut [f32]) {
    for_each_pixel(image, |pixel| [luma(pixel); 3]);
}

/// Inverts the values of at least 128 of 255.
pub(crate) fn solarise(image: &mut [f32]) {
    for value in image {
        if *value >= 128.0 / 255.0 {
            *value = 1.0 - *value;
        }
    }
}

/// Subtracts ImageNet's mean and divides by its deviation.
pub(crate) fn normalise(image: &mut [f32]) {
    let pixels = image.len() / 3;
    for ((plane, mean), deviation) in image.chunks_exact_mut(pixels).zip(MEAN).zip(DEVIATION) {
        for value in plane {
            *value = (*value - mean) / deviation;
        }
    }
}

/// Luma of ITU-R BT.601.
fn luma([red, green, blue]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

fn blend(value: f32, towards: f32, factor: f32) -> f32 {
    (factor * value + (1.0 - factor) * towards).clamp(0.0, 1.0)
}

/// Part after the point, in `[0, 1]`, of negative numbers too.
fn fraction(value: f32) -> f32 {
    value - libm::floorf(value)
}

fn for_each_pixel(image: &mut [f32], mut operation: impl FnMut([f32; 3]) -> [f32; 3]) {
    let pixels = image.len() / 3;
    let (red, rest) = image.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = operation([*red, *green, *blue]);
    }
}

/// Hue in turns, saturation, value; hue is 0 where there is none (Smith 1978).
fn to_hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let sixths = if most == red {
        (green - blue) / range
    } else if most == green {
        2.0 + (blue - red) / range
    } else {
        4.0 + (red - green) / range
    };
    [fraction(sixths / 6.0), range / most, most]
}

fn from_hsv([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sector = libm::floorf(hue * 6.0);
    let within = hue * 6.0 - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * within);
    let rising = value * (1.0 - saturation * (1.0 - within));
    // A hue that rounded to a full turn is sector 6, the same as 0.
    match sector as u32 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Stream;

    /// Rounding of a handful of f32 operations on values up to 1.
    const CLOSE: f32 = 1e-6;

    fn image() -> Vec<f32> {
        let mut draws = Stream::new(3, 0).at(0);
        (0..3 * 50).map(|_| draws.uniform()).collect()
    }

    fn after(operation: impl Fn(&mut [f32])) -> Vec<f32> {
        let mut image = image();
        operation(&mut image);
        image
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= CLOSE, "{a} {b}");
        }
    }

    #[test]
    fn factors_of_one_and_a_hue_shift_of_zero_or_a_turn_change_nothing() {
        assert_eq!(after(|i| brightness(i, 1.0)), image());
        assert_eq!(after(|i| contrast(i, 1.0)), image());
        assert_eq!(after(|i| saturation(i, 1.0)), image());
        assert_close(&after(|i| hue(i, 0.0)), &image());
        assert_close(&after(|i| (0..2).for_each(|_| hue(i, 0.5))), &image());
        assert_close(&after(|i| (0..10).for_each(|_| hue(i, -0.1))), &image());
    }

    #[test]
    fn factors_of_zero_give_black_flat_and_grey() {
        assert!(after(|i| brightness(i, 0.0)).iter().all(|&v| v == 0.0));
        let flat = after(|i| contrast(i, 0.0));
        assert!(flat.iter().all(|&v| v == flat[0]));
        assert_eq!(after(|i| saturation(i, 0.0)), after(grey));
    }

    #[test]
    fn strong_factors_are_clamped() {
        for changed in [after(|i| brightness(i, 5.0)), after(|i| contrast(i, 9.0))] {
            assert!(changed.iter().all(|v| (0.0..=1.0).contains(v)));
            assert!(changed.contains(&1.0));
        }
    }

    #[test]
    fn hue_turns_the_pure_colours_into_each_other() {
        let (third, sixth) = (1.0 / 3.0, 1.0 / 6.0);
        let cases = [
            ([1.0, 0.0, 0.0], third, [0.0, 1.0, 0.0]),
            ([1.0, 0.0, 0.0], -third, [0.0, 0.0, 1.0]),
            ([1.0, 0.0, 0.0], 0.5, [0.0, 1.0, 1.0]),
            ([1.0, 0.0, 0.0], sixth, [1.0, 1.0, 0.0]),
            ([0.0, 1.0, 0.0], third, [0.0, 0.0, 1.0]),
            ([0.0, 0.0, 1.0], third, [1.0, 0.0, 0.0]),
            ([0.25, 0.25, 0.25], 0.2, [0.25, 0.25, 0.25]),
            ([0.0, 0.0, 0.0], 0.2, [0.0, 0.0, 0.0]),
        ];
        for (mut colour, shift, expected) in cases {
            hue(&mut colour, shift);
            assert_close(&colour, &expected);
        }
    }

    #[test]
    fn grey_weighs_the_channels_by_bt_601() {
        let mut pixels = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        grey(&mut pixels);
        assert_eq!(pixels[..3], [0.299, 0.587, 0.114]);
        assert_eq!(pixels[..3], pixels[6..]);
    }

    #[test]
    fn solarising_inverts_from_128_on() {
        let mut levels: Vec<f32> = (0..=255).map(|level| level as f32 / 255.0).collect();
        solarise(&mut levels);
        for (level, value) in levels.iter().enumerate() {
            let expected = if level < 128 { level } else { 255 - level };
            assert!((value * 255.0 - expected as f32).abs() < 1e-4, "{level}");
        }
    }

    #[test]
    fn normalising_gives_the_known_numbers() {
        let mut pixel = [0.485, 0.456, 0.406];
        normalise(&mut pixel);
        assert_eq!(pixel, [0.0; 3]);
        let mut white = [1.0; 3];
        normalise(&mut white);
        // (1 − mean) / deviation by hand: 0.515/0.229, 0.544/0.224, 0.594/0.225.
        assert_close(&white, &[2.248_908_3, 2.428_571_4, 2.64]);
    }
}
