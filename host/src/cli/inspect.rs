//! `bissl inspect`: what a run, a checkpoint or a file of tensors holds.

use std::fmt::Write as _;
use std::path::Path;

use crate::interchange::{FileDescription, describe_file};
use crate::report::Table;
use crate::run::{
    Checkpoint, Manifest, Origin, Retention, RunError, last_metrics, read_checkpoint,
};
use crate::text::shown;

/// How many of the last metrics are shown.
const METRICS_SHOWN: usize = 3;

/// The description of `path`.
pub(super) fn describe(path: &Path) -> Result<String, RunError> {
    if path.is_file() {
        let FileDescription { container, tensors, import } = describe_file(path)?;
        let import = import.join("\n");
        let tensors = table(tensors);
        return Ok(format!("{}: {container}\n\n{tensors}\n{import}\n", shown(path)));
    }
    match Origin::of(path)? {
        origin @ Origin::Run(_) => run(path, &origin),
        Origin::Checkpoint(path) => {
            let checkpoint: Checkpoint<serde_json::Value> = read_checkpoint(&path, None)?;
            Ok(format!("{}\n\n{}", title(&checkpoint.manifest), tensors(&checkpoint)))
        }
    }
}

fn run(path: &Path, origin: &Origin) -> Result<String, RunError> {
    let mut text = format!("run {}\n\n{}\n", shown(path), origin.config()?.to_lines());
    let checkpoints = origin.checkpoints();
    let (mut entries, _) = checkpoints.entries()?;
    entries.reverse();
    let mut finished = Table::new(["stage", "step", "network"]);
    for manifest in entries.iter().map(|entry| &entry.manifest) {
        if manifest.retention == Retention::Permanent {
            let Manifest { stage, step, architecture, .. } = manifest;
            finished.row([stage.clone(), step.to_string(), architecture.clone()]);
        }
    }
    let _ = write!(text, "finished stages\n{finished}\n");
    let newest = checkpoints.newest::<serde_json::Value>(None, None)?;
    for error in &newest.passed_over {
        let _ = writeln!(text, "warning: {error}");
    }
    match newest.checkpoint {
        Some(checkpoint) => {
            let _ = writeln!(text, "newest valid {}", title(&checkpoint.manifest));
            text += &tensors(&checkpoint);
        }
        None => text += "no valid checkpoint\n",
    }
    let metrics = last_metrics(&origin.metrics_path(), METRICS_SHOWN)?;
    let _ = writeln!(text, "\nlast metrics{}", if metrics.is_empty() { ": none" } else { "" });
    for line in metrics {
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}

fn title(manifest: &Manifest) -> String {
    let Manifest { stage, step, architecture, .. } = manifest;
    format!("checkpoint: stage {stage}, step {step}, network {architecture}")
}

fn tensors(checkpoint: &Checkpoint<serde_json::Value>) -> String {
    let describe = |tensor: &crate::run::NamedTensor| {
        (tensor.name.clone(), tensor.shape.clone(), "F32".to_owned())
    };
    table(checkpoint.tensors.iter().map(describe).collect())
}

fn table(tensors: Vec<(String, Vec<usize>, String)>) -> String {
    let mut table = Table::new(["tensor", "shape", "type", "values"]);
    let mut total = 0;
    for (name, shape, kind) in tensors {
        let count: usize = shape.iter().product();
        total += count;
        table.row([name, format!("{shape:?}"), kind, count.to_string()]);
    }
    table.row(["total", "", "", &total.to_string()]);
    table.to_string()
}
