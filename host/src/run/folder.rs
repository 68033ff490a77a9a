//! The folder of a run.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{self, Disk, Lock, SystemDisk};
use super::files::{create_folder, write_atomic_on};
use super::history::{self, history_path};
use super::{Checkpoints, Ending, MetricsWriter, RunError};
use crate::config::{Layers, RunConfig, first_difference};

/// The folder of a run that this process writes; no other process can open it at the same time.
#[derive(Debug)]
pub struct RunFolder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    keep: usize,
    tensorboard: bool,
    /// A lock on `config.toml`, for as long as the folder is open.
    _lock: Lock,
}

impl RunFolder {
    /// Creates a run in `path`, which must be absent or empty.
    ///
    /// # Errors
    /// The folder is not empty or cannot be written; nothing is left behind.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        Self::create_on(disk::system(), path, config)
    }

    pub(super) fn create_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        config: &RunConfig,
    ) -> Result<Self, RunError> {
        let was_there = disk.exists(path);
        if was_there && !is_empty(&*disk, path)? {
            return Err(RunError::Occupied { path: path.to_owned() });
        }
        create_folder(&*disk, path).map_err(RunError::io("create folder", path))?;
        let written = write_atomic_on(&*disk, &config_path(path), config.to_toml().as_bytes());
        if written.is_err() && !was_there {
            // Only the first failure is worth reporting.
            let _ = disk.remove_folder(path);
        }
        written?;
        Self::locked(disk, path, config)
    }

    /// Opens the run in `path` to continue it with the same settings.
    ///
    /// # Errors
    /// There is no run, it is in use, or a setting differs that results depend on.
    pub fn resume(path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        Self::resume_on(disk::system(), path, config)
    }

    pub(super) fn resume_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        config: &RunConfig,
    ) -> Result<Self, RunError> {
        let stored = stored_config(&*disk, path)?;
        if let Some((key, stored, given)) = first_difference(&stored, config) {
            return Err(RunError::Differs { path: config_path(path), key, stored, given });
        }
        Self::locked(disk, path, config)
    }

    /// Removes the run in `path` if nothing but its configuration and its history was ever written.
    /// The folder itself is kept if it `was_there` before the run.
    ///
    /// This is for a run that failed before its first step: the user can fix the cause and give the
    /// same command again.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn discard_unused(path: &Path, was_there: bool) -> Result<(), RunError> {
        let (config, history) = (config_path(path), history_path(path));
        let names = SystemDisk.names(path).map_err(RunError::io("read folder", path))?;
        if names.iter().any(|name| ![&config, &history].contains(&&path.join(name))) {
            return Ok(());
        }
        let has_history = SystemDisk.exists(&history);
        (if has_history { SystemDisk.remove_file(&history) } else { Ok(()) })
            .and_then(|()| SystemDisk.remove_file(&config))
            .and_then(|()| if was_there { Ok(()) } else { SystemDisk.remove_folder(path) })
            .map_err(RunError::io("remove", path))
    }

    fn locked(disk: Arc<dyn Disk>, path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        let file = config_path(path);
        match disk.lock(&file) {
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(RunError::io("open", &file)(error)),
            Ok(lock) => {
                let (path, keep) = (path.to_owned(), config.checkpoint.keep);
                Ok(Self { disk, path, keep, tensorboard: config.tensorboard, _lock: lock })
            }
        }
    }

    /// Records that this process begins, with its command line and its number of threads.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&self, arguments: Vec<String>, threads: usize) -> Result<(), RunError> {
        let started = history::started(arguments, threads);
        history::append(&*self.disk, &self.path, &started)
    }

    /// Records how this process ended its work on the run in `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(path: &Path, ending: Ending) -> Result<(), RunError> {
        history::append(&SystemDisk, path, &history::ended(ending))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of its metrics.
    pub fn metrics_path(&self) -> PathBuf {
        metrics_path(&self.path)
    }

    /// Path of its report.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Its checkpoints.
    ///
    /// # Errors
    /// The folder cannot be read or cleaned up.
    pub fn checkpoints(&self) -> Result<Checkpoints, RunError> {
        let folder = checkpoints_path(&self.path);
        Checkpoints::open_on(Arc::clone(&self.disk), &folder, self.keep)
    }

    /// Its metrics, to be continued after the first `bytes` bytes: 0 at the start of a run, the
    /// checkpoint's [`metrics_bytes`](super::Manifest::metrics_bytes) when it is resumed.
    ///
    /// # Errors
    /// The file cannot be written, or is shorter than that.
    pub fn metrics(&self, bytes: u64) -> Result<MetricsWriter, RunError> {
        let (disk, path) = (Arc::clone(&self.disk), metrics_path(&self.path));
        let metrics = MetricsWriter::open_on(disk, &path, bytes)?;
        if self.tensorboard { metrics.with_events() } else { Ok(metrics) }
    }
}

/// The argument of `--from` and `inspect`: a run or one of its checkpoints, opened for reading
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A run, for its newest valid checkpoint.
    Run(PathBuf),
    /// One checkpoint.
    Checkpoint(PathBuf),
}

impl Origin {
    /// Determines what `path` is.
    ///
    /// # Errors
    /// It is neither a run nor a checkpoint.
    pub fn of(path: &Path) -> Result<Self, RunError> {
        if path.join("manifest.json").exists() {
            return Ok(Self::Checkpoint(path.to_owned()));
        }
        if config_path(path).exists() {
            return Ok(Self::Run(path.to_owned()));
        }
        let reason = match SystemDisk.names(path) {
            Err(error) => error.to_string(),
            Ok(_) => "it holds neither config.toml nor manifest.json".to_owned(),
        };
        let expected = "the folder of a run or of a checkpoint";
        Err(RunError::NotFound { path: path.to_owned(), expected, reason })
    }

    /// The configuration of the run.
    ///
    /// # Errors
    /// It is missing or not valid.
    pub fn config(&self) -> Result<RunConfig, RunError> {
        stored_config(&SystemDisk, &self.run_path())
    }

    /// Path of the run's configuration.
    pub fn config_path(&self) -> PathBuf {
        config_path(&self.run_path())
    }

    /// Path of the run's metrics.
    pub fn metrics_path(&self) -> PathBuf {
        metrics_path(&self.run_path())
    }

    /// The checkpoints of the run.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::read_only(&checkpoints_path(&self.run_path()))
    }

    /// The newest valid checkpoint of the run, or the given checkpoint.
    ///
    /// # Errors
    /// There is none; the reason names every damaged one.
    pub fn checkpoint_path(&self) -> Result<PathBuf, RunError> {
        match self {
            Self::Checkpoint(path) => {
                super::read_checkpoint::<serde_json::Value>(path, None)?;
                Ok(path.clone())
            }
            Self::Run(path) => {
                let (entries, mut damaged) = self.checkpoints().entries()?;
                for entry in entries {
                    match super::read_checkpoint::<serde_json::Value>(&entry.path, None) {
                        Ok(_) => return Ok(entry.path),
                        Err(error) => damaged.push(error),
                    }
                }
                let reasons: Vec<_> = damaged.iter().map(ToString::to_string).collect();
                let reason = if reasons.is_empty() {
                    "it has no checkpoint yet".to_owned()
                } else {
                    reasons.join("; ")
                };
                let expected = "a run with a valid checkpoint";
                Err(RunError::NotFound { path: path.clone(), expected, reason })
            }
        }
    }

    /// The folder of the run.
    pub fn run_path(&self) -> PathBuf {
        match self {
            Self::Run(path) => path.clone(),
            // RUN/checkpoints/STAGE-STEP. `..` also works for a relative path with one component.
            Self::Checkpoint(path) => path.join("..").join(".."),
        }
    }
}

/// Whether the folder holds nothing except what a process killed at its start left behind.
fn is_empty(disk: &dyn Disk, path: &Path) -> Result<bool, RunError> {
    let names = disk.names(path).map_err(RunError::io("read folder", path))?;
    Ok(names.iter().all(|name| name.as_encoded_bytes().starts_with(b".tmp-")))
}

pub(super) fn stored_config(disk: &dyn Disk, run: &Path) -> Result<RunConfig, RunError> {
    Ok(stored_layers(disk, run)?.resolve()?)
}

/// The settings of the run in `run` as the base of others; its relative paths mean what they meant
/// where the run was started.
///
/// # Errors
/// There is no run, or it cannot be read.
pub fn stored_settings(run: &Path) -> Result<Layers, RunError> {
    stored_layers(&SystemDisk, run)
}

fn stored_layers(disk: &dyn Disk, run: &Path) -> Result<Layers, RunError> {
    let path = config_path(run);
    if !disk.exists(&path) {
        let reason = "it holds no config.toml".to_owned();
        let expected = "the folder of a run";
        return Err(RunError::NotFound { path: run.to_owned(), expected, reason });
    }
    let bytes = disk.read(&path).map_err(RunError::io("read", &path))?;
    let text = String::from_utf8(bytes).map_err(|error| RunError::damaged(&path, error))?;
    let layers = Layers::stored_text(&path, text);
    let history = history::read(disk, run)?;
    let directory = history.iter().find_map(history::HistoryEntry::directory);
    let here = std::env::current_dir().ok();
    Ok(match directory {
        Some(directory) if here.as_deref() != Some(directory) => layers.started_in(directory),
        _ => layers,
    })
}

pub(super) fn config_path(run: &Path) -> PathBuf {
    run.join("config.toml")
}

pub(super) fn checkpoints_path(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

pub(super) fn metrics_path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}
