//! Linear probe and nearest neighbours while a backbone is pretrained.
//!
//! They look and do not touch: everything that training consists of has the same fingerprint before
//! and after, both are written down, and a difference is an error.

use crate::error::{Place, Result, fail};
use bissl_core::Group;

use super::evaluate::{Frozen, frozen};
use super::measured::{Keep, Measured};
use super::task::Task;
use super::tensors;
use crate::data::Split;
use crate::driver::Problem;
use crate::kernels::Kernels;
use crate::run::Record;

/// Asks for labelled images to measure a probe on, where the settings ask for one.
///
/// # Errors
/// None is left for validation.
pub fn require_validation<B: Kernels>(task: &Task<B>) -> Result<()> {
    if task.config.pretrain.probe_every_epochs.is_some() && task.split.validation.is_empty() {
        fail!(
            "`data.downstream.validation_per_class` is 0, expected at least 1: \
             `pretrain.probe_every_epochs` measures on validation images"
        );
    }
    Ok(())
}

/// What is measured, and when.
pub(super) struct OnlineProbe<'a, B: Kernels> {
    task: &'a Task<B>,
    steps_per_epoch: u32,
    every_epochs: u32,
}

impl<'a, B: Kernels> OnlineProbe<'a, B> {
    /// As `pretrain.probe_every_epochs` says; `None` where it says never.
    ///
    /// It learns from training images and is measured on validation images. Test images stay
    /// unseen.
    ///
    /// # Errors
    /// No labelled image is left for validation.
    pub(super) fn new(task: &'a Task<B>, steps_per_epoch: u32) -> Result<Option<Self>> {
        let Some(every_epochs) = task.config.pretrain.probe_every_epochs else { return Ok(None) };
        require_validation(task)?;
        Ok(Some(Self { task, steps_per_epoch, every_epochs: every_epochs as u32 }))
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
        let Split { train, validation, .. } = &self.task.split;
        let Frozen { knn, probe } =
            frozen(self.task, &backbone, train, validation).at("pretrain.probe_every_epochs")?;
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
