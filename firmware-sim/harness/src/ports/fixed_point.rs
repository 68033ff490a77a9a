//! Matrix products of short integers: block floating point.
//!
//! Each operand of a product gets one power of two as its unit, chosen by its largest magnitude,
//! and is rounded to integers of that unit. Products and sums are integers, so they are exact and
//! do not depend on the order: hardware that sums in another order, or in parallel, gets the same
//! bits. Each sum is converted to an f32 once and added to the destination.

use std::ops::RangeInclusive;

use bissl_firmware::{Kernels, Matrix, MatrixMut};

/// Bits of an operand, its sign included.
pub const BITS: RangeInclusive<u8> = 8..=16;

/// There are no operands with this number of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bits of an operand: found {found}, expected {} to {}", BITS.start(), BITS.end())]
pub struct BitsOutOfRange {
    /// The number that was asked for.
    pub found: u8,
}

/// Kernels whose matrix products take operands of 8 to 16 bits; everything else is f32.
///
/// A product of two operands has at most 30 bits, so a 64-bit sum has room for 2³³ of them, and no
/// dimension of a layer exceeds 2³². The two buffers grow to the longest operands and keep that
/// length: a device would have two arrays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPoint {
    bits: u8,
    left: Vec<i16>,
    right: Vec<i16>,
}

/// Bits of an f32's mantissa, with the hidden one.
const MANTISSA: i32 = 24;
/// The exponent of the unit in the last place: 2^−149 for the smallest normal f32 and all below it.
const LEAST: i32 = -149;
/// The bits of infinity; those of NaN are larger, those of finite magnitudes smaller.
const INFINITE: u32 = 0x7f80_0000;

impl FixedPoint {
    /// Kernels with operands of `bits` bits, from 8 to 16.
    ///
    /// # Errors
    /// Any other number of bits.
    pub fn new(bits: u8) -> Result<Self, BitsOutOfRange> {
        if BITS.contains(&bits) {
            Ok(Self { bits, left: vec![], right: vec![] })
        } else {
            Err(BitsOutOfRange { found: bits })
        }
    }

    /// Bits of an operand.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Loads both operands as integers; returns the exponent of the product of their units. `None`
    /// if a number is not finite.
    fn load(&mut self, left: &Matrix<'_, f32>, right: &Matrix<'_, f32>) -> Option<i32> {
        let left = quantise(left, self.bits, &mut self.left)?;
        let right = quantise(right, self.bits, &mut self.right)?;
        Some(left + right)
    }
}

/// Mantissa and exponent of a finite magnitude `mantissa · 2^exponent`, given by its bits.
fn parts(magnitude: u32) -> (u32, i32) {
    match magnitude >> (MANTISSA - 1) {
        0 => (magnitude, LEAST),
        // `field` is the stored exponent; the mantissa is 1.…, and its first bit is not stored.
        field => {
            let hidden = 1 << (MANTISSA - 1);
            (magnitude & (hidden - 1) | hidden, LEAST + field as i32 - 1)
        }
    }
}

/// The rows of `matrix` as integers of `bits` bits; returns the exponent of their unit.
///
/// Values are rounded to the nearest, halves away from zero; what would round up to 2^(bits − 1)
/// becomes the integer below. `None` if a number is not finite.
fn quantise(matrix: &Matrix<'_, f32>, bits: u8, integers: &mut Vec<i16>) -> Option<i32> {
    let rows = || (0..matrix.rows()).map_while(|r| matrix.row(r));
    let magnitude = |value: &f32| value.to_bits() & !(1 << 31);
    let largest = rows().flatten().map(magnitude).max().unwrap_or(0);
    if largest >= INFINITE {
        return None;
    }
    let (_, exponent) = parts(largest);
    let unit = exponent + MANTISSA - (i32::from(bits) - 1);
    let most = (1u32 << (bits - 1)) - 1;
    integers.clear();
    integers.extend(rows().flatten().map(|value| {
        let (mantissa, exponent) = parts(magnitude(value));
        // At least 9, since no exponent exceeds the largest one's.
        let shift = (unit - exponent) as u32;
        // With a larger shift, less than half a unit is left.
        let rounded = if shift > 30 { 0 } else { (mantissa + (1 << (shift - 1))) >> shift };
        let integer = rounded.min(most) as i16;
        if value.is_sign_negative() { -integer } else { integer }
    }));
    Some(unit)
}

/// `2^exponent`; the exponents of units are well within the range of f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// `sum · 2^exponent`, rounded once: sums have fewer than 53 bits.
fn scaled(sum: i64, exponent: i32) -> f32 {
    (sum as f64 * power_of_two(exponent)) as f32
}

fn product(a: i16, b: i16) -> i64 {
    i64::from(i32::from(a) * i32::from(b))
}

/// Sets everything to NaN: a fault must stay visible in the loss, and integers have no NaN.
fn spoil(mut y: MatrixMut<'_, f32>) {
    for r in 0..y.rows() {
        y.row(r).into_iter().flatten().for_each(|y| *y = f32::NAN);
    }
}

/// Length of a row of integers, to split them by; a matrix without columns has no integers.
fn width(columns: usize) -> usize {
    columns.max(1)
}

impl Kernels<f32> for FixedPoint {
    fn multiply_transposed(
        &mut self,
        x: Matrix<'_, f32>,
        w: Matrix<'_, f32>,
        mut y: MatrixMut<'_, f32>,
    ) {
        let Some(exponent) = self.load(&x, &w) else { return spoil(y) };
        let (x_width, w_width) = (width(x.columns()), width(w.columns()));
        for (r, x) in self.left.chunks_exact(x_width).enumerate() {
            let Some(y) = y.row(r) else { return };
            for (y, w) in y.iter_mut().zip(self.right.chunks_exact(w_width)) {
                let sum = x.iter().zip(w).map(|(x, w)| product(*x, *w)).sum();
                *y += scaled(sum, exponent);
            }
        }
    }

    fn multiply(&mut self, y: Matrix<'_, f32>, w: Matrix<'_, f32>, mut x: MatrixMut<'_, f32>) {
        let Some(exponent) = self.load(&y, &w) else { return spoil(x) };
        let (y_width, w_width) = (width(y.columns()), width(w.columns()));
        for (r, y) in self.left.chunks_exact(y_width).enumerate() {
            let Some(x) = x.row(r) else { return };
            for (i, x) in x.iter_mut().enumerate() {
                let column = self.right.iter().skip(i).step_by(w_width);
                let sum = y.iter().zip(column).map(|(y, w)| product(*y, *w)).sum();
                *x += scaled(sum, exponent);
            }
        }
    }

    fn outer(&mut self, y: Matrix<'_, f32>, x: Matrix<'_, f32>, mut w: MatrixMut<'_, f32>) {
        let Some(exponent) = self.load(&y, &x) else { return spoil(w) };
        let (y_width, x_width) = (width(y.columns()), width(x.columns()));
        for o in 0..w.rows() {
            let Some(w) = w.row(o) else { return };
            for (i, w) in w.iter_mut().enumerate() {
                let left = self.left.iter().skip(o).step_by(y_width);
                let right = self.right.iter().skip(i).step_by(x_width);
                let sum = left.zip(right).map(|(y, x)| product(*y, *x)).sum();
                *w += scaled(sum, exponent);
            }
        }
    }
}
