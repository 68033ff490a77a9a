//! Self-supervised pretraining on D^P.

use bissl_core::{Descent, DescentSettings, Group};

use super::images::views_ahead;
use super::initial::{Draw, initial};
use super::measured::Measured;
use super::observer::Observer;
use super::online::OnlineProbe;
use super::origin::Pretrained;
use super::spread::SpreadProbe;
use super::task::Task;
use super::tensors;
use super::training::{Course, train};
use crate::data::{PretextBatches, streams};
use crate::driver::{Problem, Sources};
use crate::error::Result;
use crate::kernels::Kernels;

/// Pretrains from initial weights, in stage `pretrain`.
///
/// # Errors
/// Fewer images than a batch; the online probe has no validation images; a loss is not finite;
/// whatever the observer says.
pub fn pretrain<B: Kernels>(task: &Task<B>, observer: &mut impl Observer) -> Result<Pretrained> {
    let settings = &task.config.pretrain;
    let batches = batches(task, settings.batch)?;
    let per_epoch = batches.batches_per_epoch();
    let descent = settings.descent(per_epoch)?;
    let probes = Probes {
        online: OnlineProbe::new(task, per_epoch)?,
        spread: SpreadProbe::new(task, per_epoch, descent.steps()),
    };
    descend(task, batches, descent, Some(&probes), observer)
}

/// What is measured while a backbone is pretrained.
pub(super) struct Probes<'a, B: Kernels> {
    online: Option<OnlineProbe<'a, B>>,
    spread: Option<SpreadProbe<'a, B>>,
}

impl<B: Kernels> Probes<'_, B> {
    /// The measures after step `index`.
    fn measure(
        &self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        index: u32,
    ) -> Result<Vec<Measured>> {
        let mut measured = Vec::new();
        if let Some(online) = &self.online {
            measured.extend(online.measure(stage, problem, index)?);
        }
        if let Some(spread) = &self.spread {
            measured.extend(spread.measure(stage, problem, index)?);
        }
        Ok(measured)
    }
}

/// The batches of pretraining.
pub(super) fn batches<B: Kernels>(task: &Task<B>, batch: usize) -> Result<PretextBatches> {
    let domains = (streams::PRETEXT_ORDER, streams::PRETEXT_VIEW);
    task.images.pretext_batches(batch, task.seed, domains)
}

/// Descends L^P from initial weights; no step leaves them as they are.
pub(super) fn descend<B: Kernels>(
    task: &Task<B>,
    batches: PretextBatches,
    descent: DescentSettings,
    probes: Option<&Probes<'_, B>>,
    observer: &mut impl Observer,
) -> Result<Pretrained> {
    let lower = Some(views_ahead(batches, descent.steps()));
    let mut problem = problem(task, Sources { lower, ..Sources::default() })?;
    let course = Course::steps(u64::from(descent.steps()));
    let (stage, machine) = (&*task.stage("pretrain"), Descent::new(descent));
    match probes {
        Some(probes) => {
            let mut measure =
                |problem: &mut Problem<'_, B>, step| probes.measure(stage, problem, step);
            train(observer, stage, &mut problem, machine, course, Some(&mut measure))?;
        }
        None => drop(train(observer, stage, &mut problem, machine, course, None)?),
    }
    result(&mut problem)
}

/// A problem of L^P alone, at initial weights.
pub(super) fn problem<B: Kernels>(task: &Task<B>, sources: Sources) -> Result<Problem<'_, B>> {
    let Task { config, seed, networks, device, .. } = task;
    let settings = task.problem_settings(config);
    let mut problem = Problem::new(networks, device.clone(), sources, settings);
    for (group, network, draw) in [
        (Group::LowerBackbone, &networks.backbone, Draw::Backbone),
        (Group::PretextHead, &networks.pretext_head, Draw::PretextHead),
    ] {
        tensors::install(&mut problem, group, &initial(network, *seed, draw))?;
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
