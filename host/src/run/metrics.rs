//! `metrics.jsonl`: one JSON object per line, the same for an interrupted run as for an
//! uninterrupted one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::RunError;
use super::disk::{self, Disk, SystemDisk};
use super::events::EventsWriter;
use super::files::parent;

/// Appends records to the metrics of a run.
#[derive(Debug)]
pub struct MetricsWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    events: Option<EventsWriter>,
}

impl MetricsWriter {
    /// Opens the file `path`, which is created if absent, and truncates it to its first `bytes`
    /// bytes.
    ///
    /// # Errors
    /// The file cannot be written, or is shorter than that.
    pub fn open(path: &Path, bytes: u64) -> Result<Self, RunError> {
        Self::open_on(disk::system(), path, bytes)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, path: &Path, bytes: u64) -> Result<Self, RunError> {
        let created = if disk.exists(path) { Ok(()) } else { disk.write(path, &[]) };
        // If the name of a file is lost, the file is lost, even if its content was synchronised;
        // and the process that created it may have failed to synchronise its name.
        created
            .and_then(|()| disk.sync_folder(parent(path)))
            .map_err(RunError::io("create", path))?;
        let length = disk.length(path).map_err(RunError::io("read", path))?;
        if length < bytes {
            let reason = format!("it has {length} bytes, expected at least {bytes}");
            return Err(RunError::damaged(path, reason));
        }
        disk.cut(path, bytes).map_err(RunError::io("write", path))?;
        Ok(Self { disk, path: path.to_owned(), bytes, events: None })
    }

    /// This writer with TensorBoard's events written as well.
    ///
    /// # Errors
    /// One of the files cannot be read or written.
    pub(super) fn with_events(mut self) -> Result<Self, RunError> {
        let metrics = self.disk.read(&self.path).map_err(RunError::io("read", &self.path))?;
        let events = EventsWriter::open(Arc::clone(&self.disk), parent(&self.path), &metrics)?;
        self.events = Some(events);
        Ok(self)
    }

    /// Appends one record as a line. A float that is not finite becomes `null`.
    ///
    /// # Errors
    /// The record cannot be written; the file then ends with the last whole line.
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(record).map_err(|error| RunError::Unstorable {
            what: "a metric".to_owned(),
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        line.push(b'\n');
        self.disk.write_at(&self.path, self.bytes, &line).map_err(|source| {
            // Only the first failure is worth reporting.
            let _ = self.disk.cut(&self.path, self.bytes);
            RunError::Io { action: "write", path: self.path.clone(), source }
        })?;
        self.bytes += line.len() as u64;
        self.events.as_mut().map_or(Ok(()), |events| events.append(&line))
    }

    /// Synchronises everything to disk; returns the length in bytes, for a checkpoint.
    ///
    /// # Errors
    /// The file cannot be synchronised.
    pub fn sync(&mut self) -> Result<u64, RunError> {
        self.disk.sync_file(&self.path).map_err(RunError::io("write", &self.path))?;
        Ok(self.bytes)
    }
}

/// The last `count` whole lines of a metrics file, oldest first; none if it does not exist.
///
/// # Errors
/// The file cannot be read.
pub fn last_metrics(path: &Path, count: usize) -> Result<Vec<String>, RunError> {
    let bytes = match SystemDisk.read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(RunError::io("read", path))?,
    };
    let text = String::from_utf8(bytes).map_err(|error| RunError::damaged(path, error))?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut lines: Vec<_> = whole.lines().rev().take(count).map(str::to_owned).collect();
    lines.reverse();
    Ok(lines)
}
