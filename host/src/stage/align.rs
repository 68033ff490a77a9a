//! The bilevel stage; its result is θ_P.

use anyhow::{Context, Result, bail};
use bissl_core::{Alternation, Bank, Group, Register};

use super::images::{Images, Needs, labelled_ahead, views_ahead};
use super::pretrain::Pretrained;
use super::session::{Course, Resumable, Session, View};
use super::solves::SolveSummary;
use super::state::{self, Weights};
use super::warm_up::{Downstream, Warmed, warm_up};
use crate::config::{AlignSettings, CurvatureName, RunConfig, SolverName, StatisticsName};
use crate::data::streams;
use crate::driver::{Moving, Problem, Sources};
use crate::kernels::Kernels;
use crate::measure::plan::require_memory;
use crate::network::{Curvature, Recompute};
use crate::progress::Verbosity;
use crate::run::{Origin, RunFolder, read_checkpoint};

/// The command `align`: warm-up, then the bilevel stage.
pub(super) fn command<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let path = from.checkpoint_path()?;
    let architecture = state::architecture(&config);
    let checkpoint = read_checkpoint::<serde_json::Value>(&path, Some(&architecture))?;
    let images = Images::load(&config, Needs::Both, &checkpoint.tensors)?;
    images.warn();
    let split = images.split(&config, config.seed)?;
    let networks = state::networks(&config, images.downstream().classes().len());
    state::require_same_labels(&checkpoint, &config).with_context(|| path.display().to_string())?;
    let part = |group| state::group_weights(group, &networks, &checkpoint.tensors);
    let read = || Ok::<_, anyhow::Error>((part(Group::LowerBackbone)?, part(Group::PretextHead)?));
    let pretrained = match read().with_context(|| path.display().to_string())? {
        (Some(backbone), Some(head)) => Pretrained { backbone, head },
        _ => bail!(
            "{}: expected the checkpoint of a pretrained or aligned run, found stage {}",
            path.display(),
            checkpoint.manifest.stage
        ),
    };
    let mut session = Session::open(folder, &config, view, images.kept())?;
    images.write_quarantine(session.folder.path())?;
    let seed = config.seed;
    let task =
        Downstream { config: &config, seed, images: &images, split: &split, networks: &networks };
    let warmed = warm_up::<B>(&mut session, "warm-up", task, &pretrained.backbone, &device)?;
    align::<B>(&mut session, "align", task, &pretrained, &warmed, &device)?;
    let metrics = session.folder.path().join("metrics.jsonl");
    print!("{}", SolveSummary::read(&metrics, "align")?);
    println!("aligned backbone: {}", session.folder.path().display());
    Ok(())
}

/// The operator of that name.
pub(crate) fn curvature(name: CurvatureName) -> Curvature {
    match name {
        CurvatureName::Hessian => Curvature::Hessian,
        CurvatureName::GaussNewton => Curvature::GaussNewton,
    }
}

/// What products compute anew.
pub(crate) fn recompute(settings: &AlignSettings) -> Recompute {
    if settings.recompute { Recompute::Cotangents } else { Recompute::Nothing }
}

/// What moves running statistics.
fn moving(name: StatisticsName) -> Moving {
    match name {
        StatisticsName::LowerSteps => Moving::LowerSteps,
        StatisticsName::EveryPass => Moving::EveryPass,
    }
}

/// Alternates lower and upper steps from a pretrained network and a warmed-up head.
///
/// θ_P and θ_D both start at the pretrained parameters; optimiser states are fresh, and a target network
/// is a copy of θ_P and φ_P again.
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
    let (alternations, lower_steps) = (settings.alternations, settings.lower_steps);
    let lower_total = alternations * lower_steps;
    let upper_total = alternations * settings.upper_steps;
    let lower = images.pretext_batches(
        settings.batch,
        seed,
        (streams::ALIGN_LOWER_ORDER, streams::ALIGN_LOWER_VIEW),
    )?;
    let product = images.pretext_batches(
        settings.product_batch(),
        seed,
        (streams::ALIGN_PRODUCT_ORDER, streams::ALIGN_PRODUCT_VIEW),
    )?;
    let upper = images.labelled_batches(
        &split.train,
        settings.upper_batch,
        seed,
        (streams::ALIGN_UPPER_ORDER, streams::ALIGN_UPPER_VIEW),
    )?;
    let sources = Sources {
        lower: Some(views_ahead(lower, lower_total)),
        product: Some(views_ahead(product, alternations)),
        upper: Some(labelled_ahead(upper, upper_total)),
    };
    let curvature = curvature(settings.curvature);
    let parameters = networks.backbone.parameters().len();
    let need = require_memory(config, parameters)?;
    if session.view.verbosity == Verbosity::Progress {
        eprintln!("{need}");
    }
    let pretext = state::pretext(config);
    let mut problem =
        Problem::<B>::new(networks, device.clone(), sources, pretext, curvature, seed);
    problem.recompute = recompute(settings);
    problem.moving = moving(settings.statistics);
    problem.multi_label = state::multi_label(config);
    state::install(&mut problem, Group::LowerBackbone, &pretrained.backbone)?;
    state::install(&mut problem, Group::PretextHead, &pretrained.head)?;
    state::install(&mut problem, Group::UpperBackbone, &warmed.backbone)?;
    state::install(&mut problem, Group::DownstreamHead, &warmed.head)?;
    let steps = u64::from(lower_total) + u64::from(upper_total);
    // The lower steps of M-FAC fill a bank; SOBA's iterate lives on from alternation to alternation.
    let resumable = match settings.solver {
        SolverName::Mfac => Resumable::Alternations,
        _ => Resumable::Steps,
    };
    if settings.solver == SolverName::Soba {
        problem.lasting = vec![Register::Banked(Bank::Basis, 0)];
    }
    let course = Course { steps, resumable };
    session.train(stage, &mut problem, Alternation::new(alternation), course, None)?;
    state::extract(&mut problem, Group::LowerBackbone)
}
