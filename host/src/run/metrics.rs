//! `metrics.jsonl`: one JSON object a line, the same for an interrupted run as for one that was not.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::RunError;

/// Appends records to the metrics of a run.
#[derive(Debug)]
pub struct MetricsWriter {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl MetricsWriter {
    /// The file `path`, created if absent, cut behind its first `bytes`.
    ///
    /// # Errors
    /// It cannot be written, or is shorter than that.
    pub fn open(path: &Path, bytes: u64) -> Result<Self, RunError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(RunError::io("open", path))?;
        let length = file.metadata().map_err(RunError::io("read", path))?.len();
        if length < bytes {
            let reason = format!("it has {length} bytes, expected at least {bytes}");
            return Err(RunError::damaged(path, reason));
        }
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(RunError::io("write", path))?;
        Ok(Self { file, path: path.to_owned(), bytes })
    }

    /// Appends one record as a line. A float that is not finite becomes `null`.
    ///
    /// # Errors
    /// It cannot be written; the file ends with the last whole line.
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(record).map_err(|error| RunError::Unstorable {
            what: "a metric".to_owned(),
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| {
            // Only the first failure is worth reporting.
            let _ = self.file.set_len(self.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            RunError::Io { action: "write", path: self.path.clone(), source }
        })?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Puts everything on disk; the length in bytes, for a checkpoint.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn sync(&mut self) -> Result<u64, RunError> {
        self.file.sync_data().map_err(RunError::io("write", &self.path))?;
        Ok(self.bytes)
    }
}

/// The last `count` whole lines of a metrics file, oldest first; none if it does not exist.
///
/// # Errors
/// It cannot be read.
pub fn last_metrics(path: &Path, count: usize) -> Result<Vec<String>, RunError> {
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::io("read", path)(error)),
        Ok(mut file) => file.read_to_string(&mut text).map_err(RunError::io("read", path))?,
    };
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut lines: Vec<_> = whole.lines().rev().take(count).map(str::to_owned).collect();
    lines.reverse();
    Ok(lines)
}
