//! Drives one machine to its end: the only loop of the stages.

use bissl_core::{Completion, Event, Group, Machine, Progress as Driven, Training, drive};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::measured::{Keep, Measured};
use super::observer::{Observer, Pause, Saved};
use super::spread::collapse;
use super::tensors::{self, BEST_BACKBONE, BEST_HEAD, Weights};
use crate::driver::Problem;
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::run::{NamedTensor, Record, Retention, Score};

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
    /// After every step but those inside the upper steps of an alternation, where a linearisation
    /// is alive that no checkpoint holds.
    Steps,
    /// After whole alternations only: the lower steps, too, leave vectors that no checkpoint holds.
    Alternations,
}

/// What a checkpoint keeps besides tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StageState<M> {
    /// Of the stage, which in a demo is not the run's: it decides which labels were seen.
    seed: u64,
    machine: M,
    done: u64,
    /// All steps of the stage.
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

/// The measures after a step, where some are due.
pub(super) type Validate<'a, B> = dyn FnMut(&mut Problem<'_, B>, u32) -> Result<Vec<Measured>> + 'a;

/// A stage's best weights.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    pub(super) best: Best,
    pub(super) backbone: Weights,
    pub(super) head: Weights,
}

/// What a person should know of a step whose gradient is exactly 0.
fn without_gradient(stage: &str, event: &Event) -> Option<String> {
    let (index, norm) = match event {
        Event::Step(record) => (record.index, record.gradient_norm),
        Event::UpperStep(record) => (record.index, record.gradient_norm),
        Event::Alternation { .. } => return None,
    };
    (norm == 0.0).then(|| {
        format!(
            "{stage}: the gradient of step {index} is exactly 0: there is nothing to learn from its \
             batch; look for identical or blank images (`bissl data check`), for a batch of one \
             and for a head or backbone whose weights are all 0"
        )
    })
}

/// A stage at work.
struct Run<'r, 'p, 'n, B: Kernels, M, O> {
    stage: &'r str,
    problem: &'p mut Problem<'n, B>,
    state: StageState<M>,
    /// Tensors of the best weights so far.
    best: Vec<NamedTensor>,
    observer: &'r mut O,
}

/// Drives `machine` to its end, from where the observer has stored the stage if it has. The
/// problem's registers hold the result; the best weights come back where `validate` chose them.
///
/// # Errors
/// [`Error::Interrupted`]; a loss or gradient that is not finite; whatever driver or observer say.
pub(super) fn train<B, M, O>(
    observer: &mut O,
    stage: &str,
    problem: &mut Problem<'_, B>,
    machine: M,
    course: Course,
    validate: Option<&mut Validate<'_, B>>,
) -> Result<Option<Selected>>
where
    B: Kernels,
    M: Machine<Output = Completion> + Serialize + DeserializeOwned,
    O: Observer,
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
    let mut best = Vec::new();
    if let Some((stored, tensors)) = observer.restore(stage)? {
        tensors::restore(problem, &tensors)?;
        best = tensors.into_iter().filter(|tensor| tensor.name.starts_with("best_")).collect();
        state = stored;
    }
    let mut run = Run { stage, problem, state, best, observer };
    if !run.state.finished {
        run.steps(course.resumable, validate)?;
    }
    let Run { problem, state, best, .. } = run;
    let networks = problem.networks();
    let backbone = tensors::weights(BEST_BACKBONE, &networks.backbone, &best)?;
    let head = tensors::weights(BEST_HEAD, &networks.classifier, &best)?;
    Ok(match (state.best, backbone, head) {
        (Some(best), Some(backbone), Some(head)) => Some(Selected { best, backbone, head }),
        _ => None,
    })
}

impl<B, M, O> Run<'_, '_, '_, B, M, O>
where
    B: Kernels,
    M: Machine<Output = Completion> + Serialize + DeserializeOwned,
    O: Observer,
{
    fn steps(
        &mut self,
        resumable: Resumable,
        mut validate: Option<&mut Validate<'_, B>>,
    ) -> Result<()> {
        let mut scalars = vec![0.0; self.problem.registers.scalars()];
        self.observer.begin(self.stage, self.state.steps, self.state.done);
        loop {
            let mut driver = Training(&mut *self.problem);
            let event = match drive(&mut self.state.machine, &mut driver, &mut scalars)? {
                Driven::Done(Completion::Finished) => break,
                Driven::Done(Completion::Diverged { index }) => {
                    let stage = self.stage.to_owned();
                    return Err(Error::Diverged { stage, step: index });
                }
                Driven::Event(event) => event,
            };
            if let Some(record) = Record::of_event(self.stage, &event) {
                self.observer.record(&record)?;
            }
            let (counts, loss) = match &event {
                Event::Step(record) => (true, Some(record.loss)),
                Event::UpperStep(record) => (true, Some(record.hypergradient.loss_at_lower)),
                Event::Alternation { .. } => (false, None),
            };
            if counts {
                self.state.done += 1;
                self.observer.step(loss);
            }
            if let Some(finding) = without_gradient(self.stage, &event) {
                self.observer.degenerate(&finding)?;
            }
            let mut improved = false;
            if let (Some(validate), Event::Step(record)) = (&mut validate, &event) {
                for measured in validate(self.problem, record.index)? {
                    improved |= self.select(measured)?;
                }
            }
            let rests = match resumable {
                Resumable::Steps => !matches!(event, Event::UpperStep(_)),
                Resumable::Alternations => matches!(event, Event::Alternation { .. }),
            };
            if !rests {
                continue;
            }
            let pause = self.observer.pause();
            if improved || pause != Pause::Continue {
                self.save(Retention::Rolling)?;
            }
            if pause == Pause::Stop {
                self.observer.end();
                return Err(Error::Interrupted);
            }
        }
        self.observer.end();
        self.state.finished = true;
        self.save(Retention::Permanent)
    }

    /// Keeps the problem's weights if they are the best so far; of equal ones the first. Whether
    /// they are.
    fn select(&mut self, Measured { metric, value, record, keep }: Measured) -> Result<bool> {
        self.observer.record(&record)?;
        if let Some(finding) = collapse(&record) {
            self.observer.degenerate(&finding)?;
        }
        if keep == Keep::Nothing {
            return Ok(false);
        }
        let state = &mut self.state;
        state.score = Some((state.done, Score { metric: metric.to_owned(), value }));
        let improved = state.best.is_none_or(|best| value > best.accuracy);
        if improved {
            state.best = Some(Best { accuracy: value, step: state.done });
        }
        if improved && keep == Keep::Weights {
            let networks = self.problem.networks();
            let backbone = tensors::extract(self.problem, Group::UpperBackbone)?;
            let head = tensors::extract(self.problem, Group::DownstreamHead)?;
            self.best = tensors::named(BEST_BACKBONE, &networks.backbone, &backbone);
            self.best.extend(tensors::named(BEST_HEAD, &networks.classifier, &head));
        }
        Ok(improved)
    }

    fn save(&mut self, retention: Retention) -> Result<()> {
        let Self { stage, problem, state, best, observer } = self;
        let score = state.score.as_ref().filter(|(step, _)| *step == state.done);
        let score = score.map(|(_, score)| score);
        let saved = Saved { stage, step: state.done, retention, score, state: &*state };
        observer.save(saved, || {
            let mut tensors = tensors::all(problem)?;
            tensors.extend_from_slice(best);
            Ok(tensors)
        })
    }
}
