//! Coefficients to samples: the inverse cosine transform, to the bit as libjpeg's accurate integer
//! one has it.
//!
//! Loeffler, Ligtenberg, Moschytz (1989), fig. 1, with 13 bits behind the point and 2 kept between
//! the passes.

use super::coefficients::Plane;
use super::header::ZIGZAG;

/// Bits behind the point of the constants, and of what the first pass leaves.
const POINT: u32 = 13;
const KEPT: u32 = 2;

/// A constant, rounded to [`POINT`] bits.
const fn fixed(value: f64) -> i32 {
    (value * (1 << POINT) as f64 + 0.5) as i32
}

/// Eight values that go through a pass side by side.
type Lanes = [i32; 8];

/// A quantisation table in the order of rows and columns.
pub(super) fn table(stated: &[u16; 64]) -> [i32; 64] {
    let mut table = [0; 64];
    for (&place, &stated) in ZIGZAG.iter().zip(stated) {
        table[usize::from(place)] = stated.into();
    }
    table
}

/// The samples of a component, in rows of `8 * plane.stride`.
pub(super) fn samples(plane: &Plane) -> Vec<u8> {
    let table = table(&plane.quantisation.expect("a scan of the component was decoded"));
    let width = 8 * plane.stride;
    let mut samples = vec![0; plane.coefficients.len() * 64];
    for (index, coefficients) in plane.coefficients.iter().enumerate() {
        let start = index / plane.stride * 8 * width + index % plane.stride * 8;
        block(coefficients, &table, &mut samples[start..], width);
    }
    samples
}

/// The samples of one block, to rows `width` apart.
pub(super) fn block(coefficients: &[i16; 64], table: &[i32; 64], out: &mut [u8], width: usize) {
    if coefficients[1..].iter().all(|&coefficient| coefficient == 0) {
        // What the passes make of a mean alone.
        let mean = (i32::from(coefficients[0]) * table[0]) << KEPT;
        let value = shown(rounded(mean, KEPT + 3));
        for row in out.chunks_mut(width).take(8) {
            row[..8].fill(value);
        }
        return;
    }
    let mut lanes = [[0; 8]; 8];
    for (row, lanes) in lanes.iter_mut().enumerate() {
        for (column, value) in lanes.iter_mut().enumerate() {
            let at = 8 * row + column;
            *value = i32::from(coefficients[at]).wrapping_mul(table[at]);
        }
    }
    let columns = pass(&lanes).map(|row| row.map(|value| rounded(value, POINT - KEPT)));
    let rows =
        pass(&transposed(&columns)).map(|column| column.map(|v| rounded(v, POINT + KEPT + 3)));
    let rows = transposed(&rows);
    for (row, out) in rows.iter().zip(out.chunks_mut(width)) {
        for (out, &value) in out[..8].iter_mut().zip(row) {
            *out = shown(value);
        }
    }
}

fn shown(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

fn rounded(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

fn transposed(rows: &[Lanes; 8]) -> [Lanes; 8] {
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
}

/// Eight points, eight times, with a factor of √8 and [`POINT`] more bits. Damaged files may wrap
/// around.
fn pass(input: &[Lanes; 8]) -> [Lanes; 8] {
    let mut output = [[0; 8]; 8];
    for lane in 0..8 {
        let values = points(std::array::from_fn(|at| input[at][lane]));
        for (output, value) in output.iter_mut().zip(values) {
            output[lane] = value;
        }
    }
    output
}

#[inline(always)]
fn points(input: [i32; 8]) -> [i32; 8] {
    let times = |value: i32, constant: f64| value.wrapping_mul(fixed(constant));
    let add = i32::wrapping_add;
    // The even half: a rotation by 3π/8 · √2.
    let turned = times(add(input[2], input[6]), 0.541_196_100);
    let low = turned.wrapping_sub(times(input[6], 1.847_759_065));
    let high = add(turned, times(input[2], 0.765_366_865));
    let sum = add(input[0], input[4]).wrapping_shl(POINT);
    let difference = input[0].wrapping_sub(input[4]).wrapping_shl(POINT);
    let even = [
        add(sum, high),
        add(difference, low),
        difference.wrapping_sub(low),
        sum.wrapping_sub(high),
    ];
    // The odd half.
    let [a, b, c, d] = [input[7], input[5], input[3], input[1]];
    let all = times(add(add(a, c), add(b, d)), 1.175_875_602);
    let outer = times(add(a, d), 0.899_976_223);
    let inner = times(add(b, c), 2.562_915_447);
    let left = all.wrapping_sub(times(add(a, c), 1.961_570_560));
    let right = all.wrapping_sub(times(add(b, d), 0.390_180_644));
    let odd = [
        add(times(d, 1.501_321_110).wrapping_sub(outer), right),
        add(times(c, 3.072_711_026).wrapping_sub(inner), left),
        add(times(b, 2.053_119_869).wrapping_sub(inner), right),
        add(times(a, 0.298_631_336).wrapping_sub(outer), left),
    ];
    std::array::from_fn(|at| match at {
        0..4 => add(even[at], odd[at]),
        _ => even[7 - at].wrapping_sub(odd[7 - at]),
    })
}
