//! A pretext loss as plain loops in f64, against which `verify` and the tests compare the tensors.

/// A loss of two views and its derivatives, split for Gauss-Newton at the same place as its
/// [`Loss`](crate::network::loss::Loss).
///
/// `outputs` are `rows` rows of equal length, view A before view B. `targets` are the target
/// network's outputs in the same order; without a target network they are empty.
pub trait Oracle {
    /// The variables of the convex part, in the order of the loss's inner map.
    fn inner(&self, outputs: &[f64], rows: usize) -> Vec<f64>;

    /// The convex part of those variables: the loss.
    fn outer(&self, inner: &[f64], rows: usize, targets: &[f64]) -> f64;

    /// The gradient of the loss with respect to the outputs.
    fn gradient(&self, outputs: &[f64], rows: usize, targets: &[f64]) -> Vec<f64>;

    /// tᵀ ∇²outer t at the variables for their tangents t; with t = J v this is Gauss-Newton's
    /// vᵀGv.
    fn quadratic_form(&self, inner: &[f64], tangents: &[f64], rows: usize) -> f64;
}

impl dyn Oracle + '_ {
    /// The loss of `outputs`.
    pub fn loss(&self, outputs: &[f64], rows: usize, targets: &[f64]) -> f64 {
        self.outer(&self.inner(outputs, rows), rows, targets)
    }
}

/// x · y.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// ‖x‖.
pub(crate) fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// x + a y.
pub(crate) fn add(x: &[f64], a: f64, y: &[f64]) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| x + a * y).collect()
}

/// a x.
pub(crate) fn scale(a: f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| a * x).collect()
}

/// 1/‖x‖, or 0 for zeros, which stay zeros when normalised.
fn inverse_norm(x: &[f64]) -> f64 {
    let norm = norm(x);
    if norm == 0.0 { 0.0 } else { 1.0 / norm }
}

/// x/‖x‖.
pub(super) fn unit(x: &[f64]) -> Vec<f64> {
    scale(inverse_norm(x), x)
}

/// x̄ of u = x/‖x‖ from ū.
pub(super) fn through_norm(x: &[f64], unit_bar: &[f64]) -> Vec<f64> {
    let unit = unit(x);
    scale(inverse_norm(x), &add(unit_bar, -dot(unit_bar, &unit), &unit))
}

/// The rows of a view minus their mean.
pub(super) fn centred(view: &[f64], width: usize) -> Vec<Vec<f64>> {
    let rows = view.len() / width;
    let sum = view.chunks(width).fold(vec![0.0; width], |sum, row| add(&sum, 1.0, row));
    let mean = scale(1.0 / rows as f64, &sum);
    view.chunks(width).map(|row| add(row, -1.0, &mean)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::pretext::{BarlowTwins, Byol, NtXent, Vicreg};

    /// Rows and features of the example.
    const ROWS: usize = 6;
    const FEATURES: usize = 3;

    fn methods() -> [Box<dyn Oracle>; 4] {
        [
            Box::new(NtXent { temperature: 0.4 }),
            Box::new(Byol { decay: 0.9, predictor: vec![3] }),
            Box::new(Vicreg {
                invariance: 25.0,
                variance: 20.0,
                covariance: 1.5,
                // Some features of the example vary more than this, some less.
                deviation: 0.75,
                epsilon: 1e-2,
            }),
            Box::new(BarlowTwins { off_diagonal: 0.3 }),
        ]
    }

    fn numbers(from: f64) -> Vec<f64> {
        (0..ROWS * FEATURES).map(|i| (from + 2.7 * i as f64).sin()).collect()
    }

    #[test]
    fn the_losses_have_the_gradients_that_they_say() {
        let (outputs, targets) = (numbers(1.0), numbers(5.0));
        let step = 1e-5;
        for (which, method) in methods().iter().enumerate() {
            let slope = |i: usize| {
                let moved = |step: f64| {
                    let mut outputs = outputs.clone();
                    outputs[i] += step;
                    method.loss(&outputs, ROWS, &targets)
                };
                (moved(step) - moved(-step)) / (2.0 * step)
            };
            let expected: Vec<f64> = (0..outputs.len()).map(slope).collect();
            let gradient = method.gradient(&outputs, ROWS, &targets);
            let error = norm(&add(&gradient, -1.0, &expected)) / norm(&expected);
            assert!(error < 1e-8, "method {which}: {error:e}");
        }
    }

    #[test]
    fn the_forms_are_the_second_derivatives_of_the_convex_parts() {
        // Along a straight line of variables the second difference of the outer part is the form.
        // Variables such as covariances are not free, but the outer part is defined on every line
        // through them.
        let (outputs, targets) = (numbers(1.0), numbers(5.0));
        for (which, method) in methods().iter().enumerate() {
            let inner = method.inner(&outputs, ROWS);
            let line: Vec<f64> = (0..inner.len()).map(|i| (0.3 + 1.9 * i as f64).cos()).collect();
            let step = 1e-4;
            let at = |factor: f64| method.outer(&add(&inner, factor * step, &line), ROWS, &targets);
            let expected = (at(1.0) - 2.0 * at(0.0) + at(-1.0)) / (step * step);
            let found = method.quadratic_form(&inner, &line, ROWS);
            let error = (found - expected).abs() / expected;
            assert!(error < 1e-5, "method {which}: {found}, expected {expected}");
        }
    }
}
