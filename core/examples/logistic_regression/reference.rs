//! What the hypergradient is, in f64.

use crate::problem::Regression;
use crate::rows::Samples;

/// The hypergradient in f64 by elimination, with nothing of the code above but the data.
pub(crate) fn reference(problem: &Regression) -> Vec<f64> {
    let n = problem.theta.len();
    let theta: Vec<f64> = problem.theta.iter().map(|t| f64::from(*t)).collect();
    let wide = |samples: &Samples, i: usize| -> (Vec<f64>, f64, f64) {
        let row: Vec<f64> =
            samples.features[i * n..(i + 1) * n].iter().map(|x| f64::from(*x)).collect();
        let score = row.iter().zip(&theta).map(|(x, t)| x * t).sum();
        (row, score, f64::from(samples.labels[i]))
    };
    // [H | g], H row by row.
    let mut system = vec![vec![0.0; n + 1]; n];
    for (j, alpha) in problem.alpha.iter().enumerate() {
        system[j][j] = f64::from(*alpha).exp();
    }
    let count = problem.training.labels.len();
    for i in 0..count {
        let (row, score, _) = wide(&problem.training, i);
        let p = 1.0 / (1.0 + (-score).exp());
        for (equation, left) in system.iter_mut().zip(&row) {
            let factor = p * (1.0 - p) * left / count as f64;
            equation.iter_mut().zip(&row).for_each(|(entry, right)| *entry += factor * right);
        }
    }
    let count = problem.validation.labels.len();
    for i in 0..count {
        let (row, score, label) = wide(&problem.validation, i);
        let factor = -label / (1.0 + (label * score).exp()) / count as f64;
        system.iter_mut().zip(&row).for_each(|(equation, x)| equation[n] += factor * x);
    }
    eliminate(&mut system)
        .into_iter()
        .zip(problem.alpha.iter().zip(&theta))
        .map(|(x, (alpha, theta))| -f64::from(*alpha).exp() * theta * x)
        .collect()
}

/// Solves `[A | b]` for a symmetric positive definite A, which needs no pivots.
fn eliminate(system: &mut [Vec<f64>]) -> Vec<f64> {
    let n = system.len();
    for k in 0..n {
        let (above, below) = system.split_at_mut(k + 1);
        for row in below {
            let factor = row[k] / above[k][k];
            row[k..].iter_mut().zip(&above[k][k..]).for_each(|(x, y)| *x -= factor * y);
        }
    }
    let mut x = vec![0.0; n];
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| system[k][j] * x[j]).sum();
        x[k] = (system[k][n] - known) / system[k][k];
    }
    x
}

/// ‖found − exact‖ / ‖exact‖.
pub(crate) fn relative_error(found: &[f32], exact: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(exact).map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    (difference / exact.iter().map(|e| e * e).sum::<f64>()).sqrt()
}
