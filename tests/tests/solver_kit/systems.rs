//! The linear systems of the kit: one function a family, everything from a seed.

use crate::matrix::{Matrix, Spectral, draws, gaussian, scale};
use bissl_core::Draws;

/// Dimensions of most tests.
pub(crate) const DIMENSIONS: [usize; 8] = [2, 3, 4, 7, 13, 30, 64, 200];

/// `A x = b`.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) a: Matrix,
    pub(crate) b: Vec<f64>,
    /// Smallest and largest eigenvalue of A.
    pub(crate) spectrum: (f64, f64),
    /// Names family, seed and dimension in a failure.
    pub(crate) name: String,
}

impl System {
    pub(crate) fn of(name: &str, seed: u64, spectral: &Spectral, b: Vec<f64>) -> Self {
        let low = spectral.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = spectral.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let name = format!("{name}, seed {seed}, dimension {}", b.len());
        Self { a: spectral.matrix(), b, spectrum: (low, high), name }
    }

    /// b − A x.
    pub(crate) fn residual(&self, x: &[f64]) -> Vec<f64> {
        crate::matrix::add(&self.b, -1.0, &self.a.times(x))
    }
}

/// How many seeds a dimension gets: many small systems, few big ones.
pub(crate) fn seeds(dimension: usize) -> std::ops::Range<u64> {
    0..match dimension {
        0..=13 => 24,
        14..=30 => 6,
        31..=64 => 2,
        _ => 1,
    }
}

fn with_spectrum(name: &str, seed: u64, values: Vec<f64>, draws: &mut Draws) -> System {
    let b = gaussian(draws, values.len());
    let spectral = Spectral::new(values, draws);
    System::of(name, seed, &spectral, b)
}

/// Log-uniform in `[low, high)`.
fn spread(draws: &mut Draws, low: f64, high: f64) -> f64 {
    low * (high / low).powf(f64::from(draws.uniform()))
}

/// Symmetric positive definite, condition at most 30.
pub(crate) fn positive_definite(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 10);
    let values = (0..n).map(|_| spread(&mut draws, 0.5, 15.0)).collect();
    with_spectrum("positive definite", seed, values, &mut draws)
}

/// `I + H/(λ+δ)` at the published damping: H up to a hundredth of it.
pub(crate) fn near_identity(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 11);
    let values = (0..n).map(|_| 1.0 + 0.01 * f64::from(draws.uniform())).collect();
    with_spectrum("near identity", seed, values, &mut draws)
}

/// `distinct` different eigenvalues, each many times.
pub(crate) fn repeated(seed: u64, n: usize, distinct: usize) -> System {
    let mut draws = draws(seed, 12);
    let values = (0..n).map(|i| 1.0 + 3.0 * (i % distinct) as f64).collect();
    with_spectrum("repeated eigenvalues", seed, values, &mut draws)
}

/// Positive semi-definite with a third of the eigenvalues 0; b in the range of A.
pub(crate) fn singular(seed: u64, n: usize) -> System {
    let mut system = singular_outside(seed, n);
    system.b = system.a.times(&system.b);
    system
}

/// The same, with a part of b that no x can reach.
pub(crate) fn singular_outside(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 13);
    let values =
        (0..n).map(|i| if i % 3 == 1 { 0.0 } else { spread(&mut draws, 0.5, 5.0) }).collect();
    with_spectrum("singular", seed, values, &mut draws)
}

/// Half of the eigenvalues negative.
pub(crate) fn indefinite(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 14);
    let values = (0..n)
        .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } * spread(&mut draws, 0.5, 5.0))
        .collect();
    with_spectrum("indefinite", seed, values, &mut draws)
}

/// Two blocks of different scale that are coupled: what a block-wise step length gets wrong.
pub(crate) fn block_coupled(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 15);
    let values = (0..n).map(|_| spread(&mut draws, 0.1, 1.0)).collect();
    let mixed = Spectral::new(values, &mut draws).matrix();
    let weight = |i: usize| if i < n / 2 { 1.0 } else { 3.0 };
    let a = Matrix::new(n, n, |i, j| {
        weight(i) * mixed.at(i, j) * weight(j) + if i == j { 1.0 } else { 0.0 }
    });
    let b = gaussian(&mut draws, n);
    System {
        a,
        b,
        spectrum: (1.0, 10.0),
        name: format!("block coupled, seed {seed}, dimension {n}"),
    }
}

/// `a x = b` in one dimension.
pub(crate) fn scalar(a: f64, b: f64) -> System {
    System {
        a: Matrix::new(1, 1, |_, _| a),
        b: vec![b],
        spectrum: (a, a),
        name: format!("scalar {a} x = {b}"),
    }
}

/// Every definite family at one seed and dimension.
pub(crate) fn definite(seed: u64, n: usize) -> Vec<System> {
    let mut tiny = positive_definite(seed, n);
    tiny.b = scale(1e-9, &tiny.b);
    tiny.name += ", b of 1e-9";
    let mut huge = positive_definite(seed + 1000, n);
    huge.b = scale(1e12, &huge.b);
    huge.name += ", b of 1e12";
    vec![
        positive_definite(seed, n),
        near_identity(seed, n),
        repeated(seed, n, n.min(3)),
        block_coupled(seed, n),
        tiny,
        huge,
    ]
}

/// A with eigenvalues near 20, so that ‖x‖ is far from ‖b‖.
pub(crate) fn scaled_solution(seed: u64, n: usize) -> System {
    let mut draws = draws(seed, 16);
    let values = (0..n).map(|_| spread(&mut draws, 10.0, 40.0)).collect();
    with_spectrum("eigenvalues near 20", seed, values, &mut draws)
}
