//! Colours in f32, one pixel per thread: the definitions of the host's `colour`, in the same order
//! of operations.

use cubecl::prelude::*;

use crate::data::packed::layout::{
    BLURRED, BRIGHTNESS, CHANGE_BITS, CHANGES, CHANGES_BEFORE, CONTRAST, FACTORS, FIELDS, FLAGS,
    GREY, HEAD, HUE, LEVELS, SOLARISE,
};
use crate::data::{DEVIATION, MEAN};

/// Threads that share the pixels of an image in [`mean_luma`].
pub(super) const MEAN_UNITS: u32 = 256;

/// Values of one pixel, in `[0, 1]`.
#[derive(CubeType, Clone, Copy)]
struct Pixel {
    red: f32,
    green: f32,
    blue: f32,
}

/// The mean luma of each image at the point where its contrast is changed: `[image]`.
///
/// Each cube takes one image. The order of the additions does not depend on the device.
#[cube(launch_unchecked)]
pub(super) fn mean_luma(
    cut: &Array<u32>,
    table: &Array<u32>,
    numbers: &Array<f32>,
    means: &mut Array<f32>,
    pixels: u32,
) {
    let image = CUBE_POS_X;
    let changes = table[HEAD + image as usize * FIELDS + CHANGES];
    let before = table[HEAD + image as usize * FIELDS + CHANGES_BEFORE];
    let mut sums = SharedMemory::<f32>::new(MEAN_UNITS as usize);
    let unit = UNIT_POS_X as usize;
    let mut sum = 0.0f32;
    // Without jitter the mean is not needed.
    let end = select(changes == 0, 0u32, pixels);
    for at in range_stepped(UNIT_POS_X, end, MEAN_UNITS) {
        let mut pixel = read(cut[(image * pixels + at) as usize], numbers);
        for step in 0..before {
            change(&mut pixel, code(changes, step), numbers[factor(image, step)], 0.0f32);
        }
        sum += luma(pixel);
    }
    sums[unit] = sum;
    sync_cube();
    let mut half = (MEAN_UNITS / 2).runtime();
    while half > 0 {
        if UNIT_POS_X < half {
            let other = sums[unit + half as usize];
            sums[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    if UNIT_POS_X == 0 {
        means[image as usize] = sums[0] / pixels as f32;
    }
}

/// Applies jitter and grey, and for an image without blur also solarisation and normalisation.
///
/// Writes to `out` from image number `first` on: `[image][row][column][channel]`. Each position in
/// y is one image.
#[cube(launch_unchecked)]
pub(super) fn colour(
    cut: &Array<u32>,
    table: &Array<u32>,
    numbers: &Array<f32>,
    means: &Array<f32>,
    out: &mut Array<f32>,
    first: u32,
    pixels: u32,
) {
    if ABSOLUTE_POS_X >= pixels {
        terminate!();
    }
    let image = CUBE_POS_Y;
    let changes = table[HEAD + image as usize * FIELDS + CHANGES];
    let flags = table[HEAD + image as usize * FIELDS + FLAGS];
    let mut pixel = read(cut[(image * pixels + ABSOLUTE_POS_X) as usize], numbers);
    for step in 0..4u32 {
        change(
            &mut pixel,
            code(changes, step),
            numbers[factor(image, step)],
            means[image as usize],
        );
    }
    if flags & GREY != 0 {
        let grey = luma(pixel);
        pixel.red = grey;
        pixel.green = grey;
        pixel.blue = grey;
    }
    if flags & BLURRED == 0 {
        pixel.red = finish(pixel.red, 0u32, flags);
        pixel.green = finish(pixel.green, 1u32, flags);
        pixel.blue = finish(pixel.blue, 2u32, flags);
    }
    let to = ((first + image) * pixels + ABSOLUTE_POS_X) as usize * 3;
    out[to] = pixel.red;
    out[to + 1] = pixel.green;
    out[to + 2] = pixel.blue;
}

/// Solarises a value, if that was drawn, and normalises it by its channel's mean and deviation.
#[cube]
pub(super) fn finish(value: f32, channel: u32, flags: u32) -> f32 {
    let inverted = flags & SOLARISE != 0 && value >= 128.0 / 255.0;
    let value = select(inverted, 1.0 - value, value);
    let mean = select(channel == 0, MEAN[0], select(channel == 1, MEAN[1], MEAN[2]));
    let deviation =
        select(channel == 0, DEVIATION[0], select(channel == 1, DEVIATION[1], DEVIATION[2]));
    (value - mean) / deviation
}

/// Converts bytes to values through a table. A division need not be exact on every device, and the
/// threshold of solarisation is compared with its result.
#[cube]
fn read(word: u32, numbers: &Array<f32>) -> Pixel {
    Pixel {
        red: numbers[LEVELS + (word & 255) as usize],
        green: numbers[LEVELS + ((word >> 8) & 255) as usize],
        blue: numbers[LEVELS + ((word >> 16) & 255) as usize],
    }
}

/// The jitter operation at a step.
#[cube]
fn code(changes: u32, step: u32) -> u32 {
    (changes >> (step * CHANGE_BITS)) & ((1 << CHANGE_BITS) - 1)
}

/// Index of the factor of a step.
#[cube]
fn factor(image: u32, step: u32) -> usize {
    FACTORS + (image * 4 + step) as usize
}

/// One jitter operation; `mean` is the image's luma before its contrast is changed.
#[cube]
fn change(pixel: &mut Pixel, code: u32, factor: f32, mean: f32) {
    if code == BRIGHTNESS {
        pixel.red = clamp(pixel.red * factor, 0.0f32, 1.0f32);
        pixel.green = clamp(pixel.green * factor, 0.0f32, 1.0f32);
        pixel.blue = clamp(pixel.blue * factor, 0.0f32, 1.0f32);
    } else if code == HUE {
        turn_hue(pixel, factor);
    } else if code != 0 {
        let towards = select(code == CONTRAST, mean, luma(*pixel));
        pixel.red = blend(pixel.red, towards, factor);
        pixel.green = blend(pixel.green, towards, factor);
        pixel.blue = blend(pixel.blue, towards, factor);
    }
}

#[cube]
fn blend(value: f32, towards: f32, factor: f32) -> f32 {
    clamp(factor * value + (1.0 - factor) * towards, 0.0f32, 1.0f32)
}

/// Luma of ITU-R BT.601.
#[cube]
fn luma(pixel: Pixel) -> f32 {
    0.299f32 * pixel.red + 0.587f32 * pixel.green + 0.114f32 * pixel.blue
}

/// Rotates the hue, by way of hue, saturation and value (Smith 1978).
#[cube]
fn turn_hue(pixel: &mut Pixel, shift: f32) {
    let (red, green, blue) = (pixel.red, pixel.green, pixel.blue);
    let most = max(max(red, green), blue);
    let least = min(min(red, green), blue);
    let range = most - least;
    let is_grey = range == 0.0;
    // Grey has no hue: it is divided by 1, and the quotients are not used.
    let range_or_one = select(is_grey, 1.0f32, range);
    let most_or_one = select(is_grey, 1.0f32, most);
    let (is_red, is_green) = (most == red, most == green);
    let difference = select(is_red, green - blue, select(is_green, blue - red, red - green));
    let offset = select(is_red, 0.0f32, select(is_green, 2.0f32, 4.0f32));
    let hue = turn((offset + difference / range_or_one) / 6.0);
    let saturation = select(is_grey, 0.0f32, range / most_or_one);
    let sixths = turn(select(is_grey, 0.0f32, hue) + shift) * 6.0;
    let sector = sixths.floor();
    let within = sixths - sector;
    let low = most * (1.0 - saturation);
    let falling = most * (1.0 - saturation * within);
    let rising = most * (1.0 - saturation * (1.0 - within));
    // A hue that rounded to a full turn is sector 6, the same as 0.
    let (one, two, three) = (sector == 1.0, sector == 2.0, sector == 3.0);
    let (four, five) = (sector == 4.0, sector == 5.0);
    let falls = select(four, rising, most);
    pixel.red = select(one, falling, select(two || three, low, falls));
    let declines = select(four || five, low, rising);
    pixel.green = select(one || two, most, select(three, falling, declines));
    let wanes = select(five, falling, low);
    pixel.blue = select(two, rising, select(three || four, most, wanes));
}

/// Wraps a hue in `[−1, 2)` turns to `[0, 1]`.
#[cube]
fn turn(hue: f32) -> f32 {
    hue + select(hue < 0.0, 1.0f32, select(hue >= 1.0, -1.0f32, 0.0f32))
}
