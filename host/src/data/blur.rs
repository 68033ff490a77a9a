//! Gaussian blur of planar square images.

/// Kernel length in pixels for images of side `size`: about a tenth, odd, at least 3 (SimCLR's
/// rule).
pub(crate) fn kernel_length(size: u32) -> u32 {
    (size / 10).max(3) | 1
}

/// A Gaussian of standard deviation `sigma` > 0 pixels, sampled at whole pixels, sum 1.
pub(crate) fn kernel(length: u32, sigma: f32) -> Vec<f32> {
    let middle = f64::from(length / 2);
    let sigma = f64::from(sigma);
    let weight = |i: u32| {
        let distance = (f64::from(i) - middle) / sigma;
        libm::exp(-0.5 * distance * distance)
    };
    let sum: f64 = (0..length).map(weight).sum();
    (0..length).map(|i| (weight(i) / sum) as f32).collect()
}

/// Convolves each `size` × `size` plane with the kernel along rows, then along columns.
///
/// Borders are mirrored without repeating the outermost pixel; half the kernel is less than `size`.
/// Every value is a sum over the kernel from its first weight to its last; the loops over pixels
/// are inside, so that a vector holds neighbours.
pub(crate) fn blur(image: &mut [f32], size: u32, kernel: &[f32]) {
    let size = size as usize;
    let half = kernel.len() / 2;
    assert!(half < size, "a kernel of {} pixels does not fit {size}", kernel.len());
    let mut row_padded = vec![0.0; size + 2 * half];
    let mut padded = vec![0.0; (size + 2 * half) * size];
    for plane in image.chunks_exact_mut(size * size) {
        // Rows go into the middle of the padded plane, whose borders then mirror them.
        for (row, out) in plane.chunks_exact(size).zip(padded[half * size..].chunks_exact_mut(size))
        {
            row_padded[half..half + size].copy_from_slice(row);
            for i in 0..half {
                row_padded[i] = row[half - i];
                row_padded[half + size + i] = row[size - 2 - i];
            }
            out.fill(0.0);
            for (&weight, values) in kernel.iter().zip(row_padded.windows(size)) {
                add_weighted(out, weight, values);
            }
        }
        for i in 0..half {
            let (above, below) = (2 * half - i, half + size - 2 - i);
            padded.copy_within(above * size..(above + 1) * size, i * size);
            padded.copy_within(below * size..(below + 1) * size, (half + size + i) * size);
        }
        for (y, out) in plane.chunks_exact_mut(size).enumerate() {
            out.fill(0.0);
            for (&weight, row) in kernel.iter().zip(padded[y * size..].chunks_exact(size)) {
                add_weighted(out, weight, row);
            }
        }
    }
}

fn add_weighted(sum: &mut [f32], weight: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lengths_are_simclrs() {
        assert_eq!([8, 32, 64, 96, 224].map(kernel_length), [3, 3, 7, 9, 23]);
    }

    #[test]
    fn kernels_sum_to_one_and_are_symmetric() {
        for length in [3, 9, 23] {
            for sigma in [0.1, 0.5, 1.0, 2.0, 30.0] {
                let kernel = kernel(length, sigma);
                assert!((kernel.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                assert!(kernel.iter().eq(kernel.iter().rev()));
            }
        }
        // e^(−1/2) and 1, over their sum.
        let expected = [0.274_068_62, 0.451_862_76, 0.274_068_62];
        for (weight, expected) in kernel(3, 1.0).iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn a_constant_stays_and_a_point_becomes_the_kernels_product() {
        let size = 12;
        let kernel = kernel(5, 1.3);
        let mut constant = vec![0.7; 3 * 144];
        blur(&mut constant, size, &kernel);
        assert!(constant.iter().all(|v| (v - 0.7).abs() < 1e-6));

        let mut point = vec![0.0; 3 * 144];
        point[144 + 6 * 12 + 5] = 1.0;
        blur(&mut point, size, &kernel);
        for y in 0..12usize {
            for x in 0..12usize {
                let weight = |i: usize, centre: usize| {
                    (i + 2).checked_sub(centre).and_then(|i| kernel.get(i)).copied().unwrap_or(0.0)
                };
                let expected = weight(y, 6) * weight(x, 5);
                assert!((point[144 + y * 12 + x] - expected).abs() < 1e-7, "{x} {y}");
            }
        }
        assert!(point[..144].iter().chain(&point[288..]).all(|&v| v == 0.0));
    }

    #[test]
    fn borders_are_mirrored() {
        // Columns 1, 0, 0, … : the mirror image of a kernel of 3 puts column 1 left of column 0.
        let mut image: Vec<f32> = (0..3 * 16).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let kernel = [0.25, 0.5, 0.25];
        blur(&mut image, 4, &kernel);
        assert_eq!(image[..4], [0.5, 0.25, 0.0, 0.0]);
        let mut image: Vec<f32> = (0..3 * 16).map(|i| if i % 4 == 1 { 1.0 } else { 0.0 }).collect();
        blur(&mut image, 4, &kernel);
        assert_eq!(image[..4], [0.5, 0.5, 0.25, 0.0]);
    }

    /// The definition, pixel by pixel: what the loops must give bit for bit.
    #[test]
    fn every_value_is_the_sum_over_its_mirrored_neighbours() {
        let mirrored = |position: usize, shift: usize, half: usize, size: usize| {
            let from = (position + shift).abs_diff(half);
            if from < size { from } else { 2 * (size - 1) - from }
        };
        for (size, length) in [(8usize, 3usize), (9, 9), (13, 23)] {
            let kernel = kernel(length as u32, 1.1);
            let mut draws = bissl_core::Stream::new(1, 1).at(size as u64);
            let image: Vec<f32> = (0..3 * size * size).map(|_| draws.uniform()).collect();
            let along = |image: &[f32], step: usize| -> Vec<f32> {
                (0..image.len())
                    .map(|i| {
                        let position = i / step % size;
                        kernel.iter().enumerate().fold(0.0, |sum, (shift, weight)| {
                            let from = mirrored(position, shift, length / 2, size);
                            sum + image[i - position * step + from * step] * weight
                        })
                    })
                    .collect()
            };
            let mut blurred = image.clone();
            blur(&mut blurred, size as u32, &kernel);
            assert_eq!(blurred, along(&along(&image, 1), size), "{size}, {length}");
        }
    }
}
