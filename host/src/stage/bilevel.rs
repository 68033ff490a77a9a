//! The bilevel problem of a configuration: training, `verify`, `plan` and `bench` all take it from
//! here.

use crate::error::Result;
use bissl_core::{ConfigError, Group};

use super::images::{labelled_ahead, views_ahead};
use super::origin::Pretrained;
use super::task::Task;
use super::tensors::install;
use super::warm_up::Headed;
use crate::config::{AlignSettings, RunConfig};
use crate::data::{LabelledBatches, PretextBatches, streams};
use crate::driver::{Problem, Sources};
use crate::kernels::Kernels;

/// Batches of the bilevel stage.
#[derive(Debug)]
pub(crate) struct Batches {
    pub(crate) lower: PretextBatches,
    pub(crate) product: PretextBatches,
    pub(crate) upper: LabelledBatches,
}

impl Batches {
    /// Those of a task, of the sizes in `config`: the task's own, or what is measured in its place.
    ///
    /// # Errors
    /// Fewer images than a batch.
    pub(crate) fn new<B: Kernels>(config: &RunConfig, task: &Task<B>) -> Result<Self> {
        let Task { seed, images, split, .. } = task;
        let align = &config.align;
        let pretext = |batch, domains| images.pretext_batches(batch, *seed, domains);
        let upper = (streams::ALIGN_UPPER_ORDER, streams::ALIGN_UPPER_VIEW);
        Ok(Self {
            lower: pretext(align.batch, (streams::ALIGN_LOWER_ORDER, streams::ALIGN_LOWER_VIEW))?,
            product: pretext(
                align.product_batch(),
                (streams::ALIGN_PRODUCT_ORDER, streams::ALIGN_PRODUCT_VIEW),
            )?,
            upper: images.labelled_batches(&split.train, align.upper_batch, *seed, upper)?,
        })
    }

    /// All batches of a stage, made ahead of their steps.
    pub(crate) fn ahead(self, steps: &Steps) -> Sources {
        Sources {
            lower: Some(views_ahead(self.lower, steps.lower)),
            product: Some(views_ahead(self.product, steps.products)),
            upper: Some(labelled_ahead(self.upper, steps.upper)),
        }
    }
}

/// Batches that a number of alternations asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) lower: u32,
    /// One for each alternation.
    pub(crate) products: u32,
    pub(crate) upper: u32,
}

impl Steps {
    /// # Errors
    /// More than 2³² of a kind.
    pub(crate) fn of(align: &AlignSettings, alternations: u32) -> Result<Self, ConfigError> {
        let times = |name, steps: u32| {
            let (value, range) = (steps as f32, "a total number of steps below 2^32");
            steps.checked_mul(alternations).ok_or(ConfigError::OutOfRange { name, value, range })
        };
        Ok(Self {
            lower: times("lower_steps", align.lower_steps)?,
            products: alternations,
            upper: times("upper_steps", align.upper_steps)?,
        })
    }

    /// Lower and upper steps together.
    pub(crate) fn total(&self) -> u64 {
        u64::from(self.lower) + u64::from(self.upper)
    }
}

/// The problem at the beginning of the stage, by the settings of `config`: the task's own, or what
/// is measured in its place.
///
/// θ_P and θ_D both start at the pretrained parameters; optimiser states are fresh, and a target
/// network is a copy of θ_P and φ_P again.
///
/// # Errors
/// Weights that do not fit the networks.
pub(crate) fn problem<'n, B: Kernels>(
    config: &RunConfig,
    task: &'n Task<B>,
    sources: Sources,
    (pretrained, warmed): (&Pretrained, &Headed),
) -> Result<Problem<'n, B>> {
    let Task { networks, device, .. } = task;
    let settings = task.problem_settings(config);
    let mut problem = Problem::new(networks, device.clone(), sources, settings);
    for (group, weights) in [
        (Group::LowerBackbone, &pretrained.backbone),
        (Group::PretextHead, &pretrained.head),
        (Group::UpperBackbone, &warmed.backbone),
        (Group::DownstreamHead, &warmed.head),
    ] {
        install(&mut problem, group, weights)?;
    }
    Ok(problem)
}
