//! Eigenvalues of a small symmetric tridiagonal matrix.

/// Maximum number of QL steps per eigenvalue; two or three are usual.
const SWEEPS_MAX: usize = 100;

/// An eigenvalue, and the last element of its normalised eigenvector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Eigenpair {
    pub(super) value: f64,
    pub(super) last: f64,
}

/// All eigenvalues of the matrix with this diagonal and off-diagonal, in ascending order.
///
/// Implicit QL with Wilkinson's shift (Martin, Wilkinson 1968; Golub & Van Loan 2013, section 8.3),
/// in f64. Only the last row of the eigenvectors is computed. `beside` is one shorter than
/// `diagonal`; all numbers must be finite.
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn eigenpairs(diagonal: &[f64], beside: &[f64]) -> Vec<Eigenpair> {
    let n = diagonal.len();
    assert_eq!(
        beside.len() + 1,
        n,
        "the off-diagonal of a tridiagonal matrix is one element shorter than its diagonal"
    );
    let mut matrix = Tridiagonal {
        diagonal: diagonal.to_vec(),
        beside: beside.iter().copied().chain([0.0]).collect(),
        last_row: (0..n).map(|i| f64::from(u8::from(i + 1 == n))).collect(),
    };
    for first in 0..n {
        for _ in 0..SWEEPS_MAX {
            let end = matrix.block_end(first);
            if end == first {
                break;
            }
            matrix.sweep(first, end);
        }
    }
    let pairs = matrix.diagonal.into_iter().zip(matrix.last_row);
    let mut pairs: Vec<_> = pairs.map(|(value, last)| Eigenpair { value, last }).collect();
    pairs.sort_by(|a, b| a.value.total_cmp(&b.value));
    pairs
}

/// The matrix while it is being diagonalised.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// Element i couples indices i and i + 1; the last element is 0.
    beside: Vec<f64>,
    /// Last row of the product of all rotations.
    last_row: Vec<f64>,
}

impl Tridiagonal {
    /// The last index that is coupled to `first` through elements that are not negligible.
    fn block_end(&self, first: usize) -> usize {
        let negligible = |i: &usize| {
            let size = self.diagonal[*i].abs() + self.diagonal[i + 1].abs();
            self.beside[*i].abs() <= f64::EPSILON * size
        };
        let last = self.diagonal.len() - 1;
        (first..last).find(negligible).unwrap_or(last)
    }

    /// One implicit QL step on the block `first..=end`: rotations from the bottom chase a bulge
    /// upwards.
    fn sweep(&mut self, first: usize, end: usize) {
        let d = &mut self.diagonal;
        let e = &mut self.beside;
        // Wilkinson's shift: the eigenvalue of the leading 2 × 2 block that is closer to d[first].
        let half = (d[first + 1] - d[first]) / (2.0 * e[first]);
        let shift = d[first] - e[first] / (half + half.hypot(1.0).copysign(half));
        let (mut sin, mut cos, mut moved) = (1.0, 1.0, 0.0);
        let mut bulge = d[end] - shift;
        for i in (first..end).rev() {
            let (f, b) = (sin * e[i], cos * e[i]);
            let length = f.hypot(bulge);
            e[i + 1] = length;
            if length == 0.0 {
                // The matrix splits here; the next step handles the rest of the block.
                d[i + 1] -= moved;
                e[end] = 0.0;
                return;
            }
            (sin, cos) = (f / length, bulge / length);
            let rest = d[i + 1] - moved;
            let turned = (d[i] - rest) * sin + 2.0 * cos * b;
            moved = sin * turned;
            d[i + 1] = rest + moved;
            bulge = cos * turned - b;
            let (upper, lower) = (self.last_row[i], self.last_row[i + 1]);
            self.last_row[i + 1] = sin * upper + cos * lower;
            self.last_row[i] = cos * upper - sin * lower;
        }
        d[first] -= moved;
        e[first] = bulge;
        e[end] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn the_second_difference_has_its_known_spectrum() {
        // 2 − 2 cos(kπ/(n+1)), eigenvectors √(2/(n+1)) sin(ikπ/(n+1)).
        for n in [1, 2, 3, 17, 200] {
            let pairs = eigenpairs(&vec![2.0; n], &vec![-1.0; n - 1]);
            for (index, Eigenpair { value, last }) in pairs.into_iter().enumerate() {
                let angle = (index + 1) as f64 * PI / (n + 1) as f64;
                let expected = 2.0 - 2.0 * angle.cos();
                assert!((value - expected).abs() < 1e-13, "{n}: {value}, expected {expected}");
                let expected = (2.0 / (n + 1) as f64).sqrt() * (n as f64 * angle).sin();
                let close = (last.abs() - expected.abs()).abs() < 1e-12;
                assert!(close, "{n}: last element {last}, expected ± {expected}");
            }
        }
    }

    #[test]
    fn uncoupled_blocks_are_solved_apart() {
        let pairs = eigenpairs(&[3.0, 1.0, 1.0, -7.0], &[0.0, 1.0, 0.0]);
        let values: Vec<f64> = pairs.iter().map(|pair| pair.value).collect();
        for (found, expected) in values.iter().zip([-7.0, 0.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-15, "{values:?}");
        }
        assert_eq!(pairs[0].last.abs(), 1.0);
        assert_eq!(pairs[3].last, 0.0);
    }

    #[test]
    fn traces_are_kept_over_twenty_orders_of_magnitude() {
        let diagonal: Vec<f64> = (0..40).map(|i| 10f64.powi(i % 20 - 10)).collect();
        let beside: Vec<f64> = (0..39).map(|i| 10f64.powi(i % 13 - 8)).collect();
        let pairs = eigenpairs(&diagonal, &beside);
        let found: f64 = pairs.iter().map(|pair| pair.value).sum();
        let expected: f64 = diagonal.iter().sum();
        assert!((found - expected).abs() <= 1e-13 * expected, "{found}, expected {expected}");
        let squares: f64 = pairs.iter().map(|pair| pair.value.powi(2)).sum();
        let expected: f64 = diagonal.iter().map(|x| x * x).sum::<f64>()
            + 2.0 * beside.iter().map(|x| x * x).sum::<f64>();
        assert!((squares - expected).abs() <= 1e-12 * expected, "{squares}, expected {expected}");
        let row: f64 = pairs.iter().map(|pair| pair.last.powi(2)).sum();
        assert!((row - 1.0).abs() < 1e-13, "the last row has length {row}");
    }
}
