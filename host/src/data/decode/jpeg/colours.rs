//! Samples to RGB: small components are enlarged as libjpeg does by default ("fancy upsampling"),
//! then colours are converted with its 16 bits behind the point.

use image::RgbImage;

use super::coefficients::Plane;
use super::header::{Colour, Frame};
use super::samples;

/// The picture of all components.
pub(super) fn picture(frame: &Frame, planes: Vec<Plane>, colour: Colour) -> RgbImage {
    let most = frame.most();
    let components: Vec<Enlarged> = planes
        .into_iter()
        .zip(&frame.components)
        .map(|(plane, component)| Enlarged {
            samples: samples::samples(&plane),
            stride: 8 * plane.stride,
            size: plane.samples,
            factors: (most.0 / component.across, most.1 / component.down),
        })
        .collect();
    let mut image = RgbImage::new(frame.width as u32, frame.height as u32);
    let mut lines = vec![vec![0; frame.width]; components.len()];
    let mut sums = Vec::new();
    for (y, row) in image.as_mut().chunks_exact_mut(3 * frame.width).enumerate() {
        for (component, line) in components.iter().zip(&mut lines) {
            component.line(y, &mut sums, line);
        }
        match colour {
            Colour::Grey => each_pixel(row, &lines, |[grey]| [grey; 3]),
            Colour::Rgb => each_pixel(row, &lines, |rgb| rgb),
            Colour::YCbCr => each_pixel(row, &lines, rgb),
            Colour::Cmyk => each_pixel(row, &lines, |[c, m, y, black]| {
                [c, m, y].map(|colour| inked(colour, black))
            }),
            Colour::Ycck => each_pixel(row, &lines, |[y, cb, cr, black]| {
                rgb([y, cb, cr]).map(|colour| inked(255 - colour, black))
            }),
        }
    }
    image
}

/// Every pixel of a row from the values of its `N` components.
fn each_pixel<const N: usize>(
    row: &mut [u8],
    lines: &[Vec<u8>],
    colour: impl Fn([u8; N]) -> [u8; 3],
) {
    let lines: [&[u8]; N] = std::array::from_fn(|component| &lines[component][..row.len() / 3]);
    for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&colour(lines.map(|line| line[x])));
    }
}

/// A component, and how much it is to be enlarged.
struct Enlarged {
    samples: Vec<u8>,
    stride: usize,
    /// Samples that show something.
    size: (usize, usize),
    factors: (usize, usize),
}

impl Enlarged {
    fn row(&self, row: usize) -> &[u8] {
        &self.samples[row * self.stride..][..self.size.0]
    }

    /// A line of the picture: linear between samples where the factor is 2, else repeated.
    fn line(&self, y: usize, sums: &mut Vec<u16>, line: &mut [u8]) {
        let (factors @ (across, down), (width, height)) = (self.factors, self.size);
        let near = self.row(y / down);
        // Of two lines of a sample, the upper one leans to the sample above, the lower to that
        // below.
        let far = || {
            let row = if y.is_multiple_of(2) { (y / 2).saturating_sub(1) } else { y / 2 + 1 };
            self.row(row.min(height - 1))
        };
        match factors {
            (1, 1) => line.copy_from_slice(&near[..line.len()]),
            (2, 1) if width > 2 => {
                sums.clear();
                sums.extend(near.iter().map(|&sample| u16::from(sample)));
                between(sums, line, [1, 2], 2);
            }
            (1, 2) => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &near), &far) in line.iter_mut().zip(near).zip(far()) {
                    *out = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
                }
            }
            (2, 2) if width > 2 => {
                sums.clear();
                sums.extend(
                    near.iter()
                        .zip(far())
                        .map(|(&near, &far)| 3 * u16::from(near) + u16::from(far)),
                );
                between(sums, line, [8, 7], 4);
            }
            _ => {
                for (x, out) in line.iter_mut().enumerate() {
                    *out = near[x / across];
                }
            }
        }
    }
}

/// Two values for each sum: three parts of it and one of its left, then of its right neighbour.
fn between(sums: &[u16], line: &mut [u8], bias: [u16; 2], bits: u32) {
    let last = sums.len() - 1;
    let value = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> bits) as u8;
    line[0] = value(sums[0], sums[0], bias[0]);
    // From the right half of one sum to the left half of the next.
    for (pair, sums) in line[1..].chunks_exact_mut(2).zip(sums.windows(2)) {
        pair[0] = value(sums[0], sums[1], bias[1]);
        pair[1] = value(sums[1], sums[0], bias[0]);
    }
    if line.len().is_multiple_of(2) {
        let end = line.len() - 1;
        line[end] = value(sums[end / 2], sums[(end / 2 + 1).min(last)], bias[1]);
    }
}

/// BT.601 at full range, as JFIF has it.
fn rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    const fn fixed(value: f64) -> i32 {
        (value * 65_536.0 + 0.5) as i32
    }
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fixed(1.402) * cr + HALF) >> 16);
    let green = y + ((-fixed(0.344_14) * cb - fixed(0.714_14) * cr + HALF) >> 16);
    let blue = y + ((fixed(1.772) * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// A colour under black, both in Adobe's convention: 255 is no ink.
fn inked(colour: u8, black: u8) -> u8 {
    let product = u32::from(255 - colour) * u32::from(black) + 128;
    black - (((product >> 8) + product) >> 8) as u8
}
