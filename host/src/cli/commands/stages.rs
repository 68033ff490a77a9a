//! `pretrain`, `align`, `finetune`, `evaluate`.

use super::opening::{open, warn};
use super::solves::SolveSummary;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::report::Table;
use crate::run::{Origin, RunFolder};
use crate::stage::origin::Stored;
use crate::stage::{self, Frozen, Headed, Needs, Task, View, metric};

pub(super) fn pretrain<B: Kernels>(
    folder: RunFolder,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let probed = config.pretrain.probe_every_epochs.is_some();
    let needs = if probed { Needs::Both } else { Needs::Pretext };
    let task = Task::<B>::load(config, needs, device)?;
    warn(&task);
    // Refused before the run begins, and so leaves no folder.
    stage::require_validation(&task)?;
    let mut session = open(folder, &task, view)?;
    stage::pretrain(&task, &mut session)?;
    println!("pretrained backbone: {}", session.folder().path().display());
    Ok(())
}

pub(super) fn align<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let task = Task::<B>::continued(config, Needs::Both, stored.tensors(), device)?;
    warn(&task);
    stored.require_same_labels(&task.config)?;
    let pretrained = stored.pretrained(&task.networks)?;
    let mut session = open(folder, &task, view)?;
    let warmed = stage::warm_up(&task, &pretrained.backbone, &mut session)?;
    stage::align(&task, &pretrained, &warmed, &mut session)?;
    print!("{}", SolveSummary::read(&session.folder().metrics_path(), "align")?);
    println!("aligned backbone: {}", session.folder().path().display());
    Ok(())
}

pub(super) fn finetune<B: Kernels>(
    folder: RunFolder,
    from: &Origin,
    config: RunConfig,
    view: View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    let task = Task::<B>::continued(config, Needs::Downstream, stored.tensors(), device)?;
    warn(&task);
    // Before anything is computed that it could not judge.
    let chosen = task.metric()?;
    stored.require_same_labels(&task.config)?;
    let backbone = stored.backbone(&task.networks)?;
    let mut session = open(folder, &task, view)?;
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
    println!("fine-tuned network: {}", session.folder().path().display());
    Ok(())
}

pub(super) fn evaluate<B: Kernels>(
    from: &Origin,
    config: RunConfig,
    view: &View,
    device: B::Device,
) -> Result<()> {
    let stored = Stored::open(from, &config)?;
    // By the seed of the stage: by another one, images that it was trained on would be test images.
    let config = RunConfig { seed: stored.seed()?, ..config };
    let task = Task::<B>::continued(config, Needs::Downstream, stored.tensors(), device)?;
    warn(&task);
    let by = metric::words(task.metric()?);
    let (backbone, head) = stored.result(&task.networks)?;
    let (test, mut table) = (&task.split.test, Table::new(["measure", "value"]));
    let mut row = |measure: String, value: f64| table.row([measure, format!("{value:.4}")]);
    if let Some(head) = head {
        let network = Headed { backbone: backbone.clone(), head };
        for (metric, value) in stage::measured(&task, &network, test)? {
            row(format!("held-out {}", metric::words(metric)), value);
        }
    }
    let Frozen { knn, probe } = stage::frozen(&task, &backbone, &task.split.train, test)?;
    row(format!("linear probe, {by}"), probe);
    row(format!("{} nearest neighbours, {by}", task.config.evaluate.knn_neighbours), knn);
    if view.interrupt.requested() {
        return Err(Error::Interrupted);
    }
    println!("{} ({} test images)", stored.path.display(), test.len());
    print!("{table}");
    Ok(())
}
