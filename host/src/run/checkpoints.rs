//! The checkpoints of a run: they are numbered, only a few are kept, and the newest valid one
//! counts.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RunError;
use super::checkpoint::{
    self, Checkpoint, Entry, Manifest, NewCheckpoint, Retention, read_checkpoint_on,
    read_manifest_on,
};
use super::disk::{self, Disk};
use super::files::beside;

/// The folder `checkpoints` of a run.
#[derive(Debug)]
pub struct Checkpoints {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    keep: usize,
    next: u64,
    set_aside: Vec<RunError>,
}

/// The newest valid checkpoint, and why newer ones were passed over.
#[derive(Debug)]
pub struct Newest<S> {
    /// `None` if there is no valid one.
    pub checkpoint: Option<Checkpoint<S>>,
    /// One error for each skipped checkpoint, to warn about.
    pub passed_over: Vec<RunError>,
}

impl Checkpoints {
    /// Opens the folder for writing, with `keep` ≥ 1 rolling checkpoints, and cleans up after a
    /// killed process.
    ///
    /// Every checkpoint is read. A damaged one is renamed to `.damaged-STAGE-STEP` and never read
    /// again: if it could be read later, it would belong to another past of the run.
    ///
    /// # Errors
    /// The folder cannot be read or cleaned up, or a checkpoint cannot be read, which does not
    /// prove that it is damaged.
    pub fn open(folder: &Path, keep: usize) -> Result<Self, RunError> {
        Self::open_on(disk::system(), folder, keep)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        keep: usize,
    ) -> Result<Self, RunError> {
        let mut checkpoints = Self {
            disk,
            folder: folder.to_owned(),
            keep: keep.max(1),
            next: 0,
            set_aside: Vec::new(),
        };
        checkpoints.tidy()?;
        for name in checkpoints.visible()? {
            let path = folder.join(name);
            let read = read_checkpoint_on::<serde_json::Value>(&*checkpoints.disk, &path, None);
            match read {
                Ok(checkpoint) => {
                    checkpoints.next = checkpoints.next.max(checkpoint.manifest.sequence + 1);
                }
                Err(error @ RunError::Io { .. }) => return Err(error),
                Err(error) => checkpoints.set_aside(&path, error)?,
            }
        }
        Ok(checkpoints)
    }

    /// Opens the folder for reading only; nothing is changed.
    pub fn read_only(folder: &Path) -> Self {
        Self::read_only_on(disk::system(), folder)
    }

    pub(super) fn read_only_on(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let (folder, set_aside) = (folder.to_owned(), Vec::new());
        Self { disk, folder, keep: usize::MAX, next: 0, set_aside }
    }

    /// Writes a checkpoint, then removes the rolling ones that are too old. Returns its folder.
    ///
    /// A checkpoint is kept if it is among the newest, or if it has the best score of its stage; of
    /// equal scores the first counts.
    ///
    /// # Errors
    /// The checkpoint cannot be written or does not read back, and then what was valid before still
    /// is; or an old one cannot be removed.
    pub fn save<S: Serialize + DeserializeOwned>(
        &mut self,
        new: &NewCheckpoint<'_, S>,
    ) -> Result<PathBuf, RunError> {
        self.tidy()?;
        let sequence = self.next;
        // Also if writing fails: the failed checkpoint may have reached the disk under its number.
        self.next += 1;
        let path = checkpoint::write(&*self.disk, &self.folder, sequence, new)?;
        self.prune()?;
        Ok(path)
    }

    /// The checkpoints that were damaged when this was opened, to warn about.
    pub fn damaged(&self) -> &[RunError] {
        &self.set_aside
    }

    /// The checkpoints with a valid manifest, newest first, and what is wrong with the others.
    ///
    /// # Errors
    /// The folder or a manifest cannot be read; a folder that does not exist holds no checkpoint.
    pub fn entries(&self) -> Result<(Vec<Entry>, Vec<RunError>), RunError> {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for name in self.visible()? {
            let path = self.folder.join(name);
            match read_manifest_on(&*self.disk, &path) {
                Ok(manifest) => entries.push(Entry { path, manifest }),
                Err(error @ RunError::Io { .. }) => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.manifest.sequence));
        Ok((entries, damaged))
    }

    /// The newest valid checkpoint, of stage `stage` and of network `architecture` where these are
    /// given.
    ///
    /// # Errors
    /// The folder or a checkpoint cannot be read. A damaged checkpoint is no error and is skipped.
    /// A checkpoint that could be read another time must not be skipped: the run would have two
    /// futures.
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
            match read_checkpoint_on(&*self.disk, &entry.path, architecture) {
                Ok(checkpoint) => {
                    return Ok(Newest { checkpoint: Some(checkpoint), passed_over });
                }
                Err(error @ RunError::Io { .. }) => return Err(error),
                Err(error) => passed_over.push(error),
            }
        }
        Ok(Newest { checkpoint: None, passed_over })
    }

    /// The checkpoints with the best score of their stage; of equal scores the first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn best(&self) -> Result<Vec<Entry>, RunError> {
        let (entries, _) = self.entries()?;
        let best = best_sequences(&entries);
        Ok(entries.into_iter().filter(|e| best.contains(&e.manifest.sequence)).collect())
    }

    fn prune(&self) -> Result<(), RunError> {
        let (entries, _) = self.entries()?;
        let best = best_sequences(&entries);
        let rolling = entries.iter().filter(|e| e.manifest.retention == Retention::Rolling);
        for entry in rolling.skip(self.keep).filter(|e| !best.contains(&e.manifest.sequence)) {
            // It is first renamed durably, so that a half-removed checkpoint is not taken for a
            // damaged one.
            let gone = beside(&entry.path, ".gone-");
            self.disk
                .rename(&entry.path, &gone)
                .and_then(|()| self.disk.sync_folder(&self.folder))
                .and_then(|()| self.disk.remove_tree(&gone))
                .map_err(RunError::io("remove old checkpoint", &entry.path))?;
        }
        Ok(())
    }

    fn set_aside(&mut self, path: &Path, error: RunError) -> Result<(), RunError> {
        let aside = beside(path, ".damaged-");
        let removed = if self.disk.exists(&aside) { self.disk.remove_tree(&aside) } else { Ok(()) };
        removed
            .and_then(|()| self.disk.rename(path, &aside))
            .and_then(|()| self.disk.sync_folder(&self.folder))
            .map_err(RunError::io("set aside damaged checkpoint", path))?;
        self.set_aside.push(error);
        Ok(())
    }

    /// Finishes what another process was doing when it was killed or its disk failed.
    fn tidy(&self) -> Result<(), RunError> {
        let hidden: Vec<_> =
            self.names()?.into_iter().filter(|name| name.starts_with('.')).collect();
        if hidden.is_empty() {
            return Ok(());
        }
        // The other process may have ended before its renames were durable. What they replaced must
        // not be removed before they are.
        self.disk.sync_folder(&self.folder).map_err(RunError::io("tidy up", &self.folder))?;
        for name in hidden {
            let path = self.folder.join(&name);
            let is_rubbish = name.starts_with(".tmp-") || name.starts_with(".gone-");
            let result = match name.strip_prefix(".old-").map(|name| self.folder.join(name)) {
                // The process ended between setting the old one aside and renaming the new one.
                Some(target) if !self.disk.exists(&target) => self.disk.rename(&path, &target),
                Some(_) => self.disk.remove_tree(&path),
                None if is_rubbish => self.disk.remove_tree(&path),
                None => Ok(()),
            };
            result.map_err(RunError::io("tidy up", &path))?;
        }
        Ok(())
    }

    /// The names of checkpoints, sorted.
    fn visible(&self) -> Result<Vec<String>, RunError> {
        Ok(self.names()?.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    /// The names in the folder, sorted; empty if it does not exist. Names that are not UTF-8 are
    /// not ours.
    fn names(&self) -> Result<Vec<String>, RunError> {
        let names = match self.disk.names(&self.folder) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(RunError::io("read folder", &self.folder)(error)),
        };
        let mut names: Vec<String> =
            names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Numbers of the checkpoints with the best score of their stage.
fn best_sequences(entries: &[Entry]) -> Vec<u64> {
    let mut best: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
    for Manifest { stage, score, sequence, .. } in entries.iter().map(|entry| &entry.manifest) {
        let Some(score) = score else { continue };
        let better = |(value, first): (f64, u64)| {
            score.value > value || (score.value == value && *sequence < first)
        };
        if best.get(stage.as_str()).is_none_or(|found| better(*found)) {
            best.insert(stage, (score.value, *sequence));
        }
    }
    best.into_values().map(|(_, sequence)| sequence).collect()
}
