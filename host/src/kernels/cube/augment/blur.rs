//! Gaussian blur: along rows, then along columns. Each thread computes one value, so that
//! neighbours read neighbours.

use cubecl::prelude::*;

use super::colour::finish;
use crate::data::packed::layout::{BLUR_KERNELS, BLUR_LENGTH, BLUR_LIST, FIELDS, FLAGS, HEAD};

/// Blurs the rows of the listed images of `out` into `rows`: `[listed][row][column][channel]`.
///
/// Each position in y is one of the listed images.
#[cube(launch_unchecked)]
pub(super) fn blur_rows(
    out: &Array<f32>,
    table: &Array<u32>,
    numbers: &Array<f32>,
    rows: &mut Array<f32>,
    first: u32,
    size: u32,
) {
    let at = ABSOLUTE_POS_X;
    let values = 3 * size * size;
    if at >= values {
        terminate!();
    }
    let image = first + table[(table[BLUR_LIST] + CUBE_POS_Y) as usize];
    let (column, channel) = (at / 3 % size, at % 3);
    let row = image * values + at / (3 * size) * (3 * size) + channel;
    let length = table[BLUR_LENGTH];
    let kernel = table[BLUR_KERNELS] + CUBE_POS_Y * length;
    let mut sum = 0.0f32;
    for tap in 0..length {
        let from = row + 3 * mirrored(column + tap, length / 2, size);
        sum += out[from as usize] * numbers[(kernel + tap) as usize];
    }
    rows[(CUBE_POS_Y * values + at) as usize] = sum;
}

/// Blurs the columns of `rows` into the listed images of `out`, solarises them if that was drawn,
/// and normalises them.
///
/// Each position in y is one of the listed images.
#[cube(launch_unchecked)]
pub(super) fn blur_columns(
    rows: &Array<f32>,
    table: &Array<u32>,
    numbers: &Array<f32>,
    out: &mut Array<f32>,
    first: u32,
    size: u32,
) {
    let at = ABSOLUTE_POS_X;
    let values = 3 * size * size;
    if at >= values {
        terminate!();
    }
    let image = table[(table[BLUR_LIST] + CUBE_POS_Y) as usize];
    let row = at / (3 * size);
    let column = CUBE_POS_Y * values + at % (3 * size);
    let length = table[BLUR_LENGTH];
    let kernel = table[BLUR_KERNELS] + CUBE_POS_Y * length;
    let mut sum = 0.0f32;
    for tap in 0..length {
        let from = column + 3 * size * mirrored(row + tap, length / 2, size);
        sum += rows[from as usize] * numbers[(kernel + tap) as usize];
    }
    let flags = table[HEAD + image as usize * FIELDS + FLAGS];
    out[((first + image) * values + at) as usize] = finish(sum, at % 3, flags);
}

/// The index `half` before `place`, mirrored at both ends without repeating the outermost.
#[cube]
fn mirrored(place: u32, half: u32, size: u32) -> u32 {
    let inside = select(place < half, half - place, place - half);
    select(inside < size, inside, 2 * (size - 1) - inside)
}
