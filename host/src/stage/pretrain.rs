//! Self-supervised pretraining on D^P.

use crate::error::Result;
use bissl_core::{Descent, Group};

use super::images::{Images, Needs, views_ahead};
use super::initial::{Draw, initial};
use super::online::{OnlineProbe, labelled};
use super::origin::Pretrained;
use super::session::{Course, Session, View};
use super::tensors;
use crate::config::RunConfig;
use crate::data::streams;
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::model::{self, problem_settings};
use crate::run::RunFolder;

/// The command `pretrain`.
pub(super) fn command<B: Kernels>(
    folder: RunFolder,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let probed = config.pretrain.probe_every_epochs.is_some();
    let images = Images::load(&config, if probed { Needs::Both } else { Needs::Pretext }, &[])?;
    images.warn();
    if probed {
        // Refused before the run begins, and so leaves no folder.
        labelled(&config, config.seed, &images)?;
    }
    let classes = images.downstream.as_ref().map_or(1, |set| set.classes().len());
    let networks = model::networks(&config, classes);
    let mut session = Session::open(folder, &config, view, images.kept())?;
    images.write_quarantine(session.folder.path())?;
    pretrain::<B>(&mut session, "pretrain", &config, config.seed, &images, &networks, &device)?;
    println!("pretrained backbone: {}", session.folder.path().display());
    Ok(())
}

/// Pretrains from initial weights.
pub(super) fn pretrain<B: Kernels>(
    session: &mut Session,
    stage: &str,
    config: &RunConfig,
    seed: u64,
    images: &Images,
    networks: &Networks,
    device: &B::Device,
) -> Result<Pretrained> {
    let settings = &config.pretrain;
    let domains = (streams::PRETEXT_ORDER, streams::PRETEXT_VIEW);
    let batches = images.pretext_batches(settings.batch, seed, domains)?;
    let per_epoch = batches.batches_per_epoch();
    let descent = settings.descent(per_epoch)?;
    let probe = OnlineProbe::new(config, seed, images, networks, device, per_epoch)?;
    let sources =
        Sources { lower: Some(views_ahead(batches, descent.steps())), ..Sources::default() };
    let mut problem = problem::<B>(config, seed, networks, sources, device)?;
    let steps = u64::from(descent.steps());
    let (machine, course) = (Descent::new(descent), Course::steps(steps));
    match probe {
        Some(probe) => {
            let mut measure =
                |problem: &mut Problem<'_, B>, step| probe.measure(stage, problem, step);
            session.train(stage, &mut problem, machine, course, Some(&mut measure))?;
        }
        None => drop(session.train(stage, &mut problem, machine, course, None)?),
    }
    result(&mut problem)
}

/// A problem of L^P alone, at initial weights.
///
/// # Errors
/// None: the weights are those of the networks.
pub(super) fn problem<'n, B: Kernels>(
    config: &RunConfig,
    seed: u64,
    networks: &'n Networks,
    sources: Sources,
    device: &B::Device,
) -> Result<Problem<'n, B>> {
    let settings = problem_settings(config, seed);
    let mut problem = Problem::new(networks, device.clone(), sources, settings);
    for (group, network, draw) in [
        (Group::LowerBackbone, &networks.backbone, Draw::Backbone),
        (Group::PretextHead, &networks.pretext_head, Draw::PretextHead),
    ] {
        tensors::install(&mut problem, group, &initial(network, seed, draw))?;
    }
    Ok(problem)
}

/// What pretraining has come to.
pub(super) fn result<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<Pretrained> {
    Ok(Pretrained {
        backbone: tensors::extract(problem, Group::LowerBackbone)?,
        head: tensors::extract(problem, Group::PretextHead)?,
    })
}
