//! Colour operations on planar images: three planes (red, green, blue) of values in `[0, 1]`.
//!
//! Definitions are those of torchvision's functions on float tensors; results are clamped to `[0,
//! 1]`.

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
        from_hsv([turn(hue + shift), saturation, value])
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

/// The same place of the colour circle in `[0, 1]`, of a `hue` in `[−1, 2)` turns.
fn turn(hue: f32) -> f32 {
    hue + choose(hue < 0.0, 1.0, choose(hue >= 1.0, -1.0, 0.0))
}

/// One of two values that are both there: no branch, so that loops over pixels become vectors.
#[inline(always)]
fn choose(condition: bool, then: f32, otherwise: f32) -> f32 {
    if condition { then } else { otherwise }
}

#[inline(always)]
fn for_each_pixel(image: &mut [f32], mut operation: impl FnMut([f32; 3]) -> [f32; 3]) {
    let pixels = image.len() / 3;
    let (red, rest) = image.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = operation([*red, *green, *blue]);
    }
}

/// Hue in turns, saturation, value; hue is 0 where there is none (Smith 1978).
#[inline(always)]
fn to_hsv([red, green, blue]: [f32; 3]) -> [f32; 3] {
    let larger = |a: f32, b: f32| choose(a > b, a, b);
    let smaller = |a: f32, b: f32| choose(a < b, a, b);
    let (most, least) = (larger(larger(red, green), blue), smaller(smaller(red, green), blue));
    let range = most - least;
    // Grey has no hue: the quotients are 0 ÷ 0 and chosen by nobody.
    let (is_grey, is_red, is_green) = (range == 0.0, most == red, most == green);
    let difference = choose(is_red, green - blue, choose(is_green, blue - red, red - green));
    let sixths = choose(is_red, 0.0, choose(is_green, 2.0, 4.0)) + difference / range;
    [choose(is_grey, 0.0, turn(sixths / 6.0)), choose(is_grey, 0.0, range / most), most]
}

#[inline(always)]
fn from_hsv([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sixths = hue * 6.0;
    let above = |bound: f32| choose(sixths >= bound, 1.0, 0.0);
    // Rounded down, of 0 to 6.
    let sector = above(1.0) + above(2.0) + above(3.0) + above(4.0) + above(5.0) + above(6.0);
    let within = sixths - sector;
    let low = value * (1.0 - saturation);
    let falling = value * (1.0 - saturation * within);
    let rising = value * (1.0 - saturation * (1.0 - within));
    // A hue that rounded to a full turn is sector 6, the same as 0.
    let by_sector = |values: [f32; 6]| {
        let [zero, one, two, three, four, five] = values;
        let upper = choose(sector == 4.0, four, choose(sector == 5.0, five, zero));
        let middle = choose(sector == 2.0, two, choose(sector == 3.0, three, upper));
        choose(sector == 1.0, one, middle)
    };
    [
        by_sector([value, falling, low, low, rising, value]),
        by_sector([rising, value, value, falling, low, low]),
        by_sector([low, low, rising, value, value, falling]),
    ]
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

    /// Hue, saturation and value by cases, as textbooks have it: what the choices must give bit for
    /// bit.
    #[test]
    fn turning_the_hue_is_the_definition_by_cases() {
        let by_cases = |[red, green, blue]: [f32; 3], shift: f32| {
            let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
            let range = most - least;
            let fraction = |value: f32| value - value.floor();
            let (hue, saturation) = if range == 0.0 {
                (0.0, 0.0)
            } else if most == red {
                (fraction((green - blue) / range / 6.0), range / most)
            } else if most == green {
                (fraction((2.0 + (blue - red) / range) / 6.0), range / most)
            } else {
                (fraction((4.0 + (red - green) / range) / 6.0), range / most)
            };
            let sixths = fraction(hue + shift) * 6.0;
            let within = sixths - sixths.floor();
            let low = most * (1.0 - saturation);
            let falling = most * (1.0 - saturation * within);
            let rising = most * (1.0 - saturation * (1.0 - within));
            match sixths.floor() as u32 % 6 {
                0 => [most, rising, low],
                1 => [falling, most, low],
                2 => [low, most, rising],
                3 => [low, falling, most],
                4 => [rising, low, most],
                _ => [most, low, falling],
            }
        };
        let mut draws = Stream::new(4, 0).at(0);
        // Few levels, so that equal channels and the ends of the range are met.
        let mut level = |levels: u32| draws.below(levels) as f32 / (levels - 1) as f32;
        for round in 0..20_000 {
            let levels = [3, 9, 256, 65_536][round % 4];
            let pixel = [level(levels), level(levels), level(levels)];
            let shift = level(101) - 0.5;
            let mut turned = pixel;
            hue(&mut turned, shift);
            assert_eq!(turned, by_cases(pixel, shift), "{pixel:?} by {shift}");
        }
    }
}
