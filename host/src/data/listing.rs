//! The entries of a folder, in an order that does not depend on the file system.

use std::fs;
use std::path::{Path, PathBuf};

use super::DataError;

pub(crate) fn require_folder(path: &Path) -> Result<(), DataError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(DataError::MissingFolder { path: path.to_path_buf() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::MissingFolder { path: path.to_path_buf() })
        }
        Err(error) => Err(DataError::unreadable(path, &error)),
    }
}

/// Visible entries of a folder; names that start with a dot are somebody else's bookkeeping.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |error: std::io::Error| DataError::unreadable(folder, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    sort_by_bytes(&mut paths);
    Ok(paths)
}

pub(crate) fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// The order of every listing: it must not depend on the file system or the locale.
pub(super) fn sort_by_bytes(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
}
