//! Gaussian blur of planar square images.

/// Kernel length in pixels for images of side `size`: about a tenth, odd, at least 3 (SimCLR's rule).
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
pub(crate) fn blur(image: &mut [f32], size: u32, kernel: &[f32]) {
    let size = size as usize;
    let half = kernel.len() / 2;
    assert!(half < size, "a kernel of {} pixels does not fit {size}", kernel.len());
    let mut padded = vec![0.0; size + 2 * half];
    for plane in image.chunks_exact_mut(size * size) {
        for row in 0..size {
            blur_line(plane, row * size, 1, kernel, &mut padded);
        }
        for column in 0..size {
            blur_line(plane, column, size, kernel, &mut padded);
        }
    }
}

/// One row or column in place; `padded` is scratch of the line's length and two half kernels.
fn blur_line(plane: &mut [f32], start: usize, stride: usize, kernel: &[f32], padded: &mut [f32]) {
    let half = kernel.len() / 2;
    let length = padded.len() - 2 * half;
    for (i, value) in padded.iter_mut().enumerate() {
        let position = i.abs_diff(half);
        let mirrored = if position < length { position } else { 2 * (length - 1) - position };
        *value = plane[start + mirrored * stride];
    }
    for (i, window) in padded.windows(kernel.len()).enumerate() {
        let sum = window.iter().zip(kernel).fold(0.0, |sum, (value, weight)| sum + value * weight);
        plane[start + i * stride] = sum;
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
}
