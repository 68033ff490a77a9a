//! The folder of a run.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::{Checkpoints, MetricsWriter, RunError, write_atomic};
use crate::config::{Layers, RunConfig, first_difference};

/// The folder of a run that this process writes; no other process can open it meanwhile.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    keep: usize,
    /// Locked for as long as the folder is open.
    _config: File,
}

impl RunFolder {
    /// A new run in `path`, which must be absent or empty.
    ///
    /// # Errors
    /// The folder is not empty or cannot be written; nothing is left behind.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        let was_there = path.exists();
        if was_there && !is_empty(path)? {
            return Err(RunError::Occupied { path: path.to_owned() });
        }
        fs::create_dir_all(path).map_err(RunError::io("create folder", path))?;
        let written = write_atomic(&config_path(path), config.to_toml().as_bytes());
        if written.is_err() && !was_there {
            // Only the first failure is worth reporting.
            let _ = fs::remove_dir(path);
        }
        written?;
        Self::locked(path, config)
    }

    /// The run in `path`, continued with the same settings.
    ///
    /// # Errors
    /// There is no run, it is in use, or a setting differs on which results depend.
    pub fn resume(path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        let stored = stored_config(path)?;
        if let Some((key, stored, given)) = first_difference(&stored, config) {
            return Err(RunError::Differs { path: config_path(path), key, stored, given });
        }
        Self::locked(path, config)
    }

    /// Removes the run in `path` if nothing but its configuration was ever written; the folder itself
    /// stays where it `was_there` before the run.
    ///
    /// For a run that failed before its first step: what was wrong can be set right and the same
    /// command be given again.
    ///
    /// # Errors
    /// It cannot be read or removed.
    pub fn discard_unused(path: &Path, was_there: bool) -> Result<(), RunError> {
        let config = config_path(path);
        for entry in fs::read_dir(path).map_err(RunError::io("read folder", path))? {
            if entry.map_err(RunError::io("read folder", path))?.path() != config {
                return Ok(());
            }
        }
        fs::remove_file(&config)
            .and_then(|()| if was_there { Ok(()) } else { fs::remove_dir(path) })
            .map_err(RunError::io("remove", path))
    }

    fn locked(path: &Path, config: &RunConfig) -> Result<Self, RunError> {
        let file = config_path(path);
        let lock = File::open(&file).map_err(RunError::io("open", &file))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RunError::Locked { path: path.to_owned() }),
            // A file system without locks is no reason not to run.
            Ok(()) | Err(TryLockError::Error(_)) => {
                Ok(Self { path: path.to_owned(), keep: config.checkpoint.keep, _config: lock })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the report goes.
    pub fn report_path(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Its checkpoints.
    ///
    /// # Errors
    /// The folder cannot be read or tidied.
    pub fn checkpoints(&self) -> Result<Checkpoints, RunError> {
        Checkpoints::open(&checkpoints_path(&self.path), self.keep)
    }

    /// Its metrics, continued behind the first `bytes`: 0 at the start of a run, the checkpoint's
    /// [`metrics_bytes`](super::Manifest::metrics_bytes) where it is resumed.
    ///
    /// # Errors
    /// The file cannot be written, or is shorter than that.
    pub fn metrics(&self, bytes: u64) -> Result<MetricsWriter, RunError> {
        MetricsWriter::open(&metrics_path(&self.path), bytes)
    }
}

/// What `--from` and `inspect` are given: a run or one of its checkpoints. Opened for reading alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A run: its newest valid checkpoint is meant.
    Run(PathBuf),
    /// One checkpoint.
    Checkpoint(PathBuf),
}

impl Origin {
    /// Finds out what `path` is.
    ///
    /// # Errors
    /// Neither a run nor a checkpoint.
    pub fn of(path: &Path) -> Result<Self, RunError> {
        if path.join("manifest.json").exists() {
            return Ok(Self::Checkpoint(path.to_owned()));
        }
        if config_path(path).exists() {
            return Ok(Self::Run(path.to_owned()));
        }
        let reason = match fs::symlink_metadata(path) {
            Err(error) => error.to_string(),
            Ok(data) if !data.is_dir() => "it is no folder".to_owned(),
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
        stored_config(&self.run_path())
    }

    /// Where the configuration of the run is stored.
    pub fn config_path(&self) -> PathBuf {
        config_path(&self.run_path())
    }

    /// Where the metrics of the run are.
    pub fn metrics_path(&self) -> PathBuf {
        metrics_path(&self.run_path())
    }

    /// The checkpoints of the run.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::read_only(&checkpoints_path(&self.run_path()))
    }

    /// The newest valid checkpoint of the run, or the one that was given.
    ///
    /// # Errors
    /// There is none; the reason names every one that is damaged.
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

    fn run_path(&self) -> PathBuf {
        match self {
            Self::Run(path) => path.clone(),
            // RUN/checkpoints/STAGE-STEP; `..` also holds for a relative path of one part.
            Self::Checkpoint(path) => path.join("..").join(".."),
        }
    }
}

/// Whether nothing is in there but what a process killed at its start left.
fn is_empty(path: &Path) -> Result<bool, RunError> {
    for entry in fs::read_dir(path).map_err(RunError::io("read folder", path))? {
        let name = entry.map_err(RunError::io("read folder", path))?.file_name();
        if !name.as_encoded_bytes().starts_with(b".tmp-") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn stored_config(run: &Path) -> Result<RunConfig, RunError> {
    let path = config_path(run);
    if !path.exists() {
        let reason = "it holds no config.toml".to_owned();
        let expected = "the folder of a run";
        return Err(RunError::NotFound { path: run.to_owned(), expected, reason });
    }
    Ok(Layers::stored(&path)?.resolve()?)
}

fn config_path(run: &Path) -> PathBuf {
    run.join("config.toml")
}

fn checkpoints_path(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

fn metrics_path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}
