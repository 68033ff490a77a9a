//! Crops and scales bytes: rows first, then columns, each rounded to bytes as on the host.
//!
//! Everything is an integer, so the result is the host's, bit for bit.

use cubecl::prelude::*;

use crate::data::packed::layout::{
    BETWEEN, COLUMN_PRECISION, COLUMN_TAPS, FIELDS, HEAD, PITCH, PIXELS, ROW_PRECISION, ROW_TAPS,
    TAP_FIELDS, WORDS,
};

/// Makes the rows of a view: `[image][row][word]`, with four bytes per word, for the words that the
/// crop touches.
///
/// The bytes of a row do not mix, so each thread takes a word: neighbours read neighbours. Each
/// position in z is one image; `size` rows are in y.
#[cube(launch_unchecked)]
pub(super) fn scale_rows(
    pixels: &Array<u32>,
    table: &Array<u32>,
    between: &mut Array<u32>,
    size: u32,
) {
    let image = HEAD + CUBE_POS_Z as usize * FIELDS;
    let (row, word) = (ABSOLUTE_POS_Y, ABSOLUTE_POS_X);
    let words = table[image + WORDS];
    if row >= size || word >= words {
        terminate!();
    }
    let taps = table[image + ROW_TAPS] as usize + row as usize * TAP_FIELDS;
    let precision = table[image + ROW_PRECISION];
    let pitch = table[image + PITCH];
    let mut at = table[image + PIXELS] + table[taps] * pitch + word;
    let count = table[taps + 1];
    let weights = table[taps + 2];
    let half = (1u32 << (precision - 1)) as i32;
    let mut first = half;
    let mut second = half;
    let mut third = half;
    let mut fourth = half;
    for tap in 0..count {
        let weight = table[(weights + tap) as usize] as i32;
        let four = pixels[at as usize];
        first += (four & 255) as i32 * weight;
        second += ((four >> 8) & 255) as i32 * weight;
        third += ((four >> 16) & 255) as i32 * weight;
        fourth += (four >> 24) as i32 * weight;
        at += pitch;
    }
    let to = table[image + BETWEEN] + row * words + word;
    between[to as usize] = byte(first, precision)
        | (byte(second, precision) << 8)
        | (byte(third, precision) << 16)
        | (byte(fourth, precision) << 24);
}

/// Makes the pixels of a view: `[image][row][column]`, one word each, red in the lowest byte.
///
/// Each position in y is one image.
#[cube(launch_unchecked)]
pub(super) fn scale_columns(
    between: &Array<u32>,
    table: &Array<u32>,
    cut: &mut Array<u32>,
    size: u32,
) {
    let pixel = ABSOLUTE_POS_X;
    if pixel >= size * size {
        terminate!();
    }
    let image = HEAD + CUBE_POS_Y as usize * FIELDS;
    let (row, column) = (pixel / size, pixel % size);
    let taps = table[image + COLUMN_TAPS] as usize + column as usize * TAP_FIELDS;
    let precision = table[image + COLUMN_PRECISION];
    let begin = table[image + BETWEEN] + row * table[image + WORDS];
    // In bytes from the beginning of the row.
    let mut at = table[taps];
    let count = table[taps + 1];
    let weights = table[taps + 2];
    let half = (1u32 << (precision - 1)) as i32;
    let mut red = half;
    let mut green = half;
    let mut blue = half;
    for tap in 0..count {
        let weight = table[(weights + tap) as usize] as i32;
        let word = (begin + at / 4) as usize;
        let shift = at % 4 * 8;
        let mut three = between[word] >> shift;
        if shift > 8 {
            three |= between[word + 1] << (32 - shift);
        }
        red += (three & 255) as i32 * weight;
        green += ((three >> 8) & 255) as i32 * weight;
        blue += ((three >> 16) & 255) as i32 * weight;
        at += 3;
    }
    cut[(CUBE_POS_Y * size * size + pixel) as usize] =
        byte(red, precision) | (byte(green, precision) << 8) | (byte(blue, precision) << 16);
}

/// A fixed-point sum, to which a half was already added, as a byte.
#[cube]
fn byte(sum: i32, precision: u32) -> u32 {
    min(max(sum, 0i32) as u32 >> precision, 255u32)
}
