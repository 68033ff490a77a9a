//! What CG's iterates are by definition: minimisers over Krylov spaces, computed without CG.

use crate::matrix::{Matrix, add, dot, norm, scale};
use crate::systems::System;

/// The stationary points of `½ xᵀAx − bᵀx` over `span(b, Ab, …, A^{k-1} b)`, for k = 1, 2, …
///
/// From an orthonormal basis (Arnoldi, orthogonalised twice) and a dense solve of the projected
/// system; nothing of the recurrences of conjugate gradients. Ends before the space stops growing.
pub(crate) fn optima(system: &System, count: usize) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut products: Vec<Vec<f64>> = Vec::new();
    let mut optima = Vec::new();
    let mut next = system.b.clone();
    for _ in 0..count {
        let size = norm(&next);
        for _ in 0..2 {
            for direction in &basis {
                next = add(&next, -dot(direction, &next), direction);
            }
        }
        if norm(&next) <= 1e-7 * size {
            break;
        }
        let direction = scale(1.0 / norm(&next), &next);
        next = system.a.times(&direction);
        products.push(next.clone());
        basis.push(direction);
        let k = basis.len();
        let projected = Matrix::new(k, k, |i, j| dot(&basis[i], &products[j]));
        let coordinates =
            projected.solve(&basis.iter().map(|v| dot(v, &system.b)).collect::<Vec<_>>());
        let zero = vec![0.0; system.b.len()];
        optima.push(basis.iter().zip(coordinates).fold(zero, |x, (v, c)| add(&x, c, v)));
    }
    optima
}
