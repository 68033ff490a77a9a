//! Atomic writing of files.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::RunError;
use super::disk::{Disk, SystemDisk};

/// Makes `bytes` the content of `path`: afterwards the file is either as before or complete.
///
/// # Errors
/// Path and reason; the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_atomic_on(&SystemDisk, path, bytes)
}

/// [`write_atomic`] on a given file system. What was written is read back before it gets its name.
pub(super) fn write_atomic_on(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let temporary = beside(path, ".tmp-");
    let result = write_synced(disk, &temporary, bytes)
        .and_then(|()| disk.rename(&temporary, path))
        .and_then(|()| disk.sync_folder(parent(path)));
    result.map_err(|source| {
        // Only the first failure is worth reporting.
        let _ = disk.remove_file(&temporary);
        RunError::Io { action: "write", path: path.to_owned(), source }
    })
}

/// `prefix` followed by the name, in the same folder.
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

/// Writes a file with `bytes`; when this returns, it is on disk and was read back.
pub(super) fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    disk.write(path, bytes)?;
    disk.sync_file(path)?;
    if disk.read(path)? == bytes {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidData, "what was written does not read back"))
}

/// Creates a folder and those above it; when this returns, their names are durable.
///
/// If the name of a folder is lost, everything in it is lost too, even if it was synchronised.
pub(super) fn create_folder(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let above = parent(path);
    if disk.exists(path) {
        // An earlier attempt may have created it and then failed to synchronise its name.
        return match disk.sync_folder(above) {
            // If the parent may not be read, no attempt of this user created the folder.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            result => result,
        };
    }
    create_folder(disk, above)?;
    match disk.create_folder(path) {
        // Another process created it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => result?,
    }
    disk.sync_folder(above)
}
