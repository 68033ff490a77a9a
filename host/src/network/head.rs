//! Heads over a backbone's features: projectors, with a predictor or without, and the classifier.

use super::resnet::FITS;
use super::{Builder, Init, Linear, Network, Shape};

/// The normalisation between the layers of a pretext head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorm {
    /// Batch norm before every ReLU.
    Batch,
    /// None, as in networks for devices.
    Absent,
}

/// A projector: hidden layers are Linear with bias, batch norm and ReLU; the last is Linear without
/// bias.
///
/// `widths`: the hidden widths, then the output's; at least one.
pub fn mlp_head(features: usize, widths: &[usize]) -> Network {
    projector(features, widths, HeadNorm::Batch).build().expect(FITS)
}

/// A projector without batch norm: hidden layers are Linear with bias and ReLU; the last is Linear
/// without bias.
///
/// `widths`: the hidden widths, then the output's; at least one.
pub fn plain_head(features: usize, widths: &[usize]) -> Network {
    projector(features, widths, HeadNorm::Absent).build().expect(FITS)
}

/// A classifier: one linear layer with bias.
pub fn classifier(features: usize, classes: usize) -> Network {
    Builder::new(Shape::features(features)).linear("fc", classes).build().expect(FITS)
}

/// The layers of [`mlp_head`] or [`plain_head`].
pub(super) fn projector(features: usize, widths: &[usize], norm: HeadNorm) -> Builder {
    Builder::new(Shape::features(features)).mlp("", widths, norm)
}

impl Builder {
    /// The layers of a projector or predictor. Each is named `prefix` and its index among all
    /// layers, in which ReLUs and batch norms count, too.
    pub(super) fn mlp(mut self, prefix: &str, widths: &[usize], norm: HeadNorm) -> Self {
        for (index, width) in widths.iter().copied().enumerate() {
            let hidden = index + 1 < widths.len();
            let (init, layers) = match norm {
                HeadNorm::Absent if hidden => (Init::KaimingFanIn, 2),
                HeadNorm::Absent => (Init::UniformFanIn, 2),
                HeadNorm::Batch => (Init::UniformFanIn, 3),
            };
            let linear = Linear { features_out: width, bias: hidden, init };
            self = self.layer(&format!("{prefix}{}", layers * index), linear);
            if hidden {
                if norm == HeadNorm::Batch {
                    self = self.batch_norm(&format!("{prefix}{}", layers * index + 1));
                }
                self = self.relu();
            }
        }
        self
    }
}
