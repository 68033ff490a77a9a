//! What can fail above the configuration and the readers of files: one type, whose kinds tell a
//! caller what to do about it.

mod memory;

use thiserror::Error;

use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::data::{CheckFailed, DataError};
use crate::driver::DriverError;
use crate::report::ReportError;
use crate::run::RunError;
pub use memory::{NotEnoughMemory, SolverNeed};

/// The result of what stages and measurements do.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a stage, a measurement or a command ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for an end; what a run needs to go on has been stored.
    #[error("interrupted")]
    Interrupted,
    /// A loss, a gradient or a solve is not finite.
    #[error(
        "{stage}: loss, gradient or solve is not finite at step {step}; \
         a smaller learning rate or a gradient clip may help"
    )]
    Diverged {
        /// Stage within the run.
        stage: String,
        /// Step of the stage, from 0.
        step: u32,
    },
    /// A configuration that is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting that the core refuses.
    #[error(transparent)]
    Setting(#[from] bissl_core::ConfigError),
    /// A backend that cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A data set that cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Images that are not fit to be trained on.
    #[error(transparent)]
    Check(#[from] CheckFailed),
    /// A file or folder of a run that cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The solver's vectors do not fit.
    #[error(transparent)]
    Memory(#[from] NotEnoughMemory),
    /// A request that could not be performed.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A machine that could not be driven.
    #[error(transparent)]
    Drive(#[from] bissl_core::DriveError<DriverError>),
    /// A report that could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Checks of `verify` that failed; they are in its report.
    #[error(transparent)]
    Verify(#[from] VerifyFailed),
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Text that is not the JSON it should be, or a value that has no form in it.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Anything else: what was found and what was expected.
    #[error("{0}")]
    Failed(String),
    /// Where it happened.
    #[error("{place}")]
    At {
        /// A file, a setting or a part of the work.
        place: String,
        /// What.
        source: Box<Error>,
    },
}

/// Some checks failed; they stand in the report.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("verify: {failed} of {all} checks failed, expected none: do not train on this")]
pub struct VerifyFailed {
    /// How many failed.
    pub failed: usize,
    /// Out of how many.
    pub all: usize,
}

impl Error {
    /// An error of another kind, in its own words.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// The error itself, without the places where it happened.
    pub fn kind(&self) -> &Self {
        match self {
            Self::At { source, .. } => source.kind(),
            own => own,
        }
    }
}

/// Adds the place to an error.
pub(crate) trait Place<T> {
    /// Says where it happened.
    fn at(self, place: impl Into<String>) -> Result<T>;

    /// The same, made only if it is needed.
    fn at_with<P: Into<String>>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T, E: Into<Error>> Place<T> for std::result::Result<T, E> {
    fn at(self, place: impl Into<String>) -> Result<T> {
        self.at_with(|| place)
    }

    fn at_with<P: Into<String>>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| Error::At { place: place().into(), source: Box::new(error.into()) })
    }
}

/// Ends a function with [`Error::Failed`]; arguments are those of `format!`.
macro_rules! fail {
    ($($text:tt)+) => {
        return Err($crate::error::Error::Failed(format!($($text)+)))
    };
}
pub(crate) use fail;
