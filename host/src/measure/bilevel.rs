//! The bilevel stage's problem from a start, for measurements that leave no files.

use anyhow::Result;
use bissl_core::Group;

use super::start::Started;
use crate::config::RunConfig;
use crate::data::{LabelledBatches, PretextBatches, streams};
use crate::driver::{Problem, Sources};
use crate::kernels::Kernels;
use crate::stage::align::{curvature, recompute};
use crate::stage::state::{install, multi_label, pretext};

/// The stage's batches, those of `align` itself.
#[derive(Debug)]
pub(super) struct Batches {
    pub(super) lower: PretextBatches,
    pub(super) product: PretextBatches,
    pub(super) upper: LabelledBatches,
}

/// The batches of the bilevel stage.
///
/// # Errors
/// Fewer images than a batch.
pub(super) fn batches(config: &RunConfig, started: &Started) -> Result<Batches> {
    let Started { images, split, .. } = started;
    let align = &config.align;
    let pretext = |batch, domains| images.pretext_batches(batch, config.seed, domains);
    let upper = (streams::ALIGN_UPPER_ORDER, streams::ALIGN_UPPER_VIEW);
    Ok(Batches {
        lower: pretext(align.batch, (streams::ALIGN_LOWER_ORDER, streams::ALIGN_LOWER_VIEW))?,
        product: pretext(
            align.product_batch(),
            (streams::ALIGN_PRODUCT_ORDER, streams::ALIGN_PRODUCT_VIEW),
        )?,
        upper: images.labelled_batches(&split.train, align.upper_batch, config.seed, upper)?,
    })
}

/// A problem at the start's weights.
///
/// # Errors
/// Weights that do not fit the networks.
pub(super) fn problem<'s, B: Kernels>(
    config: &RunConfig,
    started: &'s Started,
    sources: Sources,
    device: &B::Device,
) -> Result<Problem<'s, B>> {
    let curvature = curvature(config.align.curvature);
    let networks = &started.networks;
    let mut problem =
        Problem::new(networks, device.clone(), sources, pretext(config), curvature, config.seed);
    problem.recompute = recompute(&config.align);
    problem.multi_label = multi_label(config);
    for (group, weights) in [
        (Group::LowerBackbone, &started.backbone),
        (Group::PretextHead, &started.pretext_head),
        (Group::UpperBackbone, &started.upper_backbone),
        (Group::DownstreamHead, &started.head),
    ] {
        install(&mut problem, group, weights)?;
    }
    Ok(problem)
}
