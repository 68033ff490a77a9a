//! The checkpoints of a run: numbered, few, and the newest valid one wins.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::checkpoint::{self, Checkpoint, Manifest, NewCheckpoint, Retention};
use super::files::beside;
use super::{RunError, read_checkpoint, read_manifest};

/// The folder `checkpoints` of a run.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
    next: u64,
}

/// A checkpoint whose manifest is valid; the rest has not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its folder.
    pub path: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// The newest valid checkpoint, and why newer ones were passed over.
#[derive(Debug)]
pub struct Newest<S> {
    /// `None` where there is no valid one.
    pub checkpoint: Option<Checkpoint<S>>,
    /// For a warning each.
    pub passed_over: Vec<RunError>,
}

impl Checkpoints {
    /// For writing, `keep` ≥ 1 rolling ones; tidies up what a killed process left.
    ///
    /// # Errors
    /// The folder cannot be read or tidied.
    pub fn open(folder: &Path, keep: usize) -> Result<Self, RunError> {
        tidy(folder)?;
        let mut checkpoints = Self { folder: folder.to_owned(), keep: keep.max(1), next: 0 };
        let (entries, _) = checkpoints.entries()?;
        checkpoints.next = entries.first().map_or(0, |entry| entry.manifest.sequence + 1);
        Ok(checkpoints)
    }

    /// For reading alone: touches nothing.
    pub fn read_only(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), keep: usize::MAX, next: 0 }
    }

    /// Writes one, then removes the rolling ones that are too old. Returns its folder.
    ///
    /// # Errors
    /// It cannot be written, and then everything is as before; or an old one cannot be removed.
    pub fn save<S: Serialize + DeserializeOwned>(
        &mut self,
        new: &NewCheckpoint<'_, S>,
    ) -> Result<PathBuf, RunError> {
        let path = checkpoint::write(&self.folder, self.next, new)?;
        self.next += 1;
        self.prune()?;
        Ok(path)
    }

    /// Those with a valid manifest, newest first, and what is wrong with the others.
    ///
    /// # Errors
    /// The folder cannot be read; one that does not exist holds no checkpoint.
    pub fn entries(&self) -> Result<(Vec<Entry>, Vec<RunError>), RunError> {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for name in names(&self.folder)?.into_iter().filter(|name| !name.starts_with('.')) {
            let path = self.folder.join(name);
            match read_manifest(&path) {
                Ok(manifest) => entries.push(Entry { path, manifest }),
                Err(error) => damaged.push(error),
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.sequence));
        Ok((entries, damaged))
    }

    /// The newest valid checkpoint: of stage `stage`, of network `architecture`, where given.
    ///
    /// # Errors
    /// The folder cannot be read. Damaged checkpoints are no error: they are passed over.
    pub fn newest<S: DeserializeOwned>(
        &self,
        stage: Option<&str>,
        architecture: Option<&str>,
    ) -> Result<Newest<S>, RunError> {
        let (entries, mut passed_over) = self.entries()?;
        for entry in entries {
            if stage.is_some_and(|stage| stage != entry.manifest.stage) {
                continue;
            }
            match read_checkpoint(&entry.path, architecture) {
                Ok(checkpoint) => {
                    return Ok(Newest { checkpoint: Some(checkpoint), passed_over });
                }
                Err(error) => passed_over.push(error),
            }
        }
        Ok(Newest { checkpoint: None, passed_over })
    }

    fn prune(&self) -> Result<(), RunError> {
        let (entries, _) = self.entries()?;
        let rolling = entries.iter().filter(|e| e.manifest.retention == Retention::Rolling);
        for entry in rolling.skip(self.keep) {
            // Renamed first, so that one that is half removed is not taken for a damaged one.
            let gone = beside(&entry.path, ".gone-");
            fs::rename(&entry.path, &gone)
                .and_then(|()| fs::remove_dir_all(&gone))
                .map_err(RunError::io("remove old checkpoint", &entry.path))?;
        }
        Ok(())
    }
}

/// Finishes what a killed process was doing.
fn tidy(folder: &Path) -> Result<(), RunError> {
    for name in names(folder)? {
        let path = folder.join(&name);
        let is_rubbish = name.starts_with(".tmp-") || name.starts_with(".gone-");
        let result = match name.strip_prefix(".old-").map(|name| folder.join(name)) {
            // Killed between setting the old one aside and renaming the new one.
            Some(target) if !target.exists() => fs::rename(&path, target),
            Some(_) => fs::remove_dir_all(&path),
            None if is_rubbish => fs::remove_dir_all(&path),
            None => Ok(()),
        };
        result.map_err(RunError::io("tidy up", &path))?;
    }
    Ok(())
}

/// The names in a folder, sorted; none if it does not exist. Names that are not UTF-8 are not ours.
fn names(folder: &Path) -> Result<Vec<String>, RunError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::io("read folder", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(RunError::io("read folder", folder))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
