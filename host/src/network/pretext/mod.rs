//! Pretext methods: what the pretext head is, what L^P is, and whether a target network stands beside.
//!
//! One file a method. Another one is a file with its [`Loss`], a variant of [`Pretext`] and a section of
//! the configuration; the stages ask [`Pretext`] and know no method.

mod byol;
mod simclr;
mod vicreg;

pub use byol::{Byol, Prediction};
pub use simclr::NtXent;
pub use vicreg::Vicreg;

use burn_tensor::Tensor;

use super::layered::{plain_head, plain_predicting_head};
use super::loss::Loss;
use super::resnet::{mlp_head, predicting_head};
use super::sequence::Network;
use super::tower::{Tower, TowerParameters};
use crate::kernels::Kernels;

/// What stands between the layers of a pretext head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadNorm {
    /// Batch norm in front of every ReLU.
    Batch,
    /// Nothing, as in networks for devices.
    Absent,
}

impl HeadNorm {
    fn projector(self, features: usize, widths: &[usize]) -> Network {
        match self {
            Self::Batch => mlp_head(features, widths),
            Self::Absent => plain_head(features, widths),
        }
    }
}

/// A pretext method with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Pretext {
    /// Chen et al. (2020).
    Simclr(NtXent),
    /// Grill et al. (2020).
    Byol(Byol),
    /// Bardes et al. (2022).
    Vicreg(Vicreg),
}

impl Pretext {
    /// φ_P on `features` of a backbone: the projector of these widths, and what the method puts behind
    /// it. The projector's parameters and statistics come first in the flat vectors.
    pub fn head(&self, features: usize, projector: &[usize], norm: HeadNorm) -> Network {
        match self {
            Self::Simclr(_) | Self::Vicreg(_) => norm.projector(features, projector),
            Self::Byol(byol) => {
                let output = projector.last().copied().expect("a projector has a layer");
                let predictor = byol.predictor_widths(output);
                match norm {
                    HeadNorm::Batch => predicting_head(features, projector, &predictor),
                    HeadNorm::Absent => plain_predicting_head(features, projector, &predictor),
                }
            }
        }
    }

    /// The head of the target network, where the method has one: the projector alone.
    pub fn target_head(
        &self,
        features: usize,
        projector: &[usize],
        norm: HeadNorm,
    ) -> Option<Network> {
        self.target_decay().map(|_| norm.projector(features, projector))
    }

    /// Share of the target network's old parameters in its moving average; `None` without a target.
    pub fn target_decay(&self) -> Option<f64> {
        match self {
            Self::Simclr(_) | Self::Vicreg(_) => None,
            Self::Byol(byol) => Some(byol.decay),
        }
    }

    /// L^P as a function of the head's outputs. `targets`: the target network's output `[batch, feature]`
    /// for every view, constants of the loss; none without a target network.
    ///
    /// # Panics
    /// If the method has a target network and there are no targets.
    pub fn loss<B: Kernels>(&self, targets: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        match self {
            Self::Simclr(loss) => Box::new(*loss),
            Self::Byol(_) => Box::new(Prediction::new(targets)),
            Self::Vicreg(loss) => Box::new(*loss),
        }
    }

    /// [`Pretext::loss`] on `views`, `[batch, 3, height, width]` each, beside a target network.
    pub fn loss_beside<B: Kernels>(
        &self,
        target: Option<(Tower<'_>, &TowerParameters<B>)>,
        views: &[Tensor<B, 4>],
    ) -> Box<dyn Loss<B>> {
        let output = |(tower, p): (Tower<'_>, _)| tower.outputs(p, views);
        self.loss(target.map(output).unwrap_or_default())
    }

    /// What the loss is called on an axis, with its unit.
    pub fn loss_label(&self) -> &'static str {
        match self {
            Self::Simclr(_) => "NT-Xent, nats",
            Self::Byol(_) => "BYOL, squared distance",
            Self::Vicreg(_) => "VICReg",
        }
    }
}
