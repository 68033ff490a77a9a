//! Linear probe and nearest neighbours while a backbone is pretrained.
//!
//! They look and do not touch: everything that training consists of has the same fingerprint before and
//! after, both are written down, and a difference is an error.

use crate::error::{Place, Result, fail};
use bissl_core::Group;

use super::evaluate::frozen;
use super::features::Labels;
use super::images::Images;
use super::session::{Keep, Measured};
use super::tensors;
use crate::config::RunConfig;
use crate::data::Split;
use crate::driver::{Networks, Problem};
use crate::kernels::Kernels;
use crate::run::Record;

/// The division of the labelled images that a probe works on.
///
/// # Errors
/// They cannot be divided, or none is left for validation.
pub(super) fn labelled(config: &RunConfig, seed: u64, images: &Images) -> Result<Split> {
    let split = images.split(config, seed)?;
    if split.validation.is_empty() {
        fail!(
            "`data.downstream.validation_per_class` is 0, expected at least 1: \
             `pretrain.probe_every_epochs` measures on validation images"
        );
    }
    Ok(split)
}

/// What is measured, and when.
pub(super) struct OnlineProbe<'a, B: Kernels> {
    labels: Labels<'a, B>,
    config: &'a RunConfig,
    split: Split,
    steps_per_epoch: u32,
    every_epochs: u32,
}

impl<'a, B: Kernels> OnlineProbe<'a, B> {
    /// As `pretrain.probe_every_epochs` says; `None` where it says never.
    ///
    /// It learns from training images and is measured on validation images. Test images stay unseen.
    ///
    /// # Errors
    /// The labelled images cannot be divided, or none is left for validation.
    pub(super) fn new(
        config: &'a RunConfig,
        seed: u64,
        images: &'a Images,
        networks: &'a Networks,
        device: &'a B::Device,
        steps_per_epoch: u32,
    ) -> Result<Option<Self>> {
        let Some(every_epochs) = config.pretrain.probe_every_epochs else { return Ok(None) };
        let split = labelled(config, seed, images)?;
        let labels = Labels { images, networks, device };
        let every_epochs = every_epochs as u32;
        Ok(Some(Self { labels, config, split, steps_per_epoch, every_epochs }))
    }

    /// The measures behind step `index`, where they are due.
    pub(super) fn measure(
        &self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        index: u32,
    ) -> Result<Option<Measured>> {
        let every = self.every_epochs.saturating_mul(self.steps_per_epoch);
        if !(index + 1).is_multiple_of(every) {
            return Ok(None);
        }
        let state_before = tensors::fingerprint(problem)?;
        let backbone = tensors::extract(problem, Group::LowerBackbone)?;
        let Split { train, validation, .. } = &self.split;
        let (knn, probe) = frozen::<B>(self.labels, self.config, &backbone, train, validation)
            .at("pretrain.probe_every_epochs")?;
        let state_after = tensors::fingerprint(problem)?;
        if state_before != state_after {
            fail!(
                "{stage}: the online probe has changed what is trained: \
                 fingerprint {state_after} after it, {state_before} before it"
            );
        }
        let (stage, epoch) = (stage.to_owned(), (index + 1) / self.steps_per_epoch);
        Ok(Some(Measured {
            metric: "probe",
            value: probe,
            record: Record::Probe { stage, epoch, probe, knn, state_before, state_after },
            keep: Keep::Checkpoint,
        }))
    }
}
