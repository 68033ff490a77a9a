//! Pretext methods: what the pretext head is, what L^P is, and whether there is a target network.
//!
//! One file a method, its settings, loss and [`Oracle`] in it. A method of one's own implements
//! [`PretextTask`] and [`Method`]; the methods that a configuration can name are in one table,
//! `model/methods.rs`. Drivers, stages and measurements ask these traits and know no method.

mod barlow_twins;
mod byol;
pub mod oracle;
mod simclr;
mod vicreg;

pub use barlow_twins::BarlowTwins;
pub use byol::{Byol, Prediction};
pub use oracle::Oracle;
pub use simclr::NtXent;
pub use vicreg::Vicreg;

use std::fmt;

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

/// The projector that a configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projector<'a> {
    /// Features of the backbone.
    pub features: usize,
    /// Widths of its layers: hidden ones, then the output. At least one.
    pub widths: &'a [usize],
    /// What stands between its layers.
    pub norm: HeadNorm,
}

impl Projector<'_> {
    /// The projector alone.
    pub fn network(&self) -> Network {
        match self.norm {
            HeadNorm::Batch => mlp_head(self.features, self.widths),
            HeadNorm::Absent => plain_head(self.features, self.widths),
        }
    }

    /// The projector with a predictor of the same kind after it, as wide as the projector at its
    /// end; `hidden` are the predictor's other widths. Names of the predictor begin with
    /// `predictor.`.
    pub fn predicting(&self, hidden: &[usize]) -> Network {
        let output = self.widths.last().expect("a projector has a layer");
        let predictor = [hidden, &[*output]].concat();
        match self.norm {
            HeadNorm::Batch => predicting_head(self.features, self.widths, &predictor),
            HeadNorm::Absent => plain_predicting_head(self.features, self.widths, &predictor),
        }
    }
}

/// What a pretext method is on every backend: its heads, and how its loss is called and checked.
pub trait PretextTask: fmt::Debug + Send + Sync {
    /// φ_P: the projector, and what the method puts after it. The projector's parameters and
    /// statistics come first in the flat vectors.
    fn head(&self, projector: &Projector<'_>) -> Network {
        projector.network()
    }

    /// Share of the target network's old parameters in its moving average, in `[0, 1]`; `None`
    /// without a target network. It is a copy of the backbone and of the projector.
    fn target_decay(&self) -> Option<f64> {
        None
    }

    /// What the head has besides the projector, in words: equal only where weights are
    /// interchangeable.
    fn beyond_projector(&self) -> Option<String> {
        None
    }

    /// The settings that its loss depends on, in words.
    fn settings_in_words(&self) -> Option<String> {
        None
    }

    /// What the loss is called on an axis, with its unit.
    fn loss_label(&self) -> &'static str;

    /// The loss once more in f64, for `verify` and tests; `None`: `verify` leaves those checks out.
    fn oracle(&self) -> Option<&dyn Oracle> {
        None
    }
}

/// A pretext method on one backend.
pub trait Method<B: Kernels>: PretextTask {
    /// L^P as a function of the head's outputs. `targets`: the target network's output `[batch,
    /// feature]` for every view, constants of the loss; none without a target network.
    ///
    /// # Panics
    /// If the method has a target network and there are no targets.
    fn loss(&self, targets: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>>;
}

impl<B: Kernels> dyn Method<B> + '_ {
    /// [`Method::loss`] on `views`, `[batch, channels, height, width]` each, beside a target
    /// network.
    pub fn loss_beside(
        &self,
        target: Option<(Tower<'_>, &TowerParameters<B>)>,
        views: &[Tensor<B, 4>],
    ) -> Box<dyn Loss<B>> {
        let output = |(tower, p): (Tower<'_>, _)| tower.outputs(p, views);
        self.loss(target.map(output).unwrap_or_default())
    }
}

impl dyn PretextTask + '_ {
    /// The head of the target network, where the method has one: the projector alone.
    pub fn target_head(&self, projector: &Projector<'_>) -> Option<Network> {
        self.target_decay().map(|_| projector.network())
    }
}
