//! `pretrain`, `align`, `finetune`, `evaluate`.

use super::announce::{Stage, announce};
use super::opening::{known, measured, open, warn};
use super::solves::SolveSummary;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::progress;
use crate::report::Table;
use crate::run::{Origin, RunFolder};
use crate::stage::origin::Stored;
use crate::stage::recording::Splits;
use crate::stage::{self, Frozen, Headed, Needs, Task, View, metric};
use crate::text::shown;

pub(super) fn pretrain<B: Kernels>(
    folder: RunFolder,
    config: RunConfig,
    accept_changed: bool,
    view: View,
    device: B::Device,
) -> Result<()> {
    let probed = config.pretrain.probe_every_epochs.is_some();
    let needs = if probed { Needs::Both } else { Needs::Pretext };
    let known = known(&folder, None, accept_changed)?;
    let task = Task::<B>::continued(config, needs, &[], &known, device)?;
    warn(&task, &view, &["pretrain"])?;
    // Refused before the run begins, and so leaves no folder.
    stage::require_validation(&task)?;
    announce(&task, &[Stage::Pretrain], folder.path(), view.verbosity);
    let mut session = open(folder, &task, Splits::One, view)?;
    stage::pretrain(&task, &mut session)?;
    println!("pretrained backbone: {}", shown(session.folder().path()));
    Ok(())
}

pub(super) fn align<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    accept_changed: bool,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let known = known(&folder, Some((from, &stored)), accept_changed)?;
    let task = Task::<B>::continued(config, Needs::Both, stored.tensors(), &known, device)?;
    warn(&task, &view, &["warm_up", "align"])?;
    stored.require_same_labels(&task.config)?;
    let pretrained = stored.pretrained(&task.networks)?;
    announce(&task, &[Stage::Align], folder.path(), view.verbosity);
    let mut session = open(folder, &task, Splits::One, view)?;
    let warmed = stage::warm_up(&task, &pretrained.backbone, &mut session)?;
    stage::align(&task, &pretrained, &warmed, &mut session)?;
    print!("{}", SolveSummary::read(&session.folder().metrics_path(), "align")?);
    println!("aligned backbone: {}", shown(session.folder().path()));
    Ok(())
}

pub(super) fn finetune<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    accept_changed: bool,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let known = known(&folder, Some((from, &stored)), accept_changed)?;
    let task = Task::<B>::continued(config, Needs::Downstream, stored.tensors(), &known, device)?;
    warn(&task, &view, &["finetune"])?;
    // Before anything is computed that it could not judge.
    let chosen = task.metric()?;
    stored.require_same_labels(&task.config)?;
    let backbone = stored.backbone(&task.networks)?;
    announce(&task, &[Stage::Finetune], folder.path(), view.verbosity);
    let mut session = open(folder, &task, Splits::One, view)?;
    let tuned = stage::finetune(&task, &backbone, &mut session)?;
    let mut table = Table::new(["measure", "value"]);
    if let Some(validation) = tuned.validation {
        let measure = format!("validation {}", metric::words(chosen));
        table.row([measure, format!("{validation:.4}")]);
    }
    for (metric, value) in stage::measured(&task, &tuned.network, &task.split.test)? {
        session.result("finetune", metric::result_name(metric), value)?;
        table.row([format!("test {}", metric::words(metric)), format!("{value:.4}")]);
    }
    print!("{table}");
    println!("fine-tuned network: {}", shown(session.folder().path()));
    Ok(())
}

pub(super) fn evaluate<B: Kernels>(
    from: &Origin,
    config: RunConfig,
    accept_changed: bool,
    view: &View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    // By the seed of the stage: by another one, images that it was trained on would be test images.
    let config = RunConfig { seed: stored.seed()?, ..config };
    let known = measured(from, &stored, accept_changed)?;
    let task = Task::<B>::continued(config, Needs::Downstream, stored.tensors(), &known, device)?;
    warn(&task, view, &[])?;
    let (backbone, head) = stored.result(&task.networks)?;
    if let (Some(head), [_, ..]) = (&head, task.images.unknown_classes()) {
        let network = Headed { backbone, head: head.clone() };
        return print_confusion(&task, &network);
    }
    let by = metric::words(task.metric()?);
    let (test, mut table) = (&task.split.test, Table::new(["measure", "value"]));
    let mut row = |measure: String, value: f64| table.row([measure, format!("{value:.4}")]);
    if let Some(head) = head {
        let network = Headed { backbone: backbone.clone(), head };
        let judged = task.images.judged(&task.split);
        for (metric, value) in stage::measured(&task, &network, &judged)? {
            row(format!("held-out {}", metric::words(metric)), value);
        }
    }
    let Frozen { knn, probe } = stage::frozen(&task, &backbone, &task.split.train, test)?;
    row(format!("linear probe, {by}"), probe);
    row(format!("{} nearest neighbours, {by}", task.config.evaluate.knn_neighbours), knn);
    if view.interrupt.requested() {
        return Err(Error::Interrupted);
    }
    println!("{} ({} test images)", shown(&stored.path), test.len());
    print!("{table}");
    Ok(())
}

/// What a head takes the images of a set for, some of whose classes it does not know.
fn print_confusion<B: Kernels>(task: &Task<B>, network: &Headed) -> Result<()> {
    let set = task.images.downstream();
    let unknown = task.images.unknown_classes();
    progress::warn(&format!(
        "warning: the head does not know {}: no measure is printed, only what it takes them for",
        unknown.join(", ")
    ));
    let items = set.all_items();
    let scores = stage::scores(task, &network.backbone, &network.head, &items)?;
    let head = &set.classes()[..set.classes().len() - unknown.len()];
    let mut counts = vec![vec![0u32; head.len()]; set.classes().len()];
    for (item, row) in items.iter().zip(scores.values.chunks(scores.classes)) {
        let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        for class in set.present(*item) {
            counts[*class as usize][best.unwrap_or(0)] += 1;
        }
    }
    let columns: Vec<&str> = ["class"].into_iter().chain(head.iter().map(String::as_str)).collect();
    let mut table = Table::new(columns);
    for (class, counts) in set.classes().iter().zip(counts) {
        if counts.iter().any(|count| *count > 0) {
            let row = std::iter::once(class.clone());
            table.row(row.chain(counts.iter().map(u32::to_string)));
        }
    }
    print!("{table}");
    Ok(())
}
