//! Drives one machine: events to metrics, progress and checkpoints.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use bissl_core::{Completion, Event, Group, Machine, Progress as Driven, Training, drive};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tensors::{self, BEST_BACKBONE, BEST_HEAD, Weights};
use crate::config::{Metric, RunConfig};
use crate::driver::Problem;
use crate::kernels::Kernels;
use crate::model::architecture;
use crate::progress::{Interrupt, Progress, Verbosity};
use crate::run::{
    Checkpoints, MetricsWriter, NamedTensor, NewCheckpoint, Record, Retention, RunFolder, Score,
    TensorView,
};

/// How long a stage is, and where it can be continued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// What the progress bar counts to.
    pub(super) steps: u64,
    pub(super) resumable: Resumable,
}

impl Course {
    /// Can be continued after any step.
    pub(super) fn steps(steps: u64) -> Self {
        Self { steps, resumable: Resumable::Steps }
    }
}

/// Where a run can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumable {
    /// After every step but those inside the upper steps of an alternation, where a linearisation is
    /// alive that no checkpoint holds.
    Steps,
    /// After whole alternations only: the lower steps, too, leave vectors that no checkpoint holds.
    Alternations,
}

/// What a stage shows, and whether it should stop.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) interrupt: Interrupt,
    pub(super) verbosity: Verbosity,
}

/// An open run: where stages write.
pub(super) struct Session {
    pub(super) folder: RunFolder,
    pub(super) view: View,
    /// What validation measures.
    pub(super) metric: Metric,
    checkpoints: Checkpoints,
    metrics: MetricsWriter,
    architecture: String,
    /// Tensors that every checkpoint has, whatever the stage.
    kept: Vec<NamedTensor>,
    every: Duration,
    saved: Instant,
}

/// What a checkpoint keeps besides tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StageState<M> {
    /// Of the stage, which in a demo is not the run's: it decides which labels were seen.
    seed: u64,
    machine: M,
    done: u64,
    /// Of so many.
    steps: u64,
    finished: bool,
    /// The last measure, and the steps that were done then.
    score: Option<(u64, Score)>,
    best: Option<Best>,
}

/// The best weights so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    /// By the stage's measure.
    pub(super) accuracy: f64,
    pub(super) step: u64,
}

/// A measure on images that the weights were not trained on.
pub(super) struct Measured {
    pub(super) metric: &'static str,
    /// More is better.
    pub(super) value: f64,
    /// For the metrics.
    pub(super) record: Record,
    /// What is kept where it is the best so far.
    pub(super) keep: Keep,
}

/// What is kept of the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its checkpoint.
    Checkpoint,
    /// Its checkpoint, and θ_D and φ_D in every later one: they are the stage's result.
    Weights,
}

/// The measure behind a step, where one is due.
pub(super) type Validate<'a, B> =
    dyn FnMut(&mut Problem<'_, B>, u32) -> Result<Option<Measured>> + 'a;

/// A stage's best weights.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) best: Best,
    pub(super) backbone: Weights,
    pub(super) head: Weights,
}

impl Session {
    /// Opens a run, new or to be continued; `kept` goes into all its checkpoints.
    pub(super) fn open(
        folder: RunFolder,
        config: &RunConfig,
        view: View,
        kept: Vec<NamedTensor>,
    ) -> Result<Self> {
        let checkpoints = folder.checkpoints()?;
        let newest = checkpoints.newest::<serde_json::Value>(None, None)?;
        for damaged in checkpoints.damaged().iter().chain(&newest.passed_over) {
            eprintln!("warning: {damaged}; an older checkpoint is used");
        }
        let bytes = newest.checkpoint.map_or(0, |checkpoint| checkpoint.manifest.metrics_bytes);
        let metrics = folder.metrics(bytes)?;
        Ok(Self {
            folder,
            view,
            metric: Metric::Top1,
            checkpoints,
            metrics,
            architecture: architecture(config),
            kept,
            every: Duration::from_secs_f64(config.checkpoint.every_seconds),
            saved: Instant::now(),
        })
    }

    /// Appends a measured result to the metrics.
    pub(super) fn result(&mut self, stage: &str, name: &str, value: f64) -> Result<()> {
        let (stage, name) = (stage.to_owned(), name.to_owned());
        Ok(self.metrics.append(&Record::Result { stage, name, value })?)
    }

    /// Drives `machine` to its end, from the stage's newest checkpoint if it has one. The problem's
    /// registers hold the result.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; a loss or gradient that is not finite; whatever the driver or the disk says.
    pub(super) fn train<B, M>(
        &mut self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        machine: M,
        course: Course,
        validate: Option<&mut Validate<'_, B>>,
    ) -> Result<Option<Selected>>
    where
        B: Kernels,
        M: Machine<Output = Completion> + Serialize + DeserializeOwned,
    {
        let seed = problem.settings().seed;
        let mut state = StageState {
            seed,
            machine,
            done: 0,
            steps: course.steps,
            finished: false,
            score: None,
            best: None,
        };
        let mut best: Vec<NamedTensor> = Vec::new();
        let newest = self.checkpoints.newest(Some(stage), Some(&self.architecture))?;
        if let Some(checkpoint) = newest.checkpoint {
            tensors::restore(problem, &checkpoint.tensors)?;
            let is_best = |tensor: &NamedTensor| tensor.name.starts_with("best_");
            best = checkpoint.tensors.into_iter().filter(is_best).collect();
            state = checkpoint.state;
        }
        if !state.finished {
            self.steps(stage, problem, &mut state, &mut best, course, validate)?;
        }
        let networks = problem.networks();
        let backbone = tensors::weights(BEST_BACKBONE, &networks.backbone, &best)?;
        let head = tensors::weights(BEST_HEAD, &networks.classifier, &best)?;
        Ok(match (state.best, backbone, head) {
            (Some(best), Some(backbone), Some(head)) => Some(Selected { best, backbone, head }),
            _ => None,
        })
    }

    fn steps<B, M>(
        &mut self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        state: &mut StageState<M>,
        best: &mut Vec<NamedTensor>,
        course: Course,
        mut validate: Option<&mut Validate<'_, B>>,
    ) -> Result<()>
    where
        B: Kernels,
        M: Machine<Output = Completion> + Serialize + DeserializeOwned,
    {
        let mut scalars = vec![0.0; problem.registers.scalars()];
        let mut progress = Progress::new(stage, course.steps, state.done, self.view.verbosity);
        loop {
            let event = match drive(&mut state.machine, &mut Training(problem), &mut scalars)? {
                Driven::Done(Completion::Finished) => break,
                Driven::Done(Completion::Diverged { index }) => {
                    return Err(Error::Diverged { stage: stage.to_owned(), step: index });
                }
                Driven::Event(event) => event,
            };
            if let Some(record) = Record::of_event(stage, &event) {
                self.metrics.append(&record)?;
            }
            let (counts, loss) = match &event {
                Event::Step(record) => (true, Some(record.loss)),
                Event::UpperStep(record) => (true, Some(record.hypergradient.loss_at_lower)),
                Event::Alternation { .. } => (false, None),
            };
            if counts {
                state.done += 1;
                progress.step(loss);
            }
            let mut improved = false;
            if let (Some(validate), Event::Step(record)) = (&mut validate, &event)
                && let Some(measured) = validate(problem, record.index)?
            {
                improved = self.select(problem, state, best, measured)?;
            }
            let resumable = match course.resumable {
                Resumable::Steps => !matches!(event, Event::UpperStep(_)),
                Resumable::Alternations => matches!(event, Event::Alternation { .. }),
            };
            let interrupted = self.view.interrupt.requested();
            let requested = resumable && self.view.interrupt.take_checkpoint_request();
            let due = improved || interrupted || requested || self.saved.elapsed() >= self.every;
            if resumable && due {
                self.save(stage, problem, state, best, Retention::Rolling)?;
            }
            if resumable && interrupted {
                progress.finish();
                return Err(Error::Interrupted);
            }
        }
        progress.finish();
        state.finished = true;
        self.save(stage, problem, state, best, Retention::Permanent)
    }

    /// Keeps the problem's weights if they are the best so far; of equal ones the first. Whether they are.
    fn select<B: Kernels, M>(
        &mut self,
        problem: &mut Problem<'_, B>,
        state: &mut StageState<M>,
        best: &mut Vec<NamedTensor>,
        Measured { metric, value, record, keep }: Measured,
    ) -> Result<bool> {
        self.metrics.append(&record)?;
        state.score = Some((state.done, Score { metric: metric.to_owned(), value }));
        let improved = state.best.is_none_or(|best| value > best.accuracy);
        if improved {
            state.best = Some(Best { accuracy: value, step: state.done });
        }
        if improved && keep == Keep::Weights {
            let networks = problem.networks();
            let backbone = tensors::extract(problem, Group::UpperBackbone)?;
            let head = tensors::extract(problem, Group::DownstreamHead)?;
            *best = tensors::named(BEST_BACKBONE, &networks.backbone, &backbone);
            best.extend(tensors::named(BEST_HEAD, &networks.classifier, &head));
        }
        Ok(improved)
    }

    fn save<B: Kernels, M: Serialize + DeserializeOwned>(
        &mut self,
        stage: &str,
        problem: &mut Problem<'_, B>,
        state: &StageState<M>,
        best: &[NamedTensor],
        retention: Retention,
    ) -> Result<()> {
        let tensors = tensors::all(problem)?;
        let views: Vec<TensorView<'_>> =
            tensors.iter().chain(best).chain(&self.kept).map(NamedTensor::view).collect();
        let metrics_bytes = self.metrics.sync()?;
        self.checkpoints.save(&NewCheckpoint {
            stage,
            step: state.done,
            retention,
            architecture: &self.architecture,
            score: state
                .score
                .as_ref()
                .filter(|(step, _)| *step == state.done)
                .map(|(_, s)| s.clone()),
            metrics_bytes,
            tensors: &views,
            state,
        })?;
        self.saved = Instant::now();
        Ok(())
    }
}
