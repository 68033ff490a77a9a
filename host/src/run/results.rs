//! The results of a run by `STAGE/NAME`, as means over seeds if a stage's name begins with one
//! (`s3-`).
//!
//! `validation`, `online_probe` and `online_knn` are the best values of a stage, `loss` is its last
//! one, and a result is its own value.
//!
//! The metrics have a line for each step, and most of them need not be read: the state of a stage's
//! newest checkpoint has its best measure, and the manifest has the length of the file at that
//! checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::checkpoint::read_state;
use super::disk::Disk;
use super::records::{Record, last_in, records_in};
use super::{Entry, RunError, Score};

/// The part of a stage's state in a checkpoint that tells how far the stage came and how good it
/// was.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StageState {
    /// Total steps of the stage.
    pub(super) steps: Option<u64>,
    /// The last measure, and the number of steps completed then.
    score: Option<(u64, Score)>,
    best: Option<Best>,
}

#[derive(Debug, Deserialize)]
struct Best {
    accuracy: f64,
}

/// The results of a run, from its metrics and its checkpoints, which are given newest first.
///
/// # Errors
/// The metrics cannot be read or are no metrics. A file that does not exist counts as empty.
pub(super) fn results(
    disk: &dyn Disk,
    metrics: &Path,
    checkpoints: &[Entry],
) -> Result<BTreeMap<String, f64>, RunError> {
    let mut totals = Totals::default();
    if !disk.exists(metrics) {
        return Ok(totals.mean());
    }
    let mut start = 0;
    for section in sections(disk, metrics, checkpoints)?.unwrap_or_default() {
        totals.add_section(disk, metrics, &section)?;
        start = section.end;
    }
    for record in records_in(disk, metrics, start, u64::MAX) {
        totals.add(record?);
    }
    Ok(totals.mean())
}

/// Lines of one stage, up to its newest checkpoint.
struct Section<'a> {
    stage: &'a str,
    start: u64,
    end: u64,
    state: StageState,
}

/// The stages of the checkpoints, in order. `None` if some lines up to the last of them are of
/// another stage, whose checkpoints are gone.
fn sections<'a>(
    disk: &dyn Disk,
    metrics: &Path,
    checkpoints: &'a [Entry],
) -> Result<Option<Vec<Section<'a>>>, RunError> {
    let length = disk.length(metrics).map_err(RunError::io("read", metrics))?;
    let mut newest: Vec<&Entry> = Vec::new();
    for entry in checkpoints {
        if newest.iter().all(|newer| newer.manifest.stage != entry.manifest.stage) {
            newest.push(entry);
        }
    }
    let (mut sections, mut start) = (Vec::new(), 0);
    for entry in newest.into_iter().rev() {
        let (stage, end) = (entry.manifest.stage.as_str(), entry.manifest.metrics_bytes);
        if !(start..=length).contains(&end) {
            return Ok(None);
        }
        // If the section before ends too early, the next line is not of this stage.
        let first = records_in(disk, metrics, start, end).next().transpose()?;
        let (None | Some(true), Some(state)) =
            (first.map(|record| record.stage() == stage), read_state(disk, entry))
        else {
            return Ok(None);
        };
        sections.push(Section { stage, start, end, state });
        start = end;
    }
    Ok(Some(sections))
}

/// Results by stage and name.
#[derive(Default)]
struct Totals(BTreeMap<(String, String), f64>);

impl Totals {
    fn add_section(
        &mut self,
        disk: &dyn Disk,
        metrics: &Path,
        section: &Section<'_>,
    ) -> Result<(), RunError> {
        let Section { stage, start, end, state } = section;
        match (&state.best, &state.score) {
            (None, _) => {}
            (Some(best), Some((_, score))) if score.metric == "validation" => {
                self.best(stage, "validation", best.accuracy);
            }
            // The state knows only one of an online probe's two measures.
            _ => {
                for record in records_in(disk, metrics, *start, *end) {
                    self.add(record?);
                }
                return Ok(());
            }
        }
        let step = |record: Record| match record {
            Record::Step { loss, .. } if !loss.is_nan() => Some(record),
            _ => None,
        };
        if let Some(step) = last_in(disk, metrics, *start, *end, step)? {
            self.add(step);
        }
        Ok(())
    }

    fn add(&mut self, record: Record) {
        match &record {
            Record::Step { stage, loss, .. } => self.last(stage, "loss", as_written(*loss)),
            Record::UpperStep { .. } | Record::Spread { .. } => {}
            Record::Validation { stage, accuracy, .. } => self.best(stage, "validation", *accuracy),
            Record::Probe { stage, probe, knn, .. } => {
                self.best(stage, "online_probe", *probe);
                self.best(stage, "online_knn", *knn);
            }
            Record::Result { stage, name, value } => self.last(stage, name, *value),
        }
    }

    fn best(&mut self, stage: &str, name: &str, value: f64) {
        let known = self.0.get(&(stage.to_owned(), name.to_owned())).copied();
        self.last(stage, name, known.map_or(value, |known| known.max(value)));
    }

    fn last(&mut self, stage: &str, name: &str, value: f64) {
        if !value.is_nan() {
            self.0.insert((stage.to_owned(), name.to_owned()), value);
        }
    }

    fn mean(self) -> BTreeMap<String, f64> {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for ((stage, name), value) in self.0 {
            let sum = sums.entry(format!("{}/{name}", without_seed(&stage))).or_default();
            *sum = (sum.0 + value, sum.1 + 1.0);
        }
        sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect()
    }
}

/// The number as the file spells it: the shortest decimal that is the same f32.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().expect("a number's own spelling")
}

/// The stage without its seed: `s3-align` becomes `align`.
fn without_seed(stage: &str) -> &str {
    let rest = stage.strip_prefix('s').and_then(|rest| rest.split_once('-'));
    match rest {
        Some((seed, rest)) if !seed.is_empty() && seed.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => stage,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::super::simulated::SimulatedDisk;
    use super::super::{Checkpoints, NewCheckpoint, Retention};
    use super::*;

    /// A run on its own disk.
    struct Run {
        disk: SimulatedDisk,
        text: String,
    }

    impl Run {
        fn new() -> Self {
            Self { disk: SimulatedDisk::new(1), text: String::new() }
        }

        fn line(&mut self, record: Value) {
            writeln!(self.text, "{record}").unwrap();
        }

        fn step(&mut self, stage: &str, index: u32, loss: f64) {
            self.line(json!({"kind": "step", "stage": stage, "index": index, "loss": loss}));
        }

        fn validation(&mut self, stage: &str, epoch: u32, accuracy: f64) {
            let kind = "validation";
            self.line(json!({"kind": kind, "stage": stage, "epoch": epoch, "accuracy": accuracy}));
        }

        /// Saves a checkpoint after the lines so far, whose state holds this best measure.
        fn checkpoint(&self, stage: &str, step: u64, best: Option<(&str, f64)>) {
            let mut checkpoints =
                Checkpoints::open_on(self.disk.shared(), Path::new("checkpoints"), 100).unwrap();
            let score =
                best.map(|(metric, value)| (step, json!({"metric": metric, "value": value})));
            let best = best.map(|(_, value)| json!({"accuracy": value, "step": step}));
            checkpoints
                .save(&NewCheckpoint {
                    stage,
                    step,
                    retention: Retention::Permanent,
                    architecture: "none",
                    score: None,
                    metrics_bytes: self.text.len() as u64,
                    tensors: &[],
                    state: &json!({"steps": 9, "score": score, "best": best}),
                })
                .unwrap();
        }

        fn results(&self, entries: &[Entry]) -> BTreeMap<String, f64> {
            let path = PathBuf::from("metrics.jsonl");
            self.disk.write(&path, self.text.as_bytes()).unwrap();
            results(&self.disk, &path, entries).unwrap()
        }

        fn entries(&self) -> Vec<Entry> {
            let folder = Path::new("checkpoints");
            Checkpoints::read_only_on(self.disk.shared(), folder).entries().unwrap().0
        }
    }

    #[test]
    fn metrics_are_the_best_the_last_or_the_mean_over_seeds() {
        let mut run = Run::new();
        run.step("s1-pretrain", 0, 4.0);
        run.step("s1-pretrain", 1, 2.1);
        run.step("s2-pretrain", 0, 4.0);
        for (epoch, probe, knn) in [(1, 0.5, 0.25), (2, 0.25, 0.5)] {
            let stage = "s1-pretrain";
            run.line(
                json!({"kind": "probe", "stage": stage, "epoch": epoch, "probe": probe, "knn": knn}),
            );
        }
        run.validation("simple-tune", 1, 0.5);
        run.line(json!({"kind": "step", "stage": "s1-pretrain", "index": 2, "loss": null}));
        let name = "test_accuracy";
        run.line(json!({"kind": "result", "stage": "s-tune", "name": name, "value": 0.75}));
        let expected = [
            ("pretrain/online_knn", 0.5),
            ("pretrain/loss", 3.05),
            ("pretrain/online_probe", 0.5),
            ("s-tune/test_accuracy", 0.75),
            ("simple-tune/validation", 0.5),
        ];
        assert_eq!(run.results(&[]), expected.map(|(name, value)| (name.to_owned(), value)).into());
        run.text += "nonsense\n";
        run.disk.write(Path::new("bad.jsonl"), run.text.as_bytes()).unwrap();
        let error = results(&run.disk, Path::new("bad.jsonl"), &[]).unwrap_err().to_string();
        assert!(error.contains("nonsense"), "{error}");
    }

    /// Pretraining with a probe, alignment, and fine-tuning that was killed after its checkpoint.
    fn three_stages() -> Run {
        let mut run = Run::new();
        for index in 0..20 {
            run.step("pretrain", index, 3.0 - f64::from(index) / 10.0);
        }
        run.line(
            json!({"kind": "probe", "stage": "pretrain", "epoch": 1, "probe": 0.5, "knn": 0.7}),
        );
        run.checkpoint("pretrain", 20, Some(("probe", 0.5)));
        run.step("align", 0, 1.5);
        run.line(json!({"kind": "comet", "stage": "align", "loss": 9.0}));
        run.checkpoint("align", 1, None);
        run.step("finetune", 0, 0.9);
        run.validation("finetune", 1, 0.6);
        run.checkpoint("finetune", 1, Some(("validation", 0.6)));
        run.step("finetune", 1, 0.8);
        run.validation("finetune", 2, 0.65);
        run
    }

    #[test]
    fn checkpoints_tell_the_same_as_the_whole_file() {
        let run = three_stages();
        let (whole, entries) = (run.results(&[]), run.entries());
        assert_eq!(whole["finetune/validation"], 0.65);
        assert_eq!(run.results(&entries), whole);
        // Whichever checkpoints are gone, and wherever the lines after them are truncated.
        for gone in 0..1 << entries.len() {
            let left = |(place, _): &(usize, &Entry)| gone >> place & 1 == 0;
            let left: Vec<Entry> =
                entries.iter().enumerate().filter(left).map(|(_, entry)| entry.clone()).collect();
            assert_eq!(run.results(&left), whole, "{gone:b}");
        }
        let mut resumed = three_stages();
        resumed.text.truncate(entries[0].manifest.metrics_bytes as usize);
        assert_eq!(resumed.results(&entries), resumed.results(&[]));
        resumed.text.truncate(entries[1].manifest.metrics_bytes as usize);
        assert_eq!(resumed.results(&entries), resumed.results(&[]));
    }

    #[test]
    fn of_a_long_run_little_is_read() {
        let mut run = Run::new();
        for (stage, last) in [("pretrain", 0.25), ("finetune", 0.125)] {
            let mut index = 0;
            let end = run.text.len() + 50_000_000;
            while run.text.len() < end {
                run.step(stage, index, last + f64::from(u8::from(run.text.len() + 200 < end)));
                index += 1;
            }
            run.step(stage, index, last);
            run.checkpoint(
                stage,
                index.into(),
                (stage == "finetune").then_some(("validation", 0.5)),
            );
        }
        let entries = run.entries();
        run.line(json!({"kind": "result", "stage": "finetune", "name": "f1", "value": 0.75}));
        let path = Path::new("metrics.jsonl");
        run.disk.write(path, run.text.as_bytes()).unwrap();
        let before = run.disk.bytes_read();
        let found = results(&run.disk, path, &entries).unwrap();
        let read = run.disk.bytes_read() - before;
        assert!(run.text.len() > 100_000_000 && read < 1_000_000, "{read} bytes");
        let expected = [
            ("finetune/f1", 0.75),
            ("finetune/loss", 0.125),
            ("finetune/validation", 0.5),
            ("pretrain/loss", 0.25),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
