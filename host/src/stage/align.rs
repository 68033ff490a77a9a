//! The bilevel stage; its result is θ_P.

use crate::error::Result;
use bissl_core::{Alternation, Group};

use super::bilevel::{Batches, Steps, problem};
use super::images::{Images, Needs};
use super::memory::require_memory;
use super::origin::{Pretrained, Stored};
use super::session::{Course, Resumable, Session, View};
use super::solves::SolveSummary;
use super::tensors::{self, Weights};
use super::warm_up::{Downstream, Warmed, warm_up};
use crate::config::{RunConfig, SolverName};
use crate::kernels::Kernels;
use crate::model;
use crate::progress::Verbosity;
use crate::run::{Origin, RunFolder};

/// The command `align`: warm-up, then the bilevel stage.
pub(super) fn command<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let images = Images::load(&config, Needs::Both, stored.tensors())?;
    images.warn();
    let split = images.split(&config, config.seed)?;
    let networks = model::networks(&config, images.downstream().classes().len());
    stored.require_same_labels(&config)?;
    let pretrained = stored.pretrained(&networks)?;
    let mut session = Session::open(folder, &config, view, images.kept())?;
    images.write_quarantine(session.folder.path())?;
    let seed = config.seed;
    let task =
        Downstream { config: &config, seed, images: &images, split: &split, networks: &networks };
    let warmed = warm_up::<B>(&mut session, "warm-up", task, &pretrained.backbone, &device)?;
    align::<B>(&mut session, "align", task, &pretrained, &warmed, &device)?;
    let metrics = session.folder.metrics_path();
    print!("{}", SolveSummary::read(&metrics, "align")?);
    println!("aligned backbone: {}", session.folder.path().display());
    Ok(())
}

/// Alternates lower and upper steps from a pretrained network and a warmed-up head.
pub(super) fn align<B: Kernels>(
    session: &mut Session,
    stage: &str,
    task: Downstream<'_>,
    pretrained: &Pretrained,
    warmed: &Warmed,
    device: &B::Device,
) -> Result<Weights> {
    let Downstream { config, seed, images, split, networks } = task;
    let settings = &config.align;
    let alternation = settings.alternation()?;
    let steps = Steps::of(settings, settings.alternations)?;
    let sources = Batches::new(config, seed, images, &split.train)?.ahead(&steps);
    let parameters = networks.backbone.parameters().len();
    let need = require_memory(config, parameters)?;
    if session.view.verbosity == Verbosity::Progress {
        eprintln!("{need}");
    }
    let begin = (pretrained, warmed);
    let mut problem = problem::<B>(config, seed, networks, sources, begin, device)?;
    // The lower steps of M-FAC fill a bank that no checkpoint holds.
    let resumable = match settings.solver {
        SolverName::Mfac => Resumable::Alternations,
        _ => Resumable::Steps,
    };
    let course = Course { steps: steps.total(), resumable };
    session.train(stage, &mut problem, Alternation::new(alternation), course, None)?;
    tensors::extract(&mut problem, Group::LowerBackbone)
}
