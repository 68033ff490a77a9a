//! The ends of a symmetric operator's spectrum by the Lanczos method. All basis vectors are kept.
//!
//! Lanczos (1950) with full reorthogonalisation, twice (Golub & Van Loan 2013, section 10.3): k
//! products give a tridiagonal matrix whose extreme eigenvalues approach those of the operator.
//! Without reorthogonalisation, copies of converged eigenvalues would appear.

use std::fmt;

use super::tridiagonal::{Eigenpair, eigenpairs};

/// A symmetric operator, and the arithmetic of its vectors.
pub(super) trait Symmetric {
    /// A vector of the operator's space.
    type Vector;

    /// Size of the rounding error in a vector that should vanish, relative to the operator's norm.
    fn rounding(&self) -> f64;

    /// The operator times `v`.
    fn product(&self, v: &Self::Vector) -> Self::Vector;

    /// `v · w` for every `v` of `basis`.
    fn dots(&self, basis: &[Self::Vector], w: &Self::Vector) -> Vec<f64>;

    /// `a v`.
    fn scaled(&self, a: f64, v: Self::Vector) -> Self::Vector;

    /// `y + a x`.
    fn plus(&self, y: Self::Vector, a: f64, x: &Self::Vector) -> Self::Vector;

    /// ‖v‖.
    fn norm(&self, v: &Self::Vector) -> f64;
}

/// A product or start vector with infinite or NaN elements, or a start vector of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NotFinite {
    /// Number of products before it.
    pub(super) products: usize,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "product {} of the operator is not finite", self.products + 1)
    }
}

impl std::error::Error for NotFinite {}

/// State after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The basis can grow further.
    Open,
    /// The basis spans everything that the start vector can reach, so the eigenvalues are exact.
    Complete,
}

/// An eigenvalue estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ritz {
    pub(super) value: f64,
    /// Upper bound of the distance between `value` and the nearest eigenvalue, up to the rounding
    /// of the products.
    pub(super) bound: f64,
}

/// A basis that grows by one product and one stored vector per step.
pub(super) struct Lanczos<V> {
    basis: Vec<V>,
    diagonal: Vec<f64>,
    /// Couplings between the basis vectors. The last one leads out of the basis.
    off_diagonal: Vec<f64>,
}

impl<V> Lanczos<V> {
    /// Starts from a nonzero vector.
    pub(super) fn new<O: Symmetric<Vector = V>>(operator: &O, start: V) -> Result<Self, NotFinite> {
        let norm = operator.norm(&start);
        if !norm.is_finite() || norm == 0.0 {
            return Err(NotFinite { products: 0 });
        }
        let first = operator.scaled(1.0 / norm, start);
        Ok(Self { basis: vec![first], diagonal: Vec::new(), off_diagonal: Vec::new() })
    }

    /// Makes one step, with one product.
    ///
    /// # Panics
    /// After [`Growth::Complete`].
    pub(super) fn step<O: Symmetric<Vector = V>>(
        &mut self,
        operator: &O,
    ) -> Result<Growth, NotFinite> {
        let products = self.diagonal.len();
        let last = self.basis.get(products).expect("a complete basis takes no step");
        let mut rest = operator.product(last);
        let mut along = 0.0;
        // What the first pass leaves along the basis is rounding, which the second takes away.
        for _ in 0..2 {
            let parts = operator.dots(&self.basis, &rest);
            along += parts[products];
            for (part, vector) in parts.iter().zip(&self.basis) {
                rest = operator.plus(rest, -part, vector);
            }
        }
        let norm = operator.norm(&rest);
        if !along.is_finite() || !norm.is_finite() {
            return Err(NotFinite { products });
        }
        self.diagonal.push(along);
        self.off_diagonal.push(norm);
        let size =
            self.diagonal.iter().chain(&self.off_diagonal).fold(0.0f64, |m, x| m.max(x.abs()));
        if norm <= operator.rounding() * size {
            return Ok(Growth::Complete);
        }
        self.basis.push(operator.scaled(1.0 / norm, rest));
        Ok(Growth::Open)
    }

    /// Estimates after the steps so far, one per step, in ascending order.
    pub(super) fn ritz(&self) -> Vec<Ritz> {
        let Some((out, inner)) = self.off_diagonal.split_last() else { return Vec::new() };
        eigenpairs(&self.diagonal, inner)
            .into_iter()
            .map(|Eigenpair { value, last }| Ritz { value, bound: (out * last).abs() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use bissl_core::Stream;

    use super::*;

    /// A reflected diagonal matrix (I − 2uuᵀ) D (I − 2uuᵀ) with ‖u‖ = 1: dense, with a known
    /// spectrum.
    struct Reflected {
        diagonal: Vec<f64>,
        u: Vec<f64>,
    }

    impl Reflected {
        fn new(diagonal: Vec<f64>) -> Self {
            let u = noise(diagonal.len(), 1);
            let norm = dot(&u, &u).sqrt();
            Self { diagonal, u: u.into_iter().map(|x| x / norm).collect() }
        }

        fn reflect(&self, v: &[f64]) -> Vec<f64> {
            let along = 2.0 * dot(&self.u, v);
            v.iter().zip(&self.u).map(|(v, u)| v - along * u).collect()
        }
    }

    impl Symmetric for Reflected {
        type Vector = Vec<f64>;

        fn rounding(&self) -> f64 {
            1e-13
        }

        fn product(&self, v: &Vec<f64>) -> Vec<f64> {
            let inner = self.reflect(v);
            let scaled: Vec<f64> = inner.iter().zip(&self.diagonal).map(|(x, d)| x * d).collect();
            self.reflect(&scaled)
        }

        fn dots(&self, basis: &[Vec<f64>], w: &Vec<f64>) -> Vec<f64> {
            basis.iter().map(|v| dot(v, w)).collect()
        }

        fn scaled(&self, a: f64, v: Vec<f64>) -> Vec<f64> {
            v.into_iter().map(|x| a * x).collect()
        }

        fn plus(&self, y: Vec<f64>, a: f64, x: &Vec<f64>) -> Vec<f64> {
            y.into_iter().zip(x).map(|(y, x)| y + a * x).collect()
        }

        fn norm(&self, v: &Vec<f64>) -> f64 {
            dot(v, v).sqrt()
        }
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn noise(len: usize, domain: u16) -> Vec<f64> {
        let stream = Stream::new(3, domain);
        (0..len).map(|i| f64::from(stream.at(i as u64).normal())).collect()
    }

    /// `steps` steps from noise, or fewer if the basis is complete earlier.
    fn run(operator: &Reflected, steps: usize) -> Lanczos<Vec<f64>> {
        let mut lanczos = Lanczos::new(operator, noise(operator.diagonal.len(), 2)).unwrap();
        for _ in 0..steps {
            if lanczos.step(operator).unwrap() == Growth::Complete {
                break;
            }
        }
        lanczos
    }

    /// A bulk within ±1 and a few eigenvalues far outside, as in the Hessians of networks.
    fn outliers() -> Reflected {
        let mut diagonal: Vec<f64> = (0..400).map(|i| -1.0 + f64::from(i) / 200.0).collect();
        diagonal.extend([120.0, 60.0, 31.0, 30.0, 7.0, -14.0, -5.0]);
        Reflected::new(diagonal)
    }

    #[test]
    fn eigenvalues_outside_the_bulk_are_found_once_each() {
        let ritz = run(&outliers(), 40).ritz();
        assert_eq!(ritz.len(), 40);
        let top: Vec<f64> = ritz.iter().rev().map(|r| r.value).take(5).collect();
        let bottom: Vec<f64> = ritz.iter().map(|r| r.value).take(2).collect();
        for (found, expected) in
            [(top, vec![120.0, 60.0, 31.0, 30.0, 7.0]), (bottom, vec![-14.0, -5.0])]
        {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-8, "found {found}, expected {expected}");
            }
        }
        let inside = ritz.iter().filter(|r| r.value.abs() < 1.1).count();
        assert_eq!(inside, 33, "no copy of a converged eigenvalue");
    }

    #[test]
    fn an_eigenvalue_lies_within_the_bound_of_every_estimate() {
        let operator = outliers();
        for steps in [1, 2, 5, 12, 30] {
            for Ritz { value, bound } in run(&operator, steps).ritz() {
                let distance = operator.diagonal.iter().map(|d| (d - value).abs());
                let nearest = distance.fold(f64::INFINITY, f64::min);
                assert!(nearest <= bound + 1e-10, "{steps} steps: {value} ± {bound}, {nearest}");
            }
        }
    }

    #[test]
    fn the_basis_stays_orthonormal() {
        let operator = outliers();
        let lanczos = run(&operator, 120);
        for (i, v) in lanczos.basis.iter().enumerate() {
            for (j, w) in lanczos.basis.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                assert!((dot(v, w) - expected).abs() < 1e-12, "{i} · {j} = {}", dot(v, w));
            }
        }
    }

    #[test]
    fn a_complete_basis_gives_the_distinct_eigenvalues_and_stops() {
        let operator = Reflected::new([2.0, -1.0, 2.0, 5.0, 5.0, 5.0].to_vec());
        let ritz = run(&operator, 6).ritz();
        let values: Vec<f64> = ritz.iter().map(|r| r.value).collect();
        assert_eq!(values.len(), 3, "{values:?}");
        for (found, expected) in values.iter().zip([-1.0, 2.0, 5.0]) {
            assert!((found - expected).abs() < 1e-12, "{values:?}");
        }
        let zero = Reflected::new(vec![0.0; 4]);
        assert_eq!(run(&zero, 4).ritz(), [Ritz { value: 0.0, bound: 0.0 }]);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let operator = Reflected::new(vec![f64::NAN, 1.0]);
        let mut lanczos = Lanczos::new(&operator, vec![1.0, 0.0]).unwrap();
        assert_eq!(lanczos.step(&operator), Err(NotFinite { products: 0 }));
        assert!(Lanczos::new(&outliers(), vec![0.0; 407]).is_err());
    }
}
