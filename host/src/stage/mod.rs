//! The stages of a run, one file each; commands compose them.
//!
//! A stage gives the core's machine a [`Problem`](crate::driver::Problem), drives it event by event,
//! writes metrics and checkpoints, and continues from its newest checkpoint if there is one.

mod align;
pub(crate) mod bilevel;
mod demo;
mod evaluate;
mod features;
mod finetune;
pub(crate) mod images;
pub(crate) mod initial;
mod job;
pub(crate) mod memory;
mod metric;
mod online;
pub(crate) mod origin;
mod pretrain;
mod probe;
mod session;
mod solves;
pub(crate) mod start;
pub(crate) mod tensors;
mod warm_up;

use crate::error::{Error, Result};

use crate::backend::{Task, dispatch};
use crate::kernels::Kernels;
use crate::run::Outcome;

pub use evaluate::knn_scores;
pub use features::Evaluation;
pub use images::Images;
pub use job::{Command, Job};
pub use memory::{MemoryThere, NotEnoughMemory, SolverNeed, require_memory, solver_memory};
pub use metric::{Scores, value as metric_value};

/// Runs a job to its end or to its interruption.
///
/// # Errors
/// Whatever failed, with the file or setting that it concerns.
pub fn run(job: Job) -> Result<Outcome> {
    let backend = job.config.backend;
    dispatch(backend, Start(job))?
}

/// A job that waits for its backend.
struct Start(Job);

impl Task for Start {
    type Output = Result<Outcome>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<Outcome> {
        let Job { command, config, interrupt, verbosity } = self.0;
        let view = session::View { interrupt, verbosity };
        let ended = match command {
            Command::Demo { run } => demo::demo::<B>(run, config, view, device),
            Command::Pretrain { run } => pretrain::command::<B>(run, config, view, device),
            Command::Align { run, from } => align::command::<B>(run, &from, config, view, device),
            Command::Finetune { run, from } => {
                finetune::command::<B>(run, &from, config, view, device)
            }
            Command::Evaluate { from } => evaluate::command::<B>(&from, &config, &view, device),
        };
        match ended {
            Ok(()) => Ok(Outcome::Finished),
            Err(error) if matches!(error.kind(), Error::Interrupted) => Ok(Outcome::Interrupted),
            Err(error) => Err(error),
        }
    }
}
