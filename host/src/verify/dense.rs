//! Small dense matrices in f64, with which the machines' results are compared.

pub(super) use crate::network::pretext::oracle::{add, dot, norm, scale};

/// A matrix in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    pub(super) fn new(rows: usize, columns: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows * columns).map(|at| f(at / columns, at % columns)).collect();
        Self { rows, columns, values }
    }

    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// M v.
    pub(super) fn times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.rows).map(|i| dot(self.row(i), v)).collect()
    }

    /// Mᵀ v.
    pub(super) fn transposed_times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.columns).map(|j| (0..self.rows).map(|i| self.at(i, j) * v[i]).sum()).collect()
    }

    /// MᵀM.
    pub(super) fn gram(&self) -> Self {
        let entry = |i, j| (0..self.rows).map(|k| self.at(k, i) * self.at(k, j)).sum();
        Self::new(self.columns, self.columns, entry)
    }

    /// a M + b I.
    pub(super) fn scaled_and_shifted(&self, a: f64, b: f64) -> Self {
        Self::new(self.rows, self.columns, |i, j| a * self.at(i, j) + if i == j { b } else { 0.0 })
    }

    /// M^{-1} b by elimination with row pivots. The matrices in this module are far from singular.
    pub(super) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.rows;
        let mut rows: Vec<Vec<f64>> =
            (0..n).map(|i| self.row(i).iter().copied().chain([b[i]]).collect()).collect();
        for k in 0..n {
            let largest = |i: &usize, j: &usize| rows[*i][k].abs().total_cmp(&rows[*j][k].abs());
            let pivot = (k..n).max_by(largest).expect("k < n");
            rows.swap(k, pivot);
            let (above, below) = rows.split_at_mut(k + 1);
            let leading = &above[k];
            for row in below {
                let factor = row[k] / leading[k];
                row.iter_mut().zip(leading).skip(k).for_each(|(x, y)| *x -= factor * y);
            }
        }
        let mut x = vec![0.0; n];
        for k in (0..n).rev() {
            let known: f64 = (k + 1..n).map(|j| rows[k][j] * x[j]).sum();
            x[k] = (rows[k][n] - known) / rows[k][k];
        }
        x
    }
}

/// Converts to f64, exactly.
pub(super) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// ‖found − expected‖/‖expected‖. It is 0 for two zeros and NaN if an input is.
pub(super) fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let distance = norm(&add(found, -1.0, expected));
    if distance == 0.0 { 0.0 } else { distance / norm(expected) }
}

/// Central differences of `f` along each coordinate of `x`.
pub(super) fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    // Truncation grows with h², rounding with 1/h. Both are near 1e-10 for the losses here, which
    // have order 1.
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let (mut above, mut below) = (x.to_vec(), x.to_vec());
            above[i] += step;
            below[i] -= step;
            (f(&above) - f(&below)) / (above[i] - below[i])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_with_a_zero_pivot_is_solved() {
        let matrix =
            Matrix::new(3, 3, |i, j| [[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [3.0, 0.0, 5.0]][i][j]);
        let x = [1.0, -2.0, 0.5];
        assert!(relative(&matrix.solve(&matrix.times(&x)), &x) < 1e-14);
    }
}
