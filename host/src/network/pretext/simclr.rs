//! SimCLR (Chen et al. 2020): the two views of an image among all others.

use burn_autodiff::Autodiff;

use crate::kernels::Kernels;
use crate::network::dual::Dual;
use crate::network::loss::{Loss, indices};

/// NT-Xent contrastive loss of two views, mean over the 2·batch anchors (nats).
///
/// Chen et al. (2020), eq. 1: logits `z zᵀ/τ` of the normalised outputs, the diagonal excluded, the
/// other view of the same image as the target. Inner up to the masked logits, outer the cross entropy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtXent {
    /// τ > 0, dimensionless.
    pub temperature: f64,
}

impl<B: Kernels> Loss<B> for NtXent {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs).normalize_rows().gram().scale(1.0 / self.temperature).without_diagonal()
    }

    fn outer(&self, logits: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, _] = logits.value.dims();
        let targets = (0..rows).map(|i| (i + rows / 2) % rows);
        let targets = indices(targets, &logits.value);
        logits.softmax_cross_entropy(&targets)
    }
}
