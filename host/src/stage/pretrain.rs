//! Self-supervised pretraining on D^P.

use anyhow::Result;
use bissl_core::{Descent, Group, Stream};

use super::images::{Images, Needs, views_ahead};
use super::online::{OnlineProbe, labelled};
use super::session::{Course, Session, View};
use super::state::{self, Weights};
use crate::config::RunConfig;
use crate::data::streams;
use crate::driver::{Networks, Problem, Sources};
use crate::kernels::Kernels;
use crate::network::{Curvature, ParameterTable};
use crate::run::RunFolder;

/// A pretrained network.
#[derive(Clone, Debug)]
pub(super) struct Pretrained {
    pub(super) backbone: Weights,
    pub(super) head: Weights,
}

/// Which stretch of the initial-weights stream a network draws from, so that no two share draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    Backbone,
    PretextHead,
    /// The head of the warm-up.
    AlignHead,
    /// The fresh head of fine-tuning.
    FinetuneHead,
    ProbeHead,
}

/// Initial weights of a network.
pub(crate) fn initial(
    parameters: &ParameterTable,
    statistics: &ParameterTable,
    seed: u64,
    draw: Draw,
) -> Weights {
    let domain = streams::INITIAL_WEIGHTS + (draw as u16) * streams::INITIAL_WEIGHTS_STRIDE;
    let stream = Stream::new(seed, domain);
    Weights { parameters: parameters.initial(stream), statistics: statistics.initial(stream) }
}

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
    let networks = state::networks(&config, classes);
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
    let pretext = state::pretext(config);
    let mut problem =
        Problem::<B>::new(networks, device.clone(), sources, pretext, Curvature::Hessian, seed);
    let (backbone, head) = (&networks.backbone, &networks.pretext_head);
    for (group, network, draw) in [
        (Group::LowerBackbone, backbone, Draw::Backbone),
        (Group::PretextHead, head, Draw::PretextHead),
    ] {
        let weights = initial(network.parameters(), network.statistics(), seed, draw);
        state::install(&mut problem, group, &weights)?;
    }
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
    Ok(Pretrained {
        backbone: state::extract(&mut problem, Group::LowerBackbone)?,
        head: state::extract(&mut problem, Group::PretextHead)?,
    })
}
