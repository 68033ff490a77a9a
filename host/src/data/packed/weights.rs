//! Weights of one axis of a scaling: bicubic (a = −½), widened when shrinking, in fixed point.
//!
//! To the bit those of `fast_image_resize` 6, which scales on the host and keeps its weights to
//! itself.

use std::ops::Range;

/// Half the filter's width, in pixels of the coarser image.
const SUPPORT: f64 = 2.0;

/// Bits of the largest weight, without its sign.
const WEIGHT_BITS: u32 = 15;
/// Bits that a sum of bytes times weights has for the weights.
const PRECISION_MAX: u32 = 21;

/// How the pixels of one axis are made of those before scaling.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Axis {
    /// Binary digits of the weights after the point.
    pub(super) precision: u32,
    /// One for each pixel that is kept.
    pub(super) pixels: Vec<Taps>,
    /// Those of all pixels, one after the other.
    pub(super) weights: Vec<i16>,
}

/// What one pixel is a weighted sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taps {
    /// The first pixel before scaling.
    pub(super) first: u32,
    /// How many there are from there.
    pub(super) count: u32,
    /// Where their weights begin.
    pub(super) weights: u32,
}

impl Axis {
    /// `length` pixels scaled to `scaled`, of which `kept` are kept; both at least 1.
    ///
    /// An axis that keeps its length has one weight of 1 a pixel, which gives back the byte.
    pub(super) fn new(length: u32, scaled: u32, kept: Range<u32>) -> Self {
        let rows = rows(length, scaled);
        let most = rows.iter().flat_map(|row| &row.weights).copied().fold(0.0, f64::max);
        let precision = precision(most);
        let mut axis = Self { precision, ..Self::default() };
        for Row { first, weights } in &rows[kept.start as usize..kept.end as usize] {
            let (count, begin) = (weights.len() as u32, axis.weights.len() as u32);
            axis.pixels.push(Taps { first: *first, count, weights: begin });
            let digits = f64::from(1u32 << precision);
            axis.weights.extend(weights.iter().map(|weight| (weight * digits).round() as i16));
        }
        axis
    }

    /// The pixels before scaling that have any weight, and those between them.
    pub(super) fn read(&self) -> Range<u32> {
        let first = self.pixels.iter().map(|taps| taps.first).min();
        let end = self.pixels.iter().map(|taps| taps.first + taps.count).max();
        first.unwrap_or(0)..end.unwrap_or(0)
    }
}

/// Weights of one pixel, their sum 1.
struct Row {
    first: u32,
    weights: Vec<f64>,
}

fn rows(length: u32, scaled: u32) -> Vec<Row> {
    if length == scaled {
        return (0..length).map(|first| Row { first, weights: vec![1.0] }).collect();
    }
    let scale = f64::from(length) / f64::from(scaled);
    let widening = scale.max(1.0);
    let (radius, narrowing) = (SUPPORT * widening, 1.0 / widening);
    (0..scaled)
        .map(|pixel| {
            let centre = (f64::from(pixel) + 0.5) * scale;
            let mut first = (centre - radius).floor().max(0.0) as u32;
            let end = (centre + radius).ceil().min(f64::from(length)) as u32;
            let weight = |at: u32| bicubic((f64::from(at) - (centre - 0.5)) * narrowing);
            let mut weights: Vec<f64> = (first..end).map(weight).collect();
            let leading = weights.iter().take_while(|&&weight| weight == 0.0).count();
            weights.drain(..leading);
            first += leading as u32;
            // Zeros change no sum.
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            let trailing = weights.iter().rev().take_while(|&&weight| weight == 0.0).count();
            weights.truncate(weights.len() - trailing);
            Row { first, weights }
        })
        .collect()
}

/// Keys' cubic convolution, a = −½: 1 at 0, 0 at whole numbers and beyond 2.
fn bicubic(distance: f64) -> f64 {
    const A: f64 = -0.5;
    let x = distance.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// As many digits as let the largest weight stay below 2¹⁵.
fn precision(most: f64) -> u32 {
    let fits =
        |digits: u32| (most * f64::from(1u32 << digits)).round() < f64::from(1u32 << WEIGHT_BITS);
    (0..PRECISION_MAX).find(|&digits| !fits(digits + 1)).unwrap_or(PRECISION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_pixel_sum_to_one_and_fit() {
        for (length, scaled) in [(1, 32), (5, 7), (31, 32), (33, 32), (96, 32), (500, 96), (7, 8)] {
            let axis = Axis::new(length, scaled, 0..scaled);
            assert_eq!(axis.pixels.len(), scaled as usize);
            for &Taps { first, count, weights } in &axis.pixels {
                assert!(count > 0 && first + count <= length, "{length} to {scaled}");
                let weights = &axis.weights[weights as usize..][..count as usize];
                let sum: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
                // Each is rounded by a half at most.
                let one = 1 << axis.precision;
                assert!((sum - one).unsigned_abs() <= count.div_ceil(2), "{length} to {scaled}");
            }
        }
    }

    #[test]
    fn an_axis_that_keeps_its_length_keeps_its_bytes() {
        let axis = Axis::new(9, 9, 2..7);
        assert_eq!((axis.precision, axis.read()), (14, 2..7));
        assert_eq!(axis.weights, [1 << 14; 5]);
        assert!(axis.pixels.iter().all(|taps| taps.count == 1));
    }

    #[test]
    fn halving_weighs_as_the_filter_does() {
        // At 0.25, 0.75, 1.25 and 1.75 the filter is 222, 58, −18 and −6 of 256; two such pixels
        // make one.
        let axis = Axis::new(20, 10, 5..6);
        let Taps { first, count, weights } = axis.pixels[0];
        assert_eq!((first, count, weights, axis.precision), (7, 8, 0, 16));
        // In 2¹⁶ they are 256 times as much as halves of 256.
        assert_eq!(
            axis.weights,
            [-3, -9, 29, 111, 111, 29, -9, -3].map(|weight: i16| weight * 256)
        );
    }
}
