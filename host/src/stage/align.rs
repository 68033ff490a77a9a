//! The bilevel stage; its result is θ_P.

use bissl_core::{Alternation, Group};

use super::bilevel::{Batches, Steps, problem};
use super::memory::require_memory;
use super::observer::Observer;
use super::origin::Pretrained;
use super::task::Task;
use super::tensors::{self, Weights};
use super::training::{Course, Resumable, train};
use super::warm_up::Headed;
use crate::error::Result;
use crate::kernels::Kernels;

/// Alternates lower and upper steps from a pretrained network and a warmed-up head, in stage
/// `align`.
///
/// # Errors
/// A setting that the core refuses; fewer images than a batch; the solver's vectors do not fit into
/// memory; a loss or a solve is not finite; whatever the observer says.
pub fn align<B: Kernels>(
    task: &Task<B>,
    pretrained: &Pretrained,
    warmed: &Headed,
    observer: &mut impl Observer,
) -> Result<Weights> {
    let settings = &task.config.align;
    let alternation = settings.alternation()?;
    let steps = Steps::of(settings, settings.alternations)?;
    let sources = Batches::new(&task.config, task)?.ahead(&steps);
    let need = require_memory(&task.config, task.networks.backbone.parameters().len())?;
    observer.note(&need.to_string());
    let mut problem = problem(&task.config, task, sources, (pretrained, warmed))?;
    let between_steps = settings.solver()?.facts().resumes_between_steps();
    let resumable = if between_steps { Resumable::Steps } else { Resumable::Alternations };
    let course = Course { steps: steps.total(), resumable };
    let stage = task.stage("align");
    train(observer, &stage, &mut problem, Alternation::new(alternation), course, None)?;
    tensors::extract(&mut problem, Group::LowerBackbone)
}
