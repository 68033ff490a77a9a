//! Head warm-up: the downstream head on the frozen backbone, before the bilevel stage.
//!
//! As in the reference, θ_D runs in training mode, so that its running statistics move to the
//! downstream data.

use anyhow::Result;
use bissl_core::{Descent, Group};

use super::images::{Images, labelled_ahead};
use super::pretrain::{Draw, initial};
use super::session::{Course, Session};
use super::state::{self, Weights};
use crate::config::RunConfig;
use crate::data::{Split, streams};
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::network::Curvature;

/// What the warm-up leaves.
#[derive(Clone, Debug)]
pub(super) struct Warmed {
    /// θ_D: the pretrained parameters with moved statistics.
    pub(super) backbone: Weights,
    /// φ_D.
    pub(super) head: Weights,
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
    let pretext = state::pretext(config);
    let mut problem =
        Problem::<B>::new(networks, device.clone(), sources, pretext, Curvature::Hessian, seed);
    problem.multi_label = state::multi_label(config);
    let head = &networks.classifier;
    let head = initial(head.parameters(), head.statistics(), seed, Draw::AlignHead);
    state::install(&mut problem, Group::UpperBackbone, pretrained)?;
    state::install(&mut problem, Group::DownstreamHead, &head)?;
    let steps = u64::from(descent.steps());
    session.train(stage, &mut problem, Descent::new(descent), Course::steps(steps), None)?;
    Ok(Warmed {
        backbone: state::extract(&mut problem, Group::UpperBackbone)?,
        head: state::extract(&mut problem, Group::DownstreamHead)?,
    })
}
