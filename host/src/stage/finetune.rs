//! Fine-tuning of backbone and fresh head on the downstream task.

use crate::error::Result;
use bissl_core::Descent;

use super::evaluate::{measured, metric_of};
use super::features::{Labels, scores};
use super::images::{Images, Needs, labelled_ahead};
use super::initial::Draw;
use super::metric;
use super::origin::Stored;
use super::session::{Course, Keep, Measured, Session, View};
use super::tensors::Weights;
use super::warm_up::{Downstream, Warmed, problem, result};
use crate::config::{Choice, RunConfig};
use crate::data::streams;
use crate::driver::{Problem, Sources};
use crate::kernels::Kernels;
use crate::model;
use crate::report::Table;
use crate::run::{Origin, Record, RunFolder};

/// A fine-tuned network.
#[derive(Clone, Debug)]
pub(super) struct Finetuned {
    pub(super) backbone: Weights,
    pub(super) head: Weights,
    /// The metric on the validation images, where there are any.
    pub(super) validation: Option<f64>,
}

/// The command `finetune`.
pub(super) fn command<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let images = Images::load(&config, Needs::Downstream, stored.tensors())?;
    images.warn();
    // Before anything is computed that it could not judge.
    metric::chosen(config.evaluate.metric, images.downstream().task())?;
    let split = images.split(&config, config.seed)?;
    let networks = model::networks(&config, images.downstream().classes().len());
    stored.require_same_labels(&config)?;
    let weights = stored.backbone(&networks)?;
    let mut session = Session::open(folder, &config, view, images.kept())?;
    images.write_quarantine(session.folder.path())?;
    let seed = config.seed;
    let task =
        Downstream { config: &config, seed, images: &images, split: &split, networks: &networks };
    let tuned = finetune::<B>(&mut session, "finetune", task, &weights, &device)?;
    let labels = Labels { images: &images, networks: &networks, device: &device };
    let mut table = Table::new(["measure", "value"]);
    if let Some(validation) = tuned.validation {
        let measure = format!("validation {}", metric::words(session.metric));
        table.row([measure, format!("{validation:.4}")]);
    }
    let scores = scores::<B>(labels, &tuned.backbone, &tuned.head, &split.test)?;
    for (metric, value) in measured(labels, session.metric, &scores, &split.test)? {
        session.result("finetune", metric::result_name(metric), value)?;
        table.row([format!("test {}", metric::words(metric)), format!("{value:.4}")]);
    }
    print!("{table}");
    println!("fine-tuned network: {}", session.folder.path().display());
    Ok(())
}

/// Fine-tunes from a backbone, with a fresh head.
pub(super) fn finetune<B: Kernels>(
    session: &mut Session,
    stage: &str,
    task: Downstream<'_>,
    start: &Weights,
    device: &B::Device,
) -> Result<Finetuned> {
    let Downstream { config, seed, images, split, networks } = task;
    session.metric = metric::chosen(config.evaluate.metric, images.downstream().task())?;
    let chosen = session.metric;
    let settings = &config.finetune;
    let domains = (streams::DOWNSTREAM_ORDER, streams::DOWNSTREAM_VIEW);
    let batches = images.labelled_batches(&split.train, settings.batch, seed, domains)?;
    let per_epoch = batches.batches_per_epoch();
    let descent = settings.descent(per_epoch)?;
    let sources =
        Sources { upper: Some(labelled_ahead(batches, descent.steps())), ..Sources::default() };
    let start = (start, Draw::FinetuneHead);
    let mut problem = problem::<B>(config, seed, networks, sources, start, device)?;

    let labels = Labels { images, networks, device };
    let mut validate = |problem: &mut Problem<'_, B>, step: u32| -> Result<Option<Measured>> {
        if !(step + 1).is_multiple_of(per_epoch) {
            return Ok(None);
        }
        let Warmed { backbone, head } = result(problem)?;
        let scores = scores::<B>(labels, &backbone, &head, &split.validation)?;
        let value = metric_of(labels, chosen, &scores, &split.validation)?;
        let (stage, epoch) = (stage.to_owned(), (step + 1) / per_epoch);
        let record = Record::Validation { stage, epoch, accuracy: value, metric: chosen };
        let keep = Keep::Weights;
        Ok(Some(Measured { metric: "validation", value, record, keep }))
    };
    let chooses = settings.choice == Choice::Best && !split.validation.is_empty();
    let steps = u64::from(descent.steps());
    let machine = Descent::new(descent);
    let selected = if chooses {
        session.train(stage, &mut problem, machine, Course::steps(steps), Some(&mut validate))?
    } else {
        session.train(stage, &mut problem, machine, Course::steps(steps), None)?
    };
    match selected {
        Some(selected) => Ok(Finetuned {
            backbone: selected.backbone,
            head: selected.head,
            validation: Some(selected.best.accuracy),
        }),
        None => {
            let Warmed { backbone, head } = result(&mut problem)?;
            Ok(Finetuned { backbone, head, validation: None })
        }
    }
}
