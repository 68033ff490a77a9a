//! Head warm-up: the downstream head on the frozen backbone, before the bilevel stage.
//!
//! As in the reference, θ_D runs in training mode, so that its running statistics move to the
//! downstream data.

use bissl_core::{Descent, DescentSettings, Group};

use super::images::labelled_ahead;
use super::initial::{Draw, initial};
use super::observer::Observer;
use super::task::Task;
use super::tensors::{self, Weights};
use super::training::{Course, train};
use crate::data::{LabelledBatches, streams};
use crate::driver::{Problem, Sources};
use crate::error::Result;
use crate::kernels::Kernels;

/// A backbone with a head of the downstream task.
#[derive(Clone, Debug)]
pub struct Headed {
    /// θ_D; after a warm-up the pretrained parameters with moved statistics.
    pub backbone: Weights,
    /// φ_D.
    pub head: Weights,
}

/// Trains the head on a frozen backbone, in stage `warm-up`.
///
/// # Errors
/// Fewer labelled images than a batch; a loss is not finite; whatever the observer says.
pub fn warm_up<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    observer: &mut impl Observer,
) -> Result<Headed> {
    let settings = &task.config.warm_up;
    let batches = batches(task, settings.batch)?;
    let descent = settings.descent(batches.batches_per_epoch())?;
    descend(task, backbone, batches, descent, observer)
}

/// The batches of the warm-up.
pub(super) fn batches<B: Kernels>(task: &Task<B>, batch: usize) -> Result<LabelledBatches> {
    let domains = (streams::WARM_UP_ORDER, streams::WARM_UP_VIEW);
    task.images.labelled_batches(&task.split.train, batch, task.seed, domains)
}

/// Descends L^D from a backbone and an initial head.
pub(super) fn descend<B: Kernels>(
    task: &Task<B>,
    backbone: &Weights,
    batches: LabelledBatches,
    descent: DescentSettings,
    observer: &mut impl Observer,
) -> Result<Headed> {
    let upper = Some(labelled_ahead(batches, descent.steps()));
    let sources = Sources { upper, ..Sources::default() };
    let mut problem = problem(task, sources, backbone, Draw::AlignHead)?;
    let course = Course::steps(u64::from(descent.steps()));
    let stage = task.stage("warm-up");
    train(observer, &stage, &mut problem, Descent::new(descent), course, None)?;
    result(&mut problem)
}

/// A problem of L^D alone: a backbone with a fresh head.
pub(super) fn problem<'n, B: Kernels>(
    task: &'n Task<B>,
    sources: Sources,
    backbone: &Weights,
    draw: Draw,
) -> Result<Problem<'n, B>> {
    let Task { config, seed, networks, device, .. } = task;
    let settings = task.problem_settings(config);
    let mut problem = Problem::new(networks, device.clone(), sources, settings);
    tensors::install(&mut problem, Group::UpperBackbone, backbone)?;
    let head = initial(&networks.classifier, *seed, draw);
    tensors::install(&mut problem, Group::DownstreamHead, &head)?;
    Ok(problem)
}

/// What training of L^D has come to.
pub(super) fn result<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<Headed> {
    Ok(Headed {
        backbone: tensors::extract(problem, Group::UpperBackbone)?,
        head: tensors::extract(problem, Group::DownstreamHead)?,
    })
}
