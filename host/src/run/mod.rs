//! A run is a folder whose content survives a kill at any moment.
//!
//! ```text
//! RUN/
//! ├── config.toml                      every setting
//! ├── history.jsonl                    commands, machines and times: a line for each start and end
//! ├── metrics.jsonl                    one JSON object a line
//! ├── events.out.tfevents.bissl        the same numbers for TensorBoard
//! ├── checkpoints/pretrain-00000120/   {weights.safetensors, state.json, manifest.json}
//! └── report.html
//! ```
//!
//! Files and checkpoint folders are written under another name, synchronised to disk, then renamed:
//! a name is either absent or complete. Readers trust nothing: the length and hash of every file
//! are checked.

mod checkpoint;
mod checkpoints;
mod disk;
mod error;
mod events;
#[cfg(test)]
mod faults;
mod files;
mod folder;
mod history;
mod metrics;
mod overview;
mod real_tensors;
mod records;
mod results;
#[cfg(test)]
mod simulated;
mod tensors;
#[cfg(test)]
mod tests;

pub use checkpoint::{
    Checkpoint, Entry, Manifest, NewCheckpoint, Retention, Score, read_checkpoint, read_manifest,
};
pub use checkpoints::{Checkpoints, Newest};
pub use error::RunError;
pub use files::write_atomic;
pub use folder::{Origin, RunFolder, stored_settings};
pub use history::Ending;
pub use metrics::{MetricsWriter, last_metrics};
pub use overview::{Overview, RunState, StageProgress};
pub use real_tensors::{Precision, RealTensor, RealTensors, read_real_tensors, write_real_tensors};
pub use records::{Record, Solve, read_records};
pub use tensors::{NamedTensor, TensorView, read_tensors, write_tensors};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Finished,
    /// The user interrupted it; the checkpoint is written and `--resume` continues.
    Interrupted,
}
