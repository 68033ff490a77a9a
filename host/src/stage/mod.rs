//! The stages of a run, one file each; commands compose them.
//!
//! A stage gives the core's machine a [`Problem`](crate::driver::Problem), drives it event by event,
//! writes metrics and checkpoints, and continues from its newest checkpoint if there is one.

pub(crate) mod align;
mod demo;
pub(crate) mod evaluate;
mod finetune;
pub(crate) mod images;
mod metric;
mod online;
pub(crate) mod pretrain;
mod probe;
mod records;
mod session;
mod solves;
pub(crate) mod state;
mod warm_up;

use anyhow::{Context, Result};

use crate::backend::{Task, dispatch};
use crate::cli::{Command, Job};
use crate::config::RunConfig;
use crate::kernels::Kernels;
use crate::run::Outcome;

pub use evaluate::{Evaluation, knn_scores};
pub use images::Images;
pub use metric::{Scores, value as metric_value};
pub use records::Record;

/// Runs a job to its end or to its interruption.
///
/// # Errors
/// Whatever failed, with the file or setting that it concerns.
pub fn run(job: Job) -> Result<Outcome> {
    start_threads(&job.config)?;
    let backend = job.config.backend;
    dispatch(backend, Start(job))?
}

/// Starts the threads of setting `threads`; once a process.
///
/// # Errors
/// The system has no threads left.
pub(crate) fn start_threads(config: &RunConfig) -> Result<()> {
    if config.threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .build_global()
            .context("cannot start the threads of setting `threads`")?;
    }
    Ok(())
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
            Err(error) if error.is::<session::Interrupted>() => Ok(Outcome::Interrupted),
            Err(error) => Err(error),
        }
    }
}
