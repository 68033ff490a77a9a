//! Errors of a configuration.

use std::path::PathBuf;

use crate::text::shown;
use thiserror::Error;

/// A configuration that is rejected. Nothing has been written.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read as text.
    #[error("configuration {}: {source}", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{place}: not valid TOML: {message}")]
    Syntax {
        /// `FILE:LINE` or the flag.
        place: String,
        /// The parser's message.
        message: String,
    },
    /// No setting has this key.
    #[error("{place}: unknown key `{key}`, expected {expected}")]
    UnknownKey {
        /// `FILE:LINE` or the flag.
        place: String,
        /// The key, with its sections.
        key: String,
        /// The keys of that section.
        expected: String,
    },
    /// A value has the wrong type or is out of its range.
    #[error("{place}: `{key}` is {found}, expected {expected}")]
    Invalid {
        /// `FILE:LINE` or the flag.
        place: String,
        /// The key, with its sections.
        key: String,
        /// The value as it was written.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A section rejects a value.
    #[error("{place}: {message}")]
    Section {
        /// `FILE:LINE` or the flag.
        place: String,
        /// Key, what was found, and what was expected.
        message: String,
    },
    /// `--set` has no `=` or an impossible key.
    #[error("--set {text}: expected KEY=VALUE, such as align.damping=1")]
    Assignment {
        /// What was given.
        text: String,
    },
    /// `--resume` does not name a run.
    #[error("{} is a checkpoint: --resume needs the folder of its run", shown(path))]
    Resume {
        /// What was given.
        path: PathBuf,
    },
    /// The stage cannot start from initial weights.
    #[error("bissl {command} needs --from RUN: the run or checkpoint to start from")]
    NoOrigin {
        /// The command.
        command: &'static str,
    },
    /// What is to be compared is not a configuration.
    #[error("{name}: expected a preset (`bissl config show`), the folder of a run or a TOML file")]
    Settings {
        /// What was given.
        name: String,
    },
    /// No preset has this name.
    #[error("unknown preset `{name}`, expected {expected}")]
    Preset {
        /// What was given.
        name: String,
        /// The known names.
        expected: String,
    },
}
