//! What a training command is asked to do.

use crate::config::RunConfig;
use crate::progress::{Interrupt, Verbosity};
use crate::run::{Origin, RunFolder};

/// What a stage needs: everything checked, the folder of the run open.
#[derive(Debug)]
pub(in crate::cli) struct Job {
    /// What is to be done.
    pub(in crate::cli) command: Command,
    /// Every setting.
    pub(in crate::cli) config: RunConfig,
    /// Go on where data differ from the record of a run.
    pub(in crate::cli) accept_changed: bool,
    /// Asked between steps.
    pub(in crate::cli) interrupt: Interrupt,
    /// How much is shown.
    pub(in crate::cli) verbosity: Verbosity,
    /// Whether a run that cannot learn is an error.
    pub(in crate::cli) strict: bool,
}

/// What is to be done. A `run` may hold checkpoints already: then it is continued.
#[derive(Debug)]
pub(in crate::cli) enum Command {
    /// Paired comparison with and without the bilevel stage.
    Demo {
        /// Where results go.
        run: RunFolder,
    },
    /// Self-supervised pretraining from initial weights.
    Pretrain {
        /// Where results go.
        run: RunFolder,
    },
    /// Head warm-up, then the bilevel stage.
    Align {
        /// Where results go.
        run: RunFolder,
        /// Pretrained weights.
        from: Origin,
    },
    /// Fine-tuning with a fresh head.
    Finetune {
        /// Where results go.
        run: RunFolder,
        /// Pretrained or aligned weights.
        from: Origin,
    },
    /// Held-out accuracy, linear probe and nearest neighbours; writes nothing.
    Evaluate {
        /// The weights.
        from: Origin,
    },
}

impl Command {
    /// The run that it writes.
    pub(in crate::cli) fn run(&self) -> Option<&RunFolder> {
        match self {
            Self::Demo { run }
            | Self::Pretrain { run }
            | Self::Align { run, .. }
            | Self::Finetune { run, .. } => Some(run),
            Self::Evaluate { .. } => None,
        }
    }
}
