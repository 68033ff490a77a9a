//! Writing that is all or nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::RunError;

/// Makes `bytes` the content of `path`: afterwards the file is either as before or complete.
///
/// # Errors
/// The path and the reason; the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let temporary = beside(path, ".tmp-");
    let result = write_synced(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(parent(path)));
    result.map_err(|source| {
        // Only the first failure is worth reporting.
        let _ = fs::remove_file(&temporary);
        RunError::Io { action: "write", path: path.to_owned(), source }
    })
}

/// `prefix` + the name, in the same folder.
pub(super) fn beside(path: &Path, prefix: &str) -> PathBuf {
    let mut name = OsString::from(prefix);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// The folder that holds `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file with `bytes`, on disk when this returns.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts a folder's entries on disk: a rename is durable only then.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

/// 64-bit FNV-1a: every step is a bijection of the state, so one changed byte always changes it.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
