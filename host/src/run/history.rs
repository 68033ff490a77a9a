//! `history.jsonl`: which processes worked on a run, on which machine, and when.
//!
//! Only this file contains times, so that every other file of a run is the same when the run is
//! repeated.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::files::parent;
use super::{Outcome, RunError};
use crate::machine;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum HistoryEntry {
    /// A process began or resumed the run.
    Started {
        /// Time in UTC, for people.
        time: String,
        /// Seconds since 1970.
        unix_seconds: u64,
        /// The command line, starting with the program's name.
        arguments: Vec<String>,
        /// Where it was started, if the system knows: relative paths begin there.
        #[serde(default)]
        directory: Option<PathBuf>,
        /// Version of the program.
        version: String,
        /// Operating system and kind of processor.
        platform: String,
        /// The processor's name, if the system reports it.
        processor: Option<String>,
        /// Number of computing threads.
        threads: usize,
    },
    /// The process ended and could record it.
    Ended {
        /// Time in UTC, for people.
        time: String,
        /// Seconds since 1970.
        unix_seconds: u64,
        /// How it ended.
        outcome: Ending,
    },
}

impl HistoryEntry {
    /// Where a process was started.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Started { directory, .. } => directory.as_deref(),
            Self::Ended { .. } => None,
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything was done.
    Finished,
    /// It was stopped by a signal; a checkpoint is written.
    Interrupted,
    /// It failed with an error.
    Failed,
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

pub(super) fn history_path(run: &Path) -> PathBuf {
    run.join("history.jsonl")
}

/// The current time: in UTC, and in seconds since 1970.
fn now() -> (String, u64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let time = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    (time.to_string(), seconds)
}

/// The start of this process, which got `arguments` and computes with `threads` threads; 0 means
/// all.
pub(super) fn started(arguments: Vec<String>, threads: usize) -> HistoryEntry {
    let (time, unix_seconds) = now();
    HistoryEntry::Started {
        time,
        unix_seconds,
        arguments,
        // JSON is text: a name that is none is left out.
        directory: std::env::current_dir().ok().filter(|path| path.to_str().is_some()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: machine::processor(),
        threads: if threads == 0 { machine::threads() } else { threads },
    }
}

/// The end of this process.
pub(super) fn ended(outcome: Ending) -> HistoryEntry {
    let (time, unix_seconds) = now();
    HistoryEntry::Ended { time, unix_seconds, outcome }
}

/// Appends a line to the history of the run in folder `run`.
pub(super) fn append(disk: &dyn Disk, run: &Path, entry: &HistoryEntry) -> Result<(), RunError> {
    let path = history_path(run);
    let mut line = serde_json::to_vec(entry).expect("a history is text and integers");
    line.push(b'\n');
    let was_there = disk.exists(&path);
    let old =
        if was_there { disk.read(&path).map_err(RunError::io("read", &path))? } else { Vec::new() };
    if old.last().is_some_and(|byte| *byte != b'\n') {
        // An unfinished line of an earlier process stays a line of its own.
        line.insert(0, b'\n');
    }
    disk.write_at(&path, old.len() as u64, &line)
        .and_then(|()| disk.sync_file(&path))
        .and_then(|()| if was_there { Ok(()) } else { disk.sync_folder(parent(&path)) })
        .map_err(RunError::io("write", &path))
}

/// The history of the run in folder `run`, oldest first; empty if there is none. Lines that a power
/// cut tore are left out.
pub(super) fn read(disk: &dyn Disk, run: &Path) -> Result<Vec<HistoryEntry>, RunError> {
    let path = history_path(run);
    if !disk.exists(&path) {
        return Ok(Vec::new());
    }
    let bytes = disk.read(&path).map_err(RunError::io("read", &path))?;
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
