//! Head warm-up: the downstream head on the frozen backbone, before the bilevel stage.
//!
//! As in the reference, θ_D runs in training mode, so that its running statistics move to the
//! downstream data.

use crate::error::Result;
use bissl_core::{Descent, Group};

use super::images::{Images, labelled_ahead};
use super::initial::{Draw, initial};
use super::session::{Course, Session};
use super::tensors::{self, Weights};
use crate::config::RunConfig;
use crate::data::{Split, streams};
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::model::problem_settings;

/// What the warm-up leaves.
#[derive(Clone, Debug)]
pub(crate) struct Warmed {
    /// θ_D: the pretrained parameters with moved statistics.
    pub(crate) backbone: Weights,
    /// φ_D.
    pub(crate) head: Weights,
}

/// What a downstream stage works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Downstream<'a> {
    pub(super) config: &'a RunConfig,
    pub(super) seed: u64,
    pub(super) images: &'a Images,
    pub(super) split: &'a Split,
    pub(super) networks: &'a Networks,
}

/// Trains the head.
pub(super) fn warm_up<B: Kernels>(
    session: &mut Session,
    stage: &str,
    task: Downstream<'_>,
    pretrained: &Weights,
    device: &B::Device,
) -> Result<Warmed> {
    let Downstream { config, seed, images, split, networks } = task;
    let domains = (streams::WARM_UP_ORDER, streams::WARM_UP_VIEW);
    let settings = &config.warm_up;
    let batches = images.labelled_batches(&split.train, settings.batch, seed, domains)?;
    let descent = settings.descent(batches.batches_per_epoch())?;
    let sources =
        Sources { upper: Some(labelled_ahead(batches, descent.steps())), ..Sources::default() };
    let start = (pretrained, Draw::AlignHead);
    let mut problem = problem::<B>(config, seed, networks, sources, start, device)?;
    let steps = u64::from(descent.steps());
    session.train(stage, &mut problem, Descent::new(descent), Course::steps(steps), None)?;
    result(&mut problem)
}

/// A problem of L^D alone: a backbone with a fresh head.
///
/// # Errors
/// Weights that do not fit the networks.
pub(super) fn problem<'n, B: Kernels>(
    config: &RunConfig,
    seed: u64,
    networks: &'n Networks,
    sources: Sources,
    (backbone, draw): (&Weights, Draw),
    device: &B::Device,
) -> Result<Problem<'n, B>> {
    let settings = problem_settings(config, seed);
    let mut problem = Problem::new(networks, device.clone(), sources, settings);
    tensors::install(&mut problem, Group::UpperBackbone, backbone)?;
    let head = initial(&networks.classifier, seed, draw);
    tensors::install(&mut problem, Group::DownstreamHead, &head)?;
    Ok(problem)
}

/// What training of L^D has come to.
pub(super) fn result<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<Warmed> {
    Ok(Warmed {
        backbone: tensors::extract(problem, Group::UpperBackbone)?,
        head: tensors::extract(problem, Group::DownstreamHead)?,
    })
}
