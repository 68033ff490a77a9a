//! `bissl runs`: lists runs, compares them, picks the best.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::fail;
use serde_json::json;

use crate::config::differences;
use crate::progress::{duration, warn};
use crate::report::Table;
use crate::report::{Format, json_text};
use crate::run::{Overview, RunError, RunState};
use crate::text::shown;

/// What is printed for something that a run does not have.
const ABSENT: &str = "–";

/// The runs in `folder`, and a warning for each that cannot be read.
fn read(folder: &Path) -> Result<Vec<Overview>, RunError> {
    let mut runs = Vec::new();
    for path in Overview::find(folder)? {
        match Overview::read(&path) {
            Ok(run) => runs.push(run),
            Err(error) => warn(&format!("warning: {error}")),
        }
    }
    if runs.is_empty() {
        let reason = "no config.toml that can be read lies in it or up to three folders deeper";
        return Err(RunError::NotFound {
            path: folder.to_owned(),
            expected: "a folder with runs",
            reason: reason.to_owned(),
        });
    }
    Ok(runs)
}

/// The runs in `folder`, a line each.
pub(super) fn list(folder: &Path, format: Format) -> crate::error::Result<String> {
    let runs = read(folder)?;
    if format == Format::Json {
        return Ok(json_text(&runs)?);
    }
    let mut table = Table::new([
        "run",
        "command",
        "state",
        "progress",
        "validation",
        "test",
        "duration",
        "network",
        "seed",
    ]);
    for run in &runs {
        table.row([
            shown(&run.path).to_string(),
            run.command.clone().unwrap_or_else(|| ABSENT.to_owned()),
            run.state.name().to_owned(),
            progress(run),
            accuracies(run, &["validation", "online_probe"]),
            accuracies(run, &["test_accuracy"]),
            run.seconds.map_or(ABSENT.to_owned(), |seconds| duration(seconds as f64)),
            run.network.clone(),
            run.seed.to_string(),
        ]);
    }
    Ok(table.to_string())
}

/// `align 120/560`.
fn progress(run: &Overview) -> String {
    match &run.progress {
        _ if run.state == RunState::Finished => "all".to_owned(),
        None => ABSENT.to_owned(),
        Some(at) => {
            let steps = at.steps.map_or(String::new(), |steps| format!("/{steps}"));
            format!("{} {}{steps}", at.stage, at.step)
        }
    }
}

/// The metrics of these names, each with its stage where there are several.
fn accuracies(run: &Overview, names: &[&str]) -> String {
    let found: Vec<_> = run
        .metrics
        .iter()
        .filter_map(|(key, value)| Some((key.rsplit_once('/')?, value)))
        .filter(|((_, name), _)| names.contains(name))
        .collect();
    match found[..] {
        [] => ABSENT.to_owned(),
        [(_, value)] => format!("{value:.4}"),
        _ => {
            let each = found.iter().map(|((stage, _), value)| format!("{stage} {value:.4}"));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Settings in which runs differ, and their metrics side by side.
pub(super) fn compare(paths: &[PathBuf], format: Format) -> crate::error::Result<String> {
    let runs: Vec<Overview> =
        paths.iter().map(|path| Overview::read(path)).collect::<Result<_, _>>()?;
    let configs: Vec<_> = runs.iter().map(|run| &run.config).collect();
    let settings = differences(&configs);
    let names: BTreeSet<&String> = runs.iter().flat_map(|run| run.metrics.keys()).collect();
    if format == Format::Json {
        let metrics: serde_json::Map<_, _> = names
            .into_iter()
            .map(|name| {
                let values: Vec<_> = runs.iter().map(|run| run.metrics.get(name)).collect();
                (name.clone(), json!(values))
            })
            .collect();
        let settings: serde_json::Map<_, _> =
            settings.into_iter().map(|(key, values)| (key, json!(values))).collect();
        let text = json!({ "runs": paths, "settings": settings, "metrics": metrics });
        return Ok(json_text(&text)?);
    }
    let headings = |first: &str| {
        let paths = paths.iter().map(|path| shown(path).to_string());
        Table::new([first.to_owned()].into_iter().chain(paths))
    };
    let mut of_settings = headings("setting");
    for (key, values) in settings {
        of_settings.row([key].into_iter().chain(values));
    }
    let mut of_metrics = headings("metric");
    for name in names {
        let value = |run: &Overview| {
            run.metrics.get(name).map_or(ABSENT.to_owned(), |value| format!("{value:.4}"))
        };
        of_metrics.row([name.clone()].into_iter().chain(runs.iter().map(value)));
    }
    Ok(format!("{of_settings}\n{of_metrics}"))
}

/// Which value is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Best {
    Highest,
    Lowest,
}

/// The path of the run in `folder` with the best `metric`; of equal ones the first.
pub(super) fn best(
    folder: &Path,
    metric: &str,
    which: Best,
    format: Format,
) -> crate::error::Result<String> {
    let runs = read(folder)?;
    let mut best: Option<(f64, &Overview)> = None;
    let mut known = BTreeSet::new();
    for run in &runs {
        known.extend(run.metrics.keys());
        let Some(value) = value(run, metric)? else { continue };
        let is_better = |found: f64| match which {
            Best::Highest => value > found,
            Best::Lowest => value < found,
        };
        if best.is_none_or(|(found, _)| is_better(found)) {
            best = Some((value, run));
        }
    }
    let Some((value, run)) = best else {
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        fail!(
            "--metric {metric}: no run in {} has it, expected one of {}",
            shown(folder),
            if known.is_empty() {
                "none: nothing was measured".to_owned()
            } else {
                known.join(", ")
            }
        );
    };
    if format == Format::Json {
        let path = &run.path;
        let checkpoints = &run.best_checkpoints;
        let text = json!({ "path": path, "metric": metric, "value": value, "best_checkpoints": checkpoints });
        return Ok(json_text(&text)?);
    }
    Ok(format!("{}\n", shown(&run.path)))
}

/// The metric of that name, with its stage or, where only one stage has it, without.
fn value(run: &Overview, metric: &str) -> crate::error::Result<Option<f64>> {
    if let Some(value) = run.metrics.get(metric) {
        return Ok(Some(*value));
    }
    let same = |key: &&String| key.rsplit_once('/').is_some_and(|(_, name)| name == metric);
    let found: Vec<&String> = run.metrics.keys().filter(same).collect();
    match found[..] {
        [] => Ok(None),
        [key] => Ok(run.metrics.get(key).copied()),
        [first, second, ..] => {
            let path = shown(&run.path);
            fail!(
                "--metric {metric}: {path} has several, expected its stage, too: {first} or {second}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Preset};
    use crate::run::{Ending, RunFolder};

    /// A run that ended with these metrics.
    fn run(folder: &Path, setting: &str, metrics: &[&str]) {
        let config = Layers::preset(Preset::Demo).set(setting).unwrap().resolve().unwrap();
        let run = RunFolder::create(folder, &config).unwrap();
        run.begin(vec!["bissl".to_owned(), "finetune".to_owned()], 1).unwrap();
        let mut writer = run.metrics(0).unwrap();
        for line in metrics {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            writer.append(&value).unwrap();
        }
        drop(run);
        RunFolder::end(folder, Ending::Finished).unwrap();
    }

    fn three(folder: &Path) {
        let result = |value| {
            format!(
                r#"{{"kind":"result","stage":"finetune","name":"test_accuracy","value":{value}}}"#
            )
        };
        let loss = r#"{"kind":"step","stage":"pretrain","index":0,"loss":2.5}"#;
        run(&folder.join("a"), "seed=1", &[&result(0.5)]);
        run(&folder.join("deep/b"), "seed=2", &[&result(0.75), loss]);
        let aligned = r#"{"kind":"result","stage":"s1-align","name":"test_accuracy","value":0.25}"#;
        run(&folder.join("deep/c"), "seed=2", &[&result(0.25), aligned]);
    }

    #[test]
    fn runs_are_listed_with_state_and_results() {
        let folder = tempfile::tempdir().unwrap();
        three(&folder.path().join("runs"));
        let listed = list(folder.path(), Format::Text).unwrap();
        assert_eq!(listed.lines().count(), 2 + 3, "{listed}");
        let line = listed.lines().nth(3).unwrap();
        for word in
            ["deep/b", "finetune", "finished", "0.7500", "0 s", "resnet-small width 16", "  2"]
        {
            assert!(line.contains(word), "{word}: {line}");
        }
        assert!(listed.contains("align 0.2500, finetune 0.2500"), "{listed}");
        let json: serde_json::Value =
            serde_json::from_str(&list(folder.path(), Format::Json).unwrap()).unwrap();
        assert_eq!(json[1]["metrics"]["finetune/test_accuracy"], 0.75);
        assert_eq!((&json[0]["state"], &json[0]["seed"]), (&json!("finished"), &json!(1)));
        let empty = list(&folder.path().join("runs/a/absent"), Format::Text).unwrap_err();
        assert!(empty.to_string().contains("absent"), "{empty}");
    }

    #[test]
    fn compared_runs_show_what_differs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        three(folder.path());
        let paths = ["a", "deep/b"].map(|name| folder.path().join(name));
        let text = compare(&paths, Format::Text).unwrap();
        let rows: Vec<_> = text.lines().map(|line| line.split_whitespace().next()).collect();
        assert_eq!(rows[2], Some("seed"), "{text}");
        assert_eq!(rows[6..], [Some("finetune/test_accuracy"), Some("pretrain/loss")], "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&compare(&paths, Format::Json).unwrap()).unwrap();
        assert_eq!(json["settings"], json!({ "seed": ["1", "2"] }));
        assert_eq!(json["metrics"]["pretrain/loss"], json!([null, 2.5]));
    }

    #[test]
    fn the_best_run_has_the_best_metric() {
        let folder = tempfile::tempdir().unwrap();
        three(folder.path());
        let best = |metric: &str, which| best(folder.path(), metric, which, Format::Text);
        let path = |name: &str| format!("{}\n", folder.path().join(name).display());
        assert_eq!(best("finetune/test_accuracy", Best::Highest).unwrap(), path("deep/b"));
        assert_eq!(best("finetune/test_accuracy", Best::Lowest).unwrap(), path("deep/c"));
        assert_eq!(best("loss", Best::Lowest).unwrap(), path("deep/b"));
        let ambiguous = best("test_accuracy", Best::Highest).unwrap_err().to_string();
        assert!(ambiguous.contains("align/test_accuracy or finetune/"), "{ambiguous}");
        let unknown = best("f1", Best::Highest).unwrap_err().to_string();
        assert!(unknown.contains("f1") && unknown.contains("pretrain/loss"), "{unknown}");
    }
}
