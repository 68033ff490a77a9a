//! Dual tensors: a value and its tangent, for writing a loss once.
//!
//! Over an autodiff backend one piece of code gives the value, its gradient (reverse), its
//! directional derivative (the tangent), and the tangent of the gradient (reverse over the
//! tangent). No operation is differentiated twice in reverse mode.

use burn_backend::Backend;
use burn_tensor::{Bool, Int, Tensor};

use super::arithmetic::Arithmetic;

/// A value with an optional tangent; `None` means zero and costs nothing.
#[derive(Clone, Debug)]
pub struct Dual<B: Backend, const D: usize> {
    /// The value.
    pub value: Tensor<B, D>,
    /// Its derivative in the direction being followed.
    pub tangent: Option<Tensor<B, D>>,
}

impl<B: Backend, const D: usize> Dual<B, D> {
    /// A value with its derivative `tangent`.
    pub fn new(value: Tensor<B, D>, tangent: Option<Tensor<B, D>>) -> Self {
        Self { value, tangent }
    }

    /// `factor · self`.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self { value: self.value * factor, tangent: self.tangent.map(|t| t * factor) }
    }

    /// Applies a linear map to value and tangent.
    #[must_use]
    pub fn map<const E: usize>(self, f: impl Fn(Tensor<B, D>) -> Tensor<B, E>) -> Dual<B, E> {
        Dual { value: f(self.value), tangent: self.tangent.map(f) }
    }

    /// `self + other`.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let tangent = match (self.tangent, other.tangent) {
            (Some(x), Some(y)) => Some(x + y),
            (x, y) => x.or(y),
        };
        Self { value: self.value + other.value, tangent }
    }

    /// `self − other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(other.map(Tensor::neg))
    }
}

impl<B: Backend> Dual<B, 2> {
    /// Stacks the rows of all parts.
    ///
    /// # Panics
    /// If some parts have a tangent and others have none.
    pub fn cat(parts: Vec<Self>) -> Self {
        let values = parts.iter().map(|part| part.value.clone()).collect();
        let tangents: Vec<_> = parts.iter().filter_map(|part| part.tangent.clone()).collect();
        assert!(tangents.is_empty() || tangents.len() == parts.len(), "all parts move or none");
        let tangent = (!tangents.is_empty()).then(|| Tensor::cat(tangents, 0));
        Self { value: Tensor::cat(values, 0), tangent }
    }

    /// Divides each row by its Euclidean norm; a row of zeros stays zero, and so does its
    /// derivative.
    ///
    /// u = z/‖z‖, u̇ = (ż − u (u·ż))/‖z‖.
    #[must_use]
    pub fn normalize_rows(self) -> Self {
        let square = (self.value.clone() * self.value.clone()).sum_dim(1);
        let zero: Tensor<B, 2, Bool> = square.clone().equal_elem(0.0);
        let inverse = square.mask_fill(zero.clone(), 1.0).sqrt().recip().mask_fill(zero, 0.0);
        let value = self.value * inverse.clone();
        let tangent = self.tangent.map(|t| {
            let along = (value.clone() * t.clone()).sum_dim(1);
            (t - value.clone() * along) * inverse
        });
        Self { value, tangent }
    }

    /// Masks the diagonal: those entries get a probability of exactly 0 in a softmax.
    #[must_use]
    pub fn without_diagonal(self) -> Self {
        let [rows, _] = self.value.dims();
        let device = self.value.device();
        let mask: Tensor<B, 2, Bool> = Tensor::<B, 2>::eye(rows, &device).equal_elem(1.0);
        // Finite, because ∞ − ∞ would be NaN; the exponential underflows to 0.
        let value = self.value.mask_fill(mask.clone(), -1e30);
        Self { value, tangent: self.tangent.map(|t| t.mask_fill(mask, 0.0)) }
    }
}

impl<B: Arithmetic> Dual<B, 2> {
    /// `self selfᵀ`.
    #[must_use]
    pub fn gram(self) -> Self {
        let tangent = self.tangent.map(|t| {
            let half = B::product(t, self.value.clone().transpose());
            half.clone() + half.transpose()
        });
        let transposed = self.value.clone().transpose();
        Self { value: B::product(self.value, transposed), tangent }
    }

    /// Unbiased covariance of the columns, `[columns, columns]`: xᵀx/(rows − 1) of the centred
    /// rows.
    ///
    /// It is 0 for a single row, which cannot vary.
    #[must_use]
    pub fn covariance(self) -> Self {
        let [rows, _] = self.value.dims();
        let (mean, share) = (1.0 / rows as f64, 1.0 / rows.saturating_sub(1).max(1) as f64);
        let centred = self.map(|x| x.clone() - x.sum_dim(0) * mean);
        let transposed = centred.value.clone().transpose();
        let tangent = centred.tangent.map(|t| {
            let half = B::product(transposed.clone(), t);
            half.clone() + half.transpose()
        });
        Self { value: B::product(transposed, centred.value), tangent }.scale(share)
    }

    /// Sum of the squared entries: first within each row, then over the rows.
    #[must_use]
    pub fn square_sum(self) -> Dual<B, 1> {
        let sum = |x: Tensor<B, 2>| B::total(x.sum_dim(1));
        let tangent = self.tangent.map(|t| sum(self.value.clone() * t) * 2.0);
        Dual { value: sum(self.value.clone() * self.value), tangent }
    }

    /// Mean of [`Dual::softmax_cross_entropies`] over the rows.
    pub fn softmax_cross_entropy(self, targets: &Tensor<B, 1, Int>) -> Dual<B, 1> {
        let [rows, _] = self.value.dims();
        // A product, because autodiff's backward pass of a division by a scalar rounds it to f32.
        let per_row = 1.0 / rows as f64;
        self.softmax_cross_entropies(targets).map(|x| B::total(x) * per_row)
    }

    /// −log softmax(row) at each row's target, `[rows, 1]`, in nats; `targets` is `[rows]`.
    ///
    /// Convex in the logits. Its tangent is Σ_j softmax_j u̇_j − u̇_target.
    pub fn softmax_cross_entropies(self, targets: &Tensor<B, 1, Int>) -> Dual<B, 2> {
        let [rows, _] = self.value.dims();
        let targets = targets.clone().reshape([rows, 1]);
        let top = self.value.clone().detach().max_dim(1);
        let exponential = (self.value.clone() - top.clone()).exp();
        let total = exponential.clone().sum_dim(1);
        let picked = self.value.gather(1, targets.clone());
        let value = total.clone().log() + top - picked;
        let tangent = self.tangent.map(|t| {
            let probability = exponential / total;
            let expected = (probability * t.clone()).sum_dim(1);
            expected - t.gather(1, targets)
        });
        Dual { value, tangent }
    }
}
