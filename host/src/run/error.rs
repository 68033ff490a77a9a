//! What can go wrong with the files of a run.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::ConfigError;
use crate::text::shown;

/// A file or folder of a run that cannot be used. Nothing half-written is left behind.
#[derive(Debug, Error)]
pub enum RunError {
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {source}", shown(path))]
    Io {
        /// The operation.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A new run would mix with the folder's content.
    #[error(
        "{} is not empty: name another folder with --out, or continue that run with --resume",
        shown(path)
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is in use.
    #[error("{} is being used by another bissl process", shown(path))]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The path is no run folder, or no checkpoint.
    #[error("{} is not {expected}: {reason}", shown(path))]
    NotFound {
        /// The path that was given.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A resumed run must be the same run.
    #[error(
        "{}: the run was started with `{key}` = {stored}, but {given} is given; \
         leave it out to resume, or start a new run with another --out",
        shown(path)
    )]
    Differs {
        /// The stored configuration.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its stored value.
        stored: String,
        /// Its value now.
        given: String,
    },
    /// A stored configuration that is no longer valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that is not what was written.
    #[error("{} is damaged: {reason}", shown(path))]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// How the damage shows.
        reason: String,
    },
    /// A file of tensors that is in order but not what was asked for.
    #[error("{}: {reason}", shown(path))]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The tensor, what was found and what was expected.
        reason: String,
    },
    /// A checkpoint of another network.
    #[error("{} holds the network `{found}`, expected `{expected}`", shown(path))]
    Architecture {
        /// The checkpoint.
        path: PathBuf,
        /// Its network.
        found: String,
        /// The network of this run.
        expected: String,
    },
    /// Something cannot be stored, such as a NaN in a state.
    #[error("cannot store {what} in {}: {reason}", shown(path))]
    Unstorable {
        /// What cannot be stored.
        what: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl RunError {
    /// For `map_err` after an operation of the file system.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn unfit(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), reason: reason.into() }
    }
}
