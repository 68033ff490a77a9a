//! Small dense linear algebra in f64: the reference, independent of everything under test.

use bissl_core::{Draws, Stream};

/// `xᵀy`.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "vectors of one space");
    x.iter().zip(y).map(|(a, b)| a * b).sum()
}

/// ‖x‖.
pub(crate) fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// `x + factor·y`.
pub(crate) fn add(x: &[f64], factor: f64, y: &[f64]) -> Vec<f64> {
    assert_eq!(x.len(), y.len(), "vectors of one space");
    x.iter().zip(y).map(|(a, b)| a + factor * b).collect()
}

/// `factor·x`.
pub(crate) fn scale(factor: f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|a| factor * a).collect()
}

/// ‖x − y‖ / ‖y‖, or ‖x‖ where y = 0.
pub(crate) fn distance(x: &[f64], y: &[f64]) -> f64 {
    let size = norm(y);
    norm(&add(x, -1.0, y)) / if size > 0.0 { size } else { 1.0 }
}

/// Repeatable draws for the kit; `domain` keeps the parts of one seed apart.
pub(crate) fn draws(seed: u64, domain: u16) -> Draws {
    Stream::new(seed, domain).at(0)
}

/// Standard normal entries.
pub(crate) fn gaussian(draws: &mut Draws, n: usize) -> Vec<f64> {
    (0..n).map(|_| f64::from(draws.normal())).collect()
}

/// A dense matrix, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    columns: usize,
    entries: Vec<f64>,
}

impl Matrix {
    /// Entry `(i, j)` is `entry(i, j)`.
    pub(crate) fn new(
        rows: usize,
        columns: usize,
        mut entry: impl FnMut(usize, usize) -> f64,
    ) -> Self {
        let entries = (0..rows * columns).map(|k| entry(k / columns, k % columns)).collect();
        Self { columns, entries }
    }

    pub(crate) fn rows(&self) -> usize {
        self.entries.len() / self.columns
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.columns + j]
    }

    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.entries[i * self.columns..(i + 1) * self.columns]
    }

    /// `A x`.
    pub(crate) fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.rows()).map(|i| dot(self.row(i), x)).collect()
    }

    /// `Aᵀ x`.
    pub(crate) fn transposed_times(&self, x: &[f64]) -> Vec<f64> {
        let mut result = vec![0.0; self.columns];
        for (i, factor) in x.iter().enumerate() {
            result = add(&result, *factor, self.row(i));
        }
        result
    }

    /// `AᵀA`.
    pub(crate) fn gram(&self) -> Self {
        Self::new(self.columns, self.columns, |i, j| {
            (0..self.rows()).map(|k| self.at(k, i) * self.at(k, j)).sum()
        })
    }

    /// `factor·A + shift·I`.
    pub(crate) fn scaled_and_shifted(&self, factor: f64, shift: f64) -> Self {
        Self::new(self.rows(), self.columns, |i, j| {
            factor * self.at(i, j) + if i == j { shift } else { 0.0 }
        })
    }

    /// `A^{-1} b` by Gaussian elimination with partial pivoting.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.rows();
        let mut a: Vec<Vec<f64>> = (0..n).map(|i| self.row(i).to_vec()).collect();
        let mut x = b.to_vec();
        for k in 0..n {
            let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
            a.swap(k, pivot);
            x.swap(k, pivot);
            assert!(a[k][k] != 0.0, "the reference needs a regular matrix");
            for i in k + 1..n {
                let factor = a[i][k] / a[k][k];
                let (above, below) = a.split_at_mut(i);
                for (target, source) in below[0][k..].iter_mut().zip(&above[k][k..]) {
                    *target -= factor * source;
                }
                x[i] -= factor * x[k];
            }
        }
        for k in (0..n).rev() {
            let known = dot(&a[k][k + 1..], &x[k + 1..]);
            x[k] = (x[k] - known) / a[k][k];
        }
        x
    }
}

/// `Q diag(values) Qᵀ`, Q a product of random reflections: eigenvalues and -vectors are known.
#[derive(Clone, Debug)]
pub(crate) struct Spectral {
    pub(crate) values: Vec<f64>,
    reflections: Vec<Vec<f64>>,
}

impl Spectral {
    /// Three reflections mix every coordinate with every other.
    pub(crate) fn new(values: Vec<f64>, draws: &mut Draws) -> Self {
        let reflections = (0..3)
            .map(|_| {
                let direction = gaussian(draws, values.len());
                scale(1.0 / norm(&direction), &direction)
            })
            .collect();
        Self { values, reflections }
    }

    /// From coordinates in the eigenbasis to the standard basis.
    pub(crate) fn in_standard_basis(&self, coordinates: &[f64]) -> Vec<f64> {
        self.reflections.iter().fold(coordinates.to_vec(), |x, v| add(&x, -2.0 * dot(v, &x), v))
    }

    /// From the standard basis to coordinates in the eigenbasis.
    pub(crate) fn in_eigenbasis(&self, x: &[f64]) -> Vec<f64> {
        self.reflections.iter().rev().fold(x.to_vec(), |x, v| add(&x, -2.0 * dot(v, &x), v))
    }

    /// `Q f(diag(values)) Qᵀ x`.
    pub(crate) fn apply(&self, x: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
        let coordinates = self.in_eigenbasis(x);
        let scaled: Vec<f64> =
            coordinates.iter().zip(&self.values).map(|(c, value)| c * f(*value)).collect();
        self.in_standard_basis(&scaled)
    }

    /// The matrix itself, symmetric to the last bit.
    pub(crate) fn matrix(&self) -> Matrix {
        let n = self.values.len();
        let columns: Vec<Vec<f64>> = (0..n)
            .map(|j| {
                let unit: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == j))).collect();
                self.apply(&unit, |value| value)
            })
            .collect();
        Matrix::new(n, n, |i, j| 0.5 * (columns[j][i] + columns[i][j]))
    }
}

#[test]
fn elimination_agrees_with_the_known_spectrum() {
    for seed in 0..5 {
        let mut draws = draws(seed, 1);
        let values: Vec<f64> = (0..30).map(|i| 0.5 + f64::from(i)).collect();
        let spectral = Spectral::new(values, &mut draws);
        let b = gaussian(&mut draws, 30);
        let by_elimination = spectral.matrix().solve(&b);
        let by_spectrum = spectral.apply(&b, |value| 1.0 / value);
        assert!(distance(&by_elimination, &by_spectrum) <= crate::precision::DENSE, "seed {seed}");
    }
}
