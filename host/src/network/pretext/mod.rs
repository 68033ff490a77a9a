//! Pretext methods: what the pretext head is, what L^P is, and whether there is a target network.
//!
//! Each method is one file with its settings, loss and [`Oracle`]. Your own method implements
//! [`PretextTask`] and [`Method`]. The table in `model/methods.rs` lists the methods that a
//! configuration can name. Drivers, stages and measurements use only these traits and know no
//! method.

mod barlow_twins;
mod byol;
pub mod oracle;
mod simclr;
mod vicreg;

pub use super::head::HeadNorm;
pub use barlow_twins::BarlowTwins;
pub use byol::{Byol, Prediction};
pub use oracle::Oracle;
pub use simclr::NtXent;
pub use vicreg::Vicreg;

use std::fmt;

use burn_tensor::Tensor;

use super::head::projector;
use super::loss::Loss;
use super::resnet::FITS;
use super::sequence::Network;
use super::tower::{Tower, TowerParameters};
use crate::kernels::Kernels;

/// The projector of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projector<'a> {
    /// Features of the backbone's output.
    pub features: usize,
    /// Widths of its layers: the hidden ones, then the output. At least one.
    pub widths: &'a [usize],
    /// Normalisation between its layers.
    pub norm: HeadNorm,
}

impl Projector<'_> {
    /// Builds the projector alone.
    pub fn network(&self) -> Network {
        projector(self.features, self.widths, self.norm).build().expect(FITS)
    }

    /// Builds the projector followed by a predictor of the same kind. The predictor's output is as
    /// wide as the projector's, `hidden` are its other widths, and its names begin with
    /// `predictor.`.
    pub fn predicting(&self, hidden: &[usize]) -> Network {
        let output = self.widths.last().expect("a projector has a layer");
        let predictor = [hidden, &[*output]].concat();
        let builder = projector(self.features, self.widths, self.norm);
        builder.mlp("predictor.", &predictor, self.norm).build().expect(FITS)
    }
}

/// The part of a pretext method that does not depend on the backend: its heads, and the name and
/// oracle of its loss.
pub trait PretextTask: fmt::Debug + Send + Sync {
    /// φ_P: the projector, followed by what the method adds. The projector's parameters and
    /// statistics come first in the flat vectors.
    fn head(&self, projector: &Projector<'_>) -> Network {
        projector.network()
    }

    /// Weight of the old parameters in the target network's moving average, in `[0, 1]`; `None`
    /// without a target network. The target network copies the backbone and the projector.
    fn target_decay(&self) -> Option<f64> {
        None
    }

    /// Describes what the head has besides the projector. Two descriptions are equal only if the
    /// weights are interchangeable.
    fn beyond_projector(&self) -> Option<String> {
        None
    }

    /// Describes the settings that the loss depends on.
    fn settings_in_words(&self) -> Option<String> {
        None
    }

    /// Axis label of the loss, with its unit.
    fn loss_label(&self) -> &'static str;

    /// The loss in f64 for `verify` and tests. With `None`, `verify` skips those checks.
    fn oracle(&self) -> Option<&dyn Oracle> {
        None
    }
}

/// A pretext method on one backend.
pub trait Method<B: Kernels>: PretextTask {
    /// L^P as a function of the head's outputs. `targets`: the target network's output
    /// `[batch, feature]` for every view, constants of the loss; empty without a target network.
    ///
    /// # Panics
    /// If the method has a target network and `targets` is empty.
    fn loss(&self, targets: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>>;
}

impl<B: Kernels> dyn Method<B> + '_ {
    /// [`Method::loss`] on `views`, `[batch, channels, height, width]` each, with the outputs of
    /// `target`.
    pub(crate) fn loss_beside(
        &self,
        target: Option<(Tower<'_>, &TowerParameters<B>)>,
        views: &[Tensor<B, 4>],
    ) -> Box<dyn Loss<B>> {
        let output = |(tower, p): (Tower<'_>, _)| tower.outputs(p, views);
        self.loss(target.map(output).unwrap_or_default())
    }
}

impl dyn PretextTask + '_ {
    /// The target network's head, which is the projector alone; `None` without a target network.
    pub fn target_head(&self, projector: &Projector<'_>) -> Option<Network> {
        self.target_decay().map(|_| projector.network())
    }
}
