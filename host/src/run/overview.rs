//! What a run's folder tells about the run, without reading any weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::checkpoint::read_state;
use super::disk::{Disk, SystemDisk};
use super::history::{self, Ending, HistoryEntry};
use super::results::{StageState, results};
use super::{Checkpoints, RunError};
use crate::config::RunConfig;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process has it open.
    Running,
    /// Everything was done.
    Finished,
    /// It was stopped by a signal, a kill or a power cut: `--resume` continues it.
    Interrupted,
    /// It failed with an error.
    Failed,
    /// There is no history.
    Unknown,
}

impl RunState {
    /// The name that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Progress of the newest checkpoint's stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageProgress {
    /// Stage within the run.
    pub stage: String,
    /// Completed steps.
    pub step: u64,
    /// Total steps of the stage.
    pub steps: Option<u64>,
}

/// A summary of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Its folder.
    pub path: PathBuf,
    /// The command that started it.
    pub command: Option<String>,
    /// Its state.
    pub state: RunState,
    /// Its progress.
    pub progress: Option<StageProgress>,
    /// Results by `STAGE/NAME`, as means over seeds. `validation`, `online_probe` and `online_knn`
    /// are the best values of a stage, `loss` is its last one.
    pub metrics: BTreeMap<String, f64>,
    /// Time in seconds during which processes worked on it.
    pub seconds: Option<u64>,
    /// The backbone, in words.
    pub network: String,
    /// Its seed.
    pub seed: u64,
    /// Its checkpoints with the best score of their stage.
    pub best_checkpoints: Vec<PathBuf>,
    /// Every setting.
    #[serde(skip)]
    pub config: RunConfig,
}

impl Overview {
    /// The summary of the run in folder `path`.
    ///
    /// # Errors
    /// The folder holds no run, or one of its files cannot be read.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let disk = &SystemDisk;
        let config = super::folder::stored_config(disk, path)?;
        let checkpoints = Checkpoints::read_only(&super::folder::checkpoints_path(path));
        let (entries, _) = checkpoints.entries()?;
        let progress = entries.first().map(|newest| StageProgress {
            stage: newest.manifest.stage.clone(),
            step: newest.manifest.step,
            steps: read_state(disk, newest).and_then(|state: StageState| state.steps),
        });
        let history = history::read(disk, path)?;
        let running = disk.is_locked(&super::folder::config_path(path));
        let network = &config.network;
        Ok(Self {
            path: path.to_owned(),
            command: command(&history),
            state: state(&history, running),
            progress,
            metrics: results(disk, &super::folder::metrics_path(path), &entries)?,
            seconds: seconds(&history, running, last_change(path)),
            network: format!("{} width {}", network.architecture, network.width),
            seed: config.seed,
            best_checkpoints: checkpoints.best()?.into_iter().map(|entry| entry.path).collect(),
            config,
        })
    }

    /// The folders of runs in `folder` and in up to three levels of folders below it, sorted;
    /// `folder` itself may be one.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn find(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
        let mut found = Vec::new();
        find(folder, 3, &mut found).map_err(RunError::io("read folder", folder))?;
        found.sort();
        Ok(found)
    }
}

fn find(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let names = SystemDisk.names(folder)?;
    if names.iter().any(|name| name == "config.toml") {
        found.push(folder.to_owned());
        return Ok(());
    }
    for name in names.iter().filter(|_| depth > 0) {
        // A file, or a folder that may not be read, holds no run to show.
        let _ = find(&folder.join(name), depth - 1, found);
    }
    Ok(())
}

/// The subcommand of the first process.
fn command(history: &[HistoryEntry]) -> Option<String> {
    history.iter().find_map(|happened| match happened {
        HistoryEntry::Started { arguments, .. } => arguments.get(1).cloned(),
        HistoryEntry::Ended { .. } => None,
    })
}

fn state(history: &[HistoryEntry], running: bool) -> RunState {
    match history.last() {
        _ if running => RunState::Running,
        None => RunState::Unknown,
        // The process was killed.
        Some(HistoryEntry::Started { .. }) => RunState::Interrupted,
        Some(HistoryEntry::Ended { outcome, .. }) => match outcome {
            Ending::Finished => RunState::Finished,
            Ending::Interrupted => RunState::Interrupted,
            Ending::Failed => RunState::Failed,
        },
    }
}

/// Time at which the metrics last grew, in seconds since 1970.
fn last_change(run: &Path) -> Option<u64> {
    let time = SystemDisk.modified(&super::folder::metrics_path(run)).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Time between starts and ends. If the last process was killed, it worked until the metrics last
/// grew. For an earlier process that was killed the time is unknown and counts as 0.
fn seconds(history: &[HistoryEntry], running: bool, last_change: Option<u64>) -> Option<u64> {
    let mut total = None;
    let mut begun = None;
    for happened in history {
        match happened {
            HistoryEntry::Started { unix_seconds, .. } => begun = Some(*unix_seconds),
            HistoryEntry::Ended { unix_seconds, .. } => {
                if let Some(begun) = begun.take() {
                    *total.get_or_insert(0) += unix_seconds.saturating_sub(begun);
                }
            }
        }
    }
    if let Some(begun) = begun {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let until = if running { now } else { last_change.unwrap_or(begun) };
        *total.get_or_insert(0) += until.saturating_sub(begun);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(unix_seconds: u64) -> HistoryEntry {
        HistoryEntry::Started {
            directory: None,
            time: String::new(),
            unix_seconds,
            arguments: vec!["bissl".to_owned(), "pretrain".to_owned()],
            version: String::new(),
            platform: String::new(),
            processor: None,
            threads: 1,
        }
    }

    fn end(unix_seconds: u64, outcome: Ending) -> HistoryEntry {
        HistoryEntry::Ended { time: String::new(), unix_seconds, outcome }
    }

    #[test]
    fn state_and_duration_follow_from_starts_and_ends() {
        let killed = [start(100), end(110, Ending::Interrupted), start(200)];
        assert_eq!(state(&killed, false), RunState::Interrupted);
        assert_eq!(state(&killed, true), RunState::Running);
        assert_eq!(seconds(&killed, false, Some(230)), Some(40));
        let done = [start(100), start(200), end(205, Ending::Finished)];
        assert_eq!(
            (state(&done, false), seconds(&done, false, Some(999))),
            (RunState::Finished, Some(5))
        );
        assert_eq!((state(&[], false), seconds(&[], false, None)), (RunState::Unknown, None));
        assert_eq!(command(&done).as_deref(), Some("pretrain"));
    }
}
