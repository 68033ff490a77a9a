//! Lines of `metrics.jsonl`, and the one reader of them.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use bissl_core::{Event, Report, StepRecord, Termination, UpperRecord};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::RunError;
use super::disk::{Disk, SystemDisk};
use crate::config::Metric;

/// Bytes of one read.
const PART: usize = 1 << 16;

/// One line. A float that is not finite is `null` in the file, and is read as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A step of plain descent, or a lower step of the bilevel stage.
    Step {
        /// Stage within the run.
        stage: String,
        /// Step number, from 0.
        index: u32,
        /// The loss before the step.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        loss: f32,
        /// Norm of the whole gradient before clipping.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        gradient_norm: f32,
        /// Learning rate of the step.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        learning_rate: f32,
        /// ‖θ_P − θ_D‖ before a lower step.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        distance: Option<f32>,
    },
    /// An upper step, with its linear solve.
    UpperStep {
        /// Stage within the run.
        stage: String,
        /// Upper step number, from 0.
        index: u32,
        /// Alternation, from 0.
        alternation: u32,
        /// L^D at (θ_P, φ_D).
        #[serde(default = "nan", deserialize_with = "or_nan")]
        loss_at_lower: f32,
        /// L^D at (θ_D, φ_D).
        loss_at_upper: Option<f32>,
        /// Norm of (G_θ, G_φ) before clipping.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        gradient_norm: f32,
        /// Learning rate of the step.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        learning_rate: f32,
        /// The linear solve.
        solve: Solve,
    },
    /// Accuracy on held-out images, at the end of an epoch of fine-tuning.
    Validation {
        /// Stage within the run.
        stage: String,
        /// Epochs done.
        epoch: u32,
        /// Value of the metric, in `[0, 1]`.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        accuracy: f64,
        /// The metric that chooses the epoch.
        #[serde(default = "top_1")]
        metric: Metric,
    },
    /// Measures of a frozen backbone on validation images, during pretraining.
    Probe {
        /// Stage within the run.
        stage: String,
        /// Epochs done.
        epoch: u32,
        /// Top-1 of a linear probe, in `[0, 1]`.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        probe: f64,
        /// Top-1 of the nearest neighbours' vote, in `[0, 1]`.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        knn: f64,
        /// Fingerprint of all trained state before the measures.
        #[serde(default)]
        state_before: String,
        /// Fingerprint after them; if the two differ, the run ends.
        #[serde(default)]
        state_after: String,
    },
    /// How far the features of different items lie apart, during pretraining.
    Spread {
        /// Stage within the run.
        stage: String,
        /// The last step before the measure, from 0.
        index: u32,
        /// Standard deviation of the features divided by their norm, times the root of their
        /// number: about 1 for evenly distributed directions, 0 where all items have the same
        /// features.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        deviation: f64,
        /// (Σλ)²/Σλ² over the eigenvalues λ of the features' covariance.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        effective_rank: f64,
    },
    /// A measured result.
    Result {
        /// Stage within the run.
        stage: String,
        /// What was measured.
        name: String,
        /// Its value.
        #[serde(default = "nan", deserialize_with = "or_nan")]
        value: f64,
    },
}

/// The metric of lines that name none.
fn top_1() -> Metric {
    Metric::Top1
}

fn nan<F: From<f32>>() -> F {
    F::from(f32::NAN)
}

fn or_nan<'de, F, D>(value: D) -> Result<F, D::Error>
where
    F: From<f32> + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(value)?.unwrap_or_else(nan))
}

/// Record of one linear solve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solve {
    /// How it ended.
    pub termination: Termination,
    /// Products used.
    pub products: u16,
    /// ‖r‖/‖b‖; absent if no product verified it.
    pub residual: Option<f32>,
    /// ‖x − b‖/‖b‖, the change by second order.
    #[serde(default)]
    pub correction: Option<f32>,
    /// cos(x, b).
    pub cosine: Option<f32>,
    /// ‖x‖/‖b‖.
    pub solution_ratio: Option<f32>,
    /// Largest Rayleigh quotient of the curvature seen, a lower bound of its top eigenvalue.
    pub rayleigh_max: Option<f32>,
    /// Smallest Rayleigh quotient seen, an upper bound of its lowest eigenvalue.
    pub rayleigh_min: Option<f32>,
}

impl Solve {
    /// How it ended, as metrics and reports spell it.
    pub fn termination_name(&self) -> String {
        serde_json::to_value(self.termination)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

impl From<&Report> for Solve {
    fn from(report: &Report) -> Self {
        Self {
            termination: report.termination,
            products: report.products,
            residual: report.residual(),
            correction: report.correction(),
            cosine: report.cosine(),
            solution_ratio: report.solution_ratio(),
            rayleigh_max: report.rayleigh_max,
            rayleigh_min: report.rayleigh_min,
        }
    }
}

impl Record {
    /// The record of an event, if it has one.
    pub(crate) fn of_event(stage: &str, event: &Event) -> Option<Self> {
        let stage = stage.to_owned();
        match event {
            Event::Step(StepRecord { index, loss, gradient_norm, learning_rate, distance }) => {
                Some(Self::Step {
                    stage,
                    index: *index,
                    loss: *loss,
                    gradient_norm: *gradient_norm,
                    learning_rate: *learning_rate,
                    distance: *distance,
                })
            }
            Event::UpperStep(UpperRecord {
                index,
                alternation,
                hypergradient,
                gradient_norm,
                learning_rate,
            }) => Some(Self::UpperStep {
                stage,
                index: *index,
                alternation: *alternation,
                loss_at_lower: hypergradient.loss_at_lower,
                loss_at_upper: hypergradient.loss_at_upper,
                gradient_norm: *gradient_norm,
                learning_rate: *learning_rate,
                solve: Solve::from(&hypergradient.solve),
            }),
            Event::Alternation { .. } => None,
        }
    }

    /// The stage of the record.
    pub(super) fn stage(&self) -> &str {
        match self {
            Self::Step { stage, .. }
            | Self::UpperStep { stage, .. }
            | Self::Validation { stage, .. }
            | Self::Probe { stage, .. }
            | Self::Spread { stage, .. }
            | Self::Result { stage, .. } => stage,
        }
    }

    /// The record of a line; `None` if another version wrote a kind that is unknown here, or
    /// omitted a field that is required here.
    ///
    /// # Errors
    /// The line is no JSON.
    fn parse(path: &Path, line: &[u8]) -> Result<Option<Self>, RunError> {
        if let Ok(record) = serde_json::from_slice(line) {
            return Ok(Some(record));
        }
        let line = std::str::from_utf8(line).map_err(|error| RunError::damaged(path, error))?;
        match serde_json::from_str::<IgnoredAny>(line) {
            Ok(_) => Ok(None),
            Err(error) => Err(RunError::damaged(path, format!("no metric: {line}: {error}"))),
        }
    }
}

/// The records of a metrics file, oldest first; none if it does not exist. An unterminated last
/// line does not count yet. Lines of other versions that are no record here are left out.
///
/// # Errors
/// The file cannot be read, or a line is no JSON.
pub fn read_records(path: &Path) -> impl Iterator<Item = Result<Record, RunError>> {
    records_in(&SystemDisk, path, 0, u64::MAX)
}

/// The records between two offsets of the file, at each of which a line begins.
pub(super) fn records_in<'a>(
    disk: &'a dyn Disk,
    path: &'a Path,
    start: u64,
    end: u64,
) -> impl Iterator<Item = Result<Record, RunError>> + use<'a> {
    let file = Tail { disk, path, at: start }.take(end.saturating_sub(start));
    let mut file = BufReader::with_capacity(PART, file);
    let mut line = Vec::new();
    let mut next = move || loop {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result.map_err(RunError::io("read", path))?,
        };
        let Some(whole) = line.strip_suffix(b"\n") else { return Ok(None) };
        if let Some(record) = Record::parse(path, whole)? {
            return Ok(Some(record));
        }
    };
    std::iter::from_fn(move || next().transpose())
}

/// The last record between two offsets of the file, at each of which a line begins, for which
/// `wanted` returns a value; returns that value. The search starts at the end.
pub(super) fn last_in<T>(
    disk: &dyn Disk,
    path: &Path,
    start: u64,
    end: u64,
    wanted: impl Fn(Record) -> Option<T>,
) -> Result<Option<T>, RunError> {
    let mut bytes = Vec::new();
    loop {
        let size = (end - start).min((2 * bytes.len()).max(PART) as u64);
        let from = end - size;
        bytes.resize(size as usize, 0);
        disk.read_at(path, from, &mut bytes).map_err(RunError::io("read", path))?;
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let mut lines = whole.rsplit(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let is_cut = lines.peek().is_none() && from > start;
            if !is_cut && let Some(found) = Record::parse(path, line)?.and_then(&wanted) {
                return Ok(Some(found));
            }
        }
        if from == start {
            return Ok(None);
        }
    }
}

/// A file from an offset on.
struct Tail<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    at: u64,
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.disk.read_at(self.path, self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<Record, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        read_records(&path).map(|record| record.map_err(|error| error.to_string())).collect()
    }

    fn result(value: f64) -> Record {
        Record::Result { stage: "finetune".to_owned(), name: "test_accuracy".to_owned(), value }
    }

    #[test]
    fn records_read_as_they_were_written() {
        let solve = Solve {
            termination: Termination::Converged,
            products: 3,
            residual: None,
            correction: Some(0.25),
            cosine: Some(0.1),
            solution_ratio: Some(1.0),
            rayleigh_max: Some(1e9),
            rayleigh_min: Some(-1e-9),
        };
        let step = Record::Step {
            stage: "align".to_owned(),
            index: 7,
            loss: 0.1,
            gradient_norm: 3.0,
            learning_rate: 1e-3,
            distance: Some(0.3),
        };
        let upper_step = Record::UpperStep {
            stage: "align".to_owned(),
            index: 1,
            alternation: 2,
            loss_at_lower: 0.7,
            loss_at_upper: None,
            gradient_norm: 1.5,
            learning_rate: 0.1,
            solve,
        };
        let records = [step, upper_step, result(0.1)];
        let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
        let found = read(lines.collect::<String>().as_bytes());
        assert_eq!(found, records.map(Ok));
    }

    #[test]
    fn what_another_version_wrote_is_left_out_and_what_is_no_json_is_refused() {
        let of_others =
            [r#"{"kind":"comet","stage":"align"}"#, r#"{"stage":"align"}"#, "{}", "[1]"];
        let known =
            r#"{"kind":"result","stage":"finetune","name":"test_accuracy","value":0.75,"unit":1}"#;
        let text = format!("{}\n{known}\n{known}", of_others.join("\n"));
        assert_eq!(read(text.as_bytes()), [Ok(result(0.75))], "the last line has no end");
        let found = read(b"nonsense\n");
        let Err(error) = &found[0] else { panic!("{found:?}") };
        assert!(
            error.contains("metrics.jsonl") && error.contains("no metric: nonsense"),
            "{error}"
        );
        assert!(read(b"\xff\n")[0].is_err());
    }

    #[test]
    fn a_number_that_was_not_finite_is_none_when_it_is_read() {
        let found = read(b"{\"kind\":\"step\",\"stage\":\"a\",\"index\":0,\"loss\":null}\n");
        let [Ok(Record::Step { loss, gradient_norm, .. })] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(loss.is_nan() && gradient_norm.is_nan());
    }
}
