//! Losses of a classifier whose images may show any number of classes.

use burn_autodiff::Autodiff;
use burn_backend::TensorData;
use burn_tensor::Tensor;

use super::arithmetic::Arithmetic;
use super::dual::Dual;
use super::loss::Loss;
use crate::kernels::Kernels;

/// The loss for sets of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultiLabel {
    /// [`BinaryCrossEntropy`].
    #[default]
    Binary,
    /// [`SoftmaxCrossEntropy`].
    Softmax,
}

/// What each row of a batch shows, as `[row, class]` matrices of 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiHot {
    /// 1 where the row shows the class.
    pub present: Vec<f32>,
    /// 1 where the entry counts.
    pub counted: Vec<f32>,
}

/// Binary cross entropy of every logit against the presence of its class, mean over the entries
/// that count (nats); 0 if none counts.
///
/// −y ln σ(x) − (1 − y) ln(1 − σ(x)). It is convex in the logits, so the inner map is the identity.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryCrossEntropy {
    /// y, and the entries that count.
    pub targets: MultiHot,
}

/// Softmax cross entropy against all classes that a row shows, mean over the rows (nats).
///
/// Σ_c y_c (ln Σ_j exp x_j − x_c). The targets are not normalised, and a row that shows nothing
/// adds 0. This is the reference's loss for VOC 2007. It is convex in the logits. Entries that do
/// not count are treated as absent.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// y.
    pub targets: MultiHot,
}

impl<B: Kernels> Loss<B> for BinaryCrossEntropy {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let present = matrix::<B>(&self.targets.present, &logits.value);
        let counted = matrix::<B>(&self.targets.counted, &logits.value);
        let count: f64 = self.targets.counted.iter().copied().map(f64::from).sum();
        let per_entry = if count > 0.0 { 1.0 / count } else { 0.0 };
        // ln(1 + eˣ) = ln(e^−m + e^(x−m)) + m with the constant m = max(x, 0): nothing overflows,
        // and the derivative at 0 is σ(0).
        let top = logits.value.clone().detach().clamp_min(0.0);
        let one = top.clone().neg().exp();
        let exponential = (logits.value.clone() - top.clone()).exp();
        let total = one + exponential.clone();
        let softplus = total.clone().log() + top;
        let entries = softplus - present.clone() * logits.value;
        let value = Autodiff::<B>::total(entries * counted.clone()) * per_entry;
        let tangent = logits.tangent.map(|t| {
            let sigmoid = exponential / total;
            Autodiff::<B>::total((sigmoid - present) * t * counted) * per_entry
        });
        Dual { value, tangent }
    }
}

impl<B: Kernels> Loss<B> for SoftmaxCrossEntropy {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, _] = logits.value.dims();
        let present = matrix::<B>(&self.targets.present, &logits.value);
        let shown = present.clone().sum_dim(1);
        let top = logits.value.clone().detach().max_dim(1);
        let exponential = (logits.value.clone() - top.clone()).exp();
        let total = exponential.clone().sum_dim(1);
        // A product, because autodiff's backward pass of a division by a scalar rounds it to f32.
        let per_row = 1.0 / rows as f64;
        let picked = (present.clone() * logits.value).sum_dim(1);
        let value =
            Autodiff::<B>::total((total.clone().log() + top) * shown.clone() - picked) * per_row;
        let tangent = logits.tangent.map(|t| {
            let expected = (exponential / total * t.clone()).sum_dim(1);
            Autodiff::<B>::total(expected * shown - (present * t).sum_dim(1)) * per_row
        });
        Dual { value, tangent }
    }
}

/// Constants in the shape of `like`.
fn matrix<B: Kernels>(values: &[f32], like: &Tensor<Autodiff<B>, 2>) -> Tensor<Autodiff<B>, 2> {
    let data = TensorData::new(values.to_vec(), like.dims()).convert::<B::FloatElem>();
    Tensor::from_data(data, &like.device())
}
