//! Eigenvalues of small symmetric matrices.

use crate::support::norm;

/// Sweeps that cyclic Jacobi gets; it converges quadratically, after about ten at this size.
const SWEEPS_MAX: usize = 40;

/// A dense matrix as rows.
pub(crate) type Rows = Vec<Vec<f64>>;

/// The matrix of a linear map of `n` variables: column j is `apply(e_j)`.
pub(crate) fn dense(n: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> Rows {
    let columns: Vec<Vec<f64>> = (0..n)
        .map(|j| {
            let unit: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i == j))).collect();
            apply(&unit)
        })
        .collect();
    (0..n).map(|i| columns.iter().map(|column| column[i]).collect()).collect()
}

/// Largest |a_ij − a_ji| over the largest |a_ij|.
pub(crate) fn asymmetry(a: &Rows) -> f64 {
    let (mut difference, mut top) = (0.0f64, 0.0f64);
    for (i, row) in a.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            difference = difference.max((value - a[j][i]).abs());
            top = top.max(value.abs());
        }
    }
    difference / top
}

/// All eigenvalues of the symmetric part, ascending, by cyclic Jacobi rotations (Golub & Van Loan
/// 2013, section 8.5).
pub(crate) fn eigenvalues(a: &Rows) -> Vec<f64> {
    let n = a.len();
    let mut a: Rows = (0..n).map(|i| (0..n).map(|j| 0.5 * (a[i][j] + a[j][i])).collect()).collect();
    let size = norm(&a.concat());
    for _ in 0..SWEEPS_MAX {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j].powi(2)).sum();
        if off.sqrt() <= 1e-15 * size {
            let mut diagonal: Vec<f64> = (0..n).map(|i| a[i][i]).collect();
            diagonal.sort_by(f64::total_cmp);
            return diagonal;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, p, q);
            }
        }
    }
    panic!("Jacobi did not converge in {SWEEPS_MAX} sweeps");
}

/// The rotation of rows and columns `p` and `q` that makes a_pq zero.
fn rotate(a: &mut Rows, p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let tau = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let cos = 1.0 / tangent.hypot(1.0);
    let sin = tangent * cos;
    for row in a.iter_mut() {
        let (left, right) = (row[p], row[q]);
        row[p] = cos * left - sin * right;
        row[q] = sin * left + cos * right;
    }
    let (head, tail) = a.split_at_mut(q);
    for (upper, lower) in head[p].iter_mut().zip(&mut tail[0]) {
        let (left, right) = (*upper, *lower);
        *upper = cos * left - sin * right;
        *lower = sin * left + cos * right;
    }
}

#[test]
fn eigenvalues_of_a_known_matrix_are_found() {
    // The second difference: 2 − 2 cos(kπ/(n+1)).
    let n = 12;
    let entry = |i: usize, j: usize| match i.abs_diff(j) {
        0 => 2.0,
        1 => -1.0,
        _ => 0.0,
    };
    let a: Rows = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
    for (k, found) in eigenvalues(&a).into_iter().enumerate() {
        let angle = (k + 1) as f64 * std::f64::consts::PI / (n + 1) as f64;
        assert!((found - (2.0 - 2.0 * angle.cos())).abs() < 1e-13, "eigenvalue {k}");
    }
}
