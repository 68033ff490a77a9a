//! The commands that train: they open a run, compose the stages in it, and print what came out.

mod announce;
mod demo;
mod job;
mod opening;
mod solves;
mod stages;

use crate::backend::{Work, dispatch};
use crate::error::{Error, Result};
use crate::kernels::Kernels;
use crate::run::Outcome;
use crate::stage::View;

pub(super) use job::{Command, Job};

/// Runs a job to its end or to its interruption.
///
/// # Errors
/// Whatever failed, with the file or setting that it concerns.
pub(super) fn run(job: Job) -> Result<Outcome> {
    let backend = job.config.backend;
    match dispatch(backend, Start(job))? {
        Ok(()) => Ok(Outcome::Finished),
        Err(error) if matches!(error.kind(), Error::Interrupted) => Ok(Outcome::Interrupted),
        Err(error) => Err(error),
    }
}

/// A job that waits for its backend.
struct Start(Job);

impl Work for Start {
    type Output = Result<()>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<()> {
        let Job { command, config, accept_changed, interrupt, verbosity, strict } = self.0;
        let view = View { interrupt, verbosity, strict };
        match command {
            Command::Demo { run } => demo::demo::<B>(run, config, accept_changed, view, device),
            Command::Pretrain { run } => {
                stages::pretrain::<B>(run, config, accept_changed, view, device)
            }
            Command::Align { run, from } => {
                stages::align::<B>(run, &from, config, accept_changed, view, device)
            }
            Command::Finetune { run, from } => {
                stages::finetune::<B>(run, &from, config, accept_changed, view, device)
            }
            Command::Evaluate { from } => {
                stages::evaluate::<B>(&from, config, accept_changed, &view, device)
            }
        }
    }
}
