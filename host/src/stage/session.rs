//! A stage in the folder of a run: its metrics, its checkpoints, its progress on the screen.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::observer::{Observer, Pause, Saved};
use crate::config::RunConfig;
use crate::error::{Result, fail};
use crate::model::architecture;
use crate::progress::{Interrupt, Progress, Verbosity, warn};
use crate::run::{
    Checkpoints, MetricsWriter, NamedTensor, NewCheckpoint, Record, RunFolder, TensorView,
};

/// What a run shows, and whether it should stop.
#[derive(Clone, Debug)]
pub struct View {
    /// Asked between steps.
    pub interrupt: Interrupt,
    /// How much is shown.
    pub verbosity: Verbosity,
    /// Whether a run that cannot learn is an error instead of a warning.
    pub strict: bool,
}

impl View {
    /// Says that there is nothing to learn.
    ///
    /// # Errors
    /// Where that is an error.
    pub fn degenerate(&self, finding: &str) -> Result<()> {
        if self.strict {
            fail!("{finding} (an error by --strict)");
        }
        warn(&format!("warning: {finding}"));
        Ok(())
    }
}

/// An open run: where stages write.
#[derive(Debug)]
pub struct Session {
    folder: RunFolder,
    view: View,
    checkpoints: Checkpoints,
    metrics: MetricsWriter,
    architecture: String,
    /// Tensors that every checkpoint has, whatever the stage.
    kept: Vec<NamedTensor>,
    every: Duration,
    saved: Instant,
    progress: Option<Progress>,
    /// Stages and kinds of what was said already: everything before its numbers.
    said: HashSet<String>,
}

impl Session {
    /// Opens a run, new or to be continued; `kept` goes into all its checkpoints. Damaged
    /// checkpoints that are passed over are named in a warning.
    ///
    /// # Errors
    /// A file of the run cannot be read or written.
    pub fn open(
        folder: RunFolder,
        config: &RunConfig,
        view: View,
        kept: Vec<NamedTensor>,
    ) -> Result<Self> {
        let checkpoints = folder.checkpoints()?;
        let newest = checkpoints.newest::<serde_json::Value>(None, None)?;
        for damaged in checkpoints.damaged().iter().chain(&newest.passed_over) {
            warn(&format!("warning: {damaged}; an older checkpoint is used"));
        }
        let bytes = newest.checkpoint.map_or(0, |checkpoint| checkpoint.manifest.metrics_bytes);
        let metrics = folder.metrics(bytes)?;
        Ok(Self {
            folder,
            view,
            checkpoints,
            metrics,
            architecture: architecture(config),
            kept,
            every: Duration::from_secs_f64(config.checkpoint.every_seconds),
            saved: Instant::now(),
            progress: None,
            said: HashSet::new(),
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Appends a measured result to the metrics.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn result(&mut self, stage: &str, name: &str, value: f64) -> Result<()> {
        let (stage, name) = (stage.to_owned(), name.to_owned());
        self.record(&Record::Result { stage, name, value })
    }
}

impl Observer for Session {
    fn restore<S: DeserializeOwned>(
        &mut self,
        stage: &str,
    ) -> Result<Option<(S, Vec<NamedTensor>)>> {
        let newest = self.checkpoints.newest(Some(stage), Some(&self.architecture))?;
        Ok(newest.checkpoint.map(|checkpoint| (checkpoint.state, checkpoint.tensors)))
    }

    fn begin(&mut self, stage: &str, steps: u64, done: u64) {
        self.progress = Some(Progress::new(stage, steps, done, self.view.verbosity));
    }

    fn note(&mut self, text: &str) {
        if self.view.verbosity == Verbosity::Progress {
            warn(text);
        }
    }

    fn degenerate(&mut self, finding: &str) -> Result<()> {
        // The same at another step is the same.
        let kind: String = finding.chars().filter(|c| !c.is_ascii_digit()).collect();
        if self.said.insert(kind) { self.view.degenerate(finding) } else { Ok(()) }
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        Ok(self.metrics.append(record)?)
    }

    fn step(&mut self, loss: Option<f32>) {
        if let Some(progress) = &mut self.progress {
            progress.step(loss);
        }
    }

    fn pause(&mut self) -> Pause {
        if self.view.interrupt.requested() {
            return Pause::Stop;
        }
        // Asked for by a signal, or long ago.
        let requested = self.view.interrupt.take_checkpoint_request();
        if requested || self.saved.elapsed() >= self.every { Pause::Save } else { Pause::Continue }
    }

    fn save<S: Serialize + DeserializeOwned>(
        &mut self,
        Saved { stage, step, retention, score, state }: Saved<'_, S>,
        tensors: impl FnOnce() -> Result<Vec<NamedTensor>>,
    ) -> Result<()> {
        let tensors = tensors()?;
        let views: Vec<TensorView<'_>> =
            tensors.iter().chain(&self.kept).map(NamedTensor::view).collect();
        let metrics_bytes = self.metrics.sync()?;
        self.checkpoints.save(&NewCheckpoint {
            stage,
            step,
            retention,
            architecture: &self.architecture,
            score: score.cloned(),
            metrics_bytes,
            tensors: &views,
            state,
        })?;
        self.saved = Instant::now();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(progress) = self.progress.take() {
            progress.finish();
        }
    }
}
