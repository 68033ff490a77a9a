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

/// The samples of a component, in rows of `8 * plane.stride`.
pub(super) fn samples(plane: &Plane) -> Vec<u8> {
    let mut table = [0i32; 64];
    let stated = plane.quantisation.expect("a scan of the component was decoded");
    for (&place, stated) in ZIGZAG.iter().zip(stated) {
        table[usize::from(place)] = stated.into();
    }
    let width = 8 * plane.stride;
    let mut samples = vec![0; plane.coefficients.len() * 64];
    for (index, coefficients) in plane.coefficients.iter().enumerate() {
        let start = index / plane.stride * 8 * width + index % plane.stride * 8;
        block(coefficients, &table, &mut samples[start..], width);
    }
    samples
}

fn block(coefficients: &[i16; 64], table: &[i32; 64], out: &mut [u8], width: usize) {
    let mut between = [0i32; 64];
    for column in 0..8 {
        let value =
            |row: usize| i32::from(coefficients[8 * row + column]) * table[8 * row + column];
        let values = pass(std::array::from_fn(value));
        for (row, value) in values.into_iter().enumerate() {
            between[8 * row + column] = rounded(value, POINT - KEPT);
        }
    }
    for row in 0..8 {
        let values = pass(std::array::from_fn(|column| between[8 * row + column]));
        for (out, value) in out[row * width..][..8].iter_mut().zip(values) {
            *out = rounded(value, POINT + KEPT + 3).wrapping_add(128).clamp(0, 255) as u8;
        }
    }
}

fn rounded(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// Eight points, with a factor of √8 and [`POINT`] more bits. Damaged files may wrap around.
fn pass(input: [i32; 8]) -> [i32; 8] {
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
