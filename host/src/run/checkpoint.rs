//! One checkpoint: a folder with weights, a state, and a manifest that seals both.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, SystemDisk};
use super::files::{self, create_folder, write_synced};
use super::tensors;
use super::{NamedTensor, RunError, TensorView};
use crate::hash::hash;

const FORMAT: u32 = 1;
const WEIGHTS: &str = "weights.safetensors";
const STATE: &str = "state.json";
const MANIFEST: &str = "manifest.json";

/// How long a checkpoint is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Until enough newer ones exist.
    Rolling,
    /// Forever: it is the end of a stage.
    Permanent,
}

/// A measure of a checkpoint's weights on images that they were not trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// What was measured.
    pub metric: String,
    /// The value: finite, and more is better.
    pub value: f64,
}

/// The content of a checkpoint.
#[derive(Clone, Debug)]
pub struct NewCheckpoint<'a, S> {
    /// Stage within the run: lower-case letters, digits, `-`.
    pub stage: &'a str,
    /// Completed steps of the stage.
    pub step: u64,
    /// How long it is kept.
    pub retention: Retention,
    /// The network in words; equal words mean that weights are interchangeable.
    pub architecture: &'a str,
    /// The score of its weights, if they were measured: the best of a stage is kept.
    pub score: Option<Score>,
    /// Length of `metrics.jsonl` at this step in bytes.
    pub metrics_bytes: u64,
    /// Everything that is large.
    pub tensors: &'a [TensorView<'a>],
    /// Everything else; all floats finite.
    pub state: &'a S,
}

/// A checkpoint that was read and verified completely.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<S> {
    /// Its manifest.
    pub manifest: Manifest,
    /// The tensors, in the order of their names.
    pub tensors: Vec<NamedTensor>,
    /// The state.
    pub state: S,
}

impl<S> Checkpoint<S> {
    /// The tensor named `name`.
    pub fn tensor(&self, name: &str) -> Option<&NamedTensor> {
        let index = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        self.tensors.get(index)
    }
}

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    /// Number of the checkpoint within its run: the highest is the newest.
    pub sequence: u64,
    /// Stage within the run.
    pub stage: String,
    /// Completed steps of the stage.
    pub step: u64,
    /// How long it is kept.
    pub retention: Retention,
    /// The network.
    pub architecture: String,
    /// The score of its weights, if they were measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub score: Option<Score>,
    /// Length of `metrics.jsonl` at this step in bytes.
    pub metrics_bytes: u64,
    weights: Seal,
    state: Seal,
    /// Hash of the manifest itself, with this field empty.
    seal: String,
}

/// A checkpoint whose manifest is valid; the rest has not been looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its folder.
    pub path: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
}

/// Length and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    bytes: u64,
    fnv1a: String,
}

impl Seal {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, fnv1a: format!("{:016x}", hash(bytes)) }
    }

    /// The file's bytes, if their length and hash are those of the seal.
    fn open(&self, disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, RunError> {
        let bytes = read_part(disk, path)?;
        if bytes.len() as u64 != self.bytes {
            let reason = format!("it has {} bytes, expected {}", bytes.len(), self.bytes);
            return Err(RunError::damaged(path, reason));
        }
        if Self::of(&bytes) != *self {
            return Err(RunError::damaged(path, "its hash is not the one in the manifest"));
        }
        Ok(bytes)
    }
}

impl Manifest {
    /// The name of its folder.
    pub fn folder_name(&self) -> String {
        format!("{}-{:08}", self.stage, self.step)
    }

    fn sealed(mut self) -> Self {
        self.seal = String::new();
        let seal = Seal::of(&self.encode()).fnv1a;
        Self { seal, ..self }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is text and integers");
        bytes.push(b'\n');
        bytes
    }
}

/// Reads a file of a checkpoint. A missing file is damage, one that cannot be read is not.
fn read_part(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, RunError> {
    disk.read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => RunError::damaged(path, "it is missing"),
        _ => RunError::io("read", path)(error),
    })
}

/// Writes checkpoint number `sequence` as `folder`/`STAGE-STEP`.
///
/// Every file is synchronised and read back before the checkpoint gets its name. When this function
/// returns, the name is durable and the manifest was read back under it.
pub(super) fn write<S: Serialize + DeserializeOwned>(
    disk: &dyn Disk,
    folder: &Path,
    sequence: u64,
    new: &NewCheckpoint<'_, S>,
) -> Result<PathBuf, RunError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(!new.stage.is_empty() && new.stage.chars().all(is_plain), "stage {:?}", new.stage);
    assert!(new.score.as_ref().is_none_or(|score| score.value.is_finite()), "{:?}", new.score);
    let state = encode_state(folder, new.state)?;
    let weights = tensors::encode(folder, new.tensors)?;
    let manifest = Manifest {
        format: FORMAT,
        sequence,
        stage: new.stage.to_owned(),
        step: new.step,
        retention: new.retention,
        architecture: new.architecture.to_owned(),
        score: new.score.clone(),
        metrics_bytes: new.metrics_bytes,
        weights: Seal::of(&weights),
        state: Seal::of(&state),
        seal: String::new(),
    }
    .sealed();
    let path = folder.join(manifest.folder_name());
    let temporary = files::beside(&path, ".tmp-");
    let parts = [(WEIGHTS, weights), (STATE, state), (MANIFEST, manifest.encode())];
    let failed = |source| {
        // Only the first failure is worth reporting.
        let _ = disk.remove_tree(&temporary);
        RunError::Io { action: "write checkpoint", path: path.clone(), source }
    };
    create_folder(disk, folder).map_err(failed)?;
    write_folder(disk, &temporary, &parts).map_err(failed)?;
    let set_aside = replace(disk, &temporary, &path).map_err(failed)?;
    if read_manifest_on(disk, &path)? != manifest {
        return Err(RunError::damaged(&path, "its manifest is not the one that was written"));
    }
    if let Some(old) = set_aside {
        disk.remove_tree(&old).map_err(failed)?;
    }
    Ok(path)
}

/// The state as JSON. It is checked that it reads back, because JSON has no NaN and no infinity.
fn encode_state<S: Serialize + DeserializeOwned>(
    folder: &Path,
    state: &S,
) -> Result<Vec<u8>, RunError> {
    let unstorable = |error: serde_json::Error| RunError::Unstorable {
        what: "the state of the stage".to_owned(),
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let bytes = serde_json::to_vec_pretty(state).map_err(unstorable)?;
    serde_json::from_slice::<S>(&bytes).map_err(unstorable)?;
    Ok(bytes)
}

fn write_folder(disk: &dyn Disk, path: &Path, parts: &[(&str, Vec<u8>)]) -> io::Result<()> {
    if disk.exists(path) {
        disk.remove_tree(path)?;
    }
    disk.create_folder(path)?;
    for (name, bytes) in parts {
        write_synced(disk, &path.join(name), bytes)?;
    }
    disk.sync_folder(path)
}

/// Renames `new` to `path`. What was there is first set aside under the name that is returned.
fn replace(disk: &dyn Disk, new: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let aside = files::beside(path, ".old-");
    let was_there = disk.exists(path);
    if was_there {
        disk.rename(path, &aside)?;
    }
    disk.rename(new, path).inspect_err(|_| {
        if was_there {
            // Opening the run would also do this, if it fails here.
            let _ = disk.rename(&aside, path);
        }
    })?;
    disk.sync_folder(files::parent(path))?;
    Ok(was_there.then_some(aside))
}

/// The manifest of the checkpoint in folder `path`, checked against its own seal.
///
/// # Errors
/// It is missing, damaged, or of another version of the format.
pub fn read_manifest(path: &Path) -> Result<Manifest, RunError> {
    read_manifest_on(&SystemDisk, path)
}

/// [`read_manifest`] on a given file system.
pub(super) fn read_manifest_on(disk: &dyn Disk, path: &Path) -> Result<Manifest, RunError> {
    let file = path.join(MANIFEST);
    let bytes = read_part(disk, &file)?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| RunError::damaged(&file, error))?;
    if manifest.format != FORMAT {
        let reason = format!("it has format {}, expected {FORMAT}", manifest.format);
        return Err(RunError::damaged(&file, reason));
    }
    // Comparing the bytes as well finds changes that parse to the same values.
    if manifest.clone().sealed() != manifest || manifest.encode() != bytes {
        return Err(RunError::damaged(&file, "its hash is not the one that it states"));
    }
    Ok(manifest)
}

/// The state of a checkpoint, without its weights; `None` if it is not what was written.
pub(super) fn read_state<S: DeserializeOwned>(disk: &dyn Disk, entry: &Entry) -> Option<S> {
    let bytes = entry.manifest.state.open(disk, &entry.path.join(STATE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The checkpoint in folder `path`. If `architecture` is given, it must be of that network.
///
/// # Errors
/// Part of it is missing or damaged, or it is of another network.
pub fn read_checkpoint<S: DeserializeOwned>(
    path: &Path,
    architecture: Option<&str>,
) -> Result<Checkpoint<S>, RunError> {
    read_checkpoint_on(&SystemDisk, path, architecture)
}

/// [`read_checkpoint`] on a given file system.
pub(super) fn read_checkpoint_on<S: DeserializeOwned>(
    disk: &dyn Disk,
    path: &Path,
    architecture: Option<&str>,
) -> Result<Checkpoint<S>, RunError> {
    let manifest = read_manifest_on(disk, path)?;
    if let Some(expected) = architecture.filter(|expected| *expected != manifest.architecture) {
        return Err(RunError::Architecture {
            path: path.to_owned(),
            found: manifest.architecture,
            expected: expected.to_owned(),
        });
    }
    let state_path = path.join(STATE);
    let state = serde_json::from_slice(&manifest.state.open(disk, &state_path)?)
        .map_err(|error| RunError::damaged(&state_path, error))?;
    let weights_path = path.join(WEIGHTS);
    let tensors = tensors::decode(&weights_path, &manifest.weights.open(disk, &weights_path)?)?;
    Ok(Checkpoint { manifest, tensors, state })
}
