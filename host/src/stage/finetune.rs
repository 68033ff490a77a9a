//! Fine-tuning of backbone and fresh head on the downstream task.

use bissl_core::Descent;

use super::evaluate::metric_of;
use super::features::scores;
use super::images::labelled_ahead;
use super::initial::Draw;
use super::measured::{Keep, Measured};
use super::observer::Observer;
use super::task::Task;
use super::tensors::Weights;
use super::training::{Course, train};
use super::warm_up::{Headed, problem, result};
use crate::config::EpochChoice;
use crate::data::streams;
use crate::driver::{Problem, Sources};
use crate::error::Result;
use crate::kernels::Kernels;
use crate::run::Record;

/// A fine-tuned network.
#[derive(Clone, Debug)]
pub struct Finetuned {
    /// θ_D and φ_D.
    pub network: Headed,
    /// The metric on the validation images, where there are any.
    pub validation: Option<f64>,
}

/// Fine-tunes from a backbone, with a fresh head, in stage `finetune`.
///
/// # Errors
/// Fewer labelled images than a batch; the metric does not fit the labels; a loss is not finite;
/// whatever the observer says.
pub fn finetune<B: Kernels>(
    task: &Task<B>,
    start: &Weights,
    observer: &mut impl Observer,
) -> Result<Finetuned> {
    finetune_as(task, "finetune", start, observer)
}

/// The same in a stage of another name.
///
/// # Errors
/// As [`finetune`].
pub fn finetune_as<B: Kernels>(
    task: &Task<B>,
    name: &str,
    start: &Weights,
    observer: &mut impl Observer,
) -> Result<Finetuned> {
    let chosen = task.metric()?;
    let stage = &*task.stage(name);
    let (settings, split) = (&task.config.finetune, &task.split);
    let domains = (streams::DOWNSTREAM_ORDER, streams::DOWNSTREAM_VIEW);
    let batches = task.images.labelled_batches(&split.train, settings.batch, task.seed, domains)?;
    let per_epoch = batches.batches_per_epoch();
    let descent = settings.descent(per_epoch)?;
    let upper = Some(labelled_ahead(batches, descent.steps()));
    let sources = Sources { upper, ..Sources::default() };
    let mut problem = problem(task, sources, start, Draw::FinetuneHead)?;

    let mut validate = |problem: &mut Problem<'_, B>, step: u32| -> Result<Vec<Measured>> {
        if !(step + 1).is_multiple_of(per_epoch) {
            return Ok(Vec::new());
        }
        let Headed { backbone, head } = result(problem)?;
        let scores = scores(task, &backbone, &head, &split.validation)?;
        let value = metric_of(task, chosen, &scores, &split.validation)?;
        let (stage, epoch) = (stage.to_owned(), (step + 1) / per_epoch);
        let record = Record::Validation { stage, epoch, accuracy: value, metric: chosen };
        let keep = Keep::Weights;
        Ok(vec![Measured { metric: "validation", value, record, keep }])
    };
    let chooses = settings.choice == EpochChoice::Best && !split.validation.is_empty();
    let course = Course::steps(u64::from(descent.steps()));
    let machine = Descent::new(descent);
    let selected = if chooses {
        train(observer, stage, &mut problem, machine, course, Some(&mut validate))?
    } else {
        train(observer, stage, &mut problem, machine, course, None)?
    };
    Ok(match selected {
        Some(selected) => Finetuned {
            network: Headed { backbone: selected.backbone, head: selected.head },
            validation: Some(selected.best.accuracy),
        },
        None => Finetuned { network: result(&mut problem)?, validation: None },
    })
}
