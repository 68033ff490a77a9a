//! The operations of a file system that a run needs, and the real file system.
//!
//! Nothing else in this module touches files, so tests can substitute a file system that fails.

use std::any::Any;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// A lock that lasts until it is dropped.
pub(super) type Lock = Box<dyn Any + Send>;

/// A file system. The content of a file is durable once the file is synchronised, and a name once
/// its folder is.
pub(super) trait Disk: Debug + Send + Sync {
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Fills `buffer` with the content after the first `offset` bytes of a file; returns how many
    /// bytes there were.
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The names in a folder, in arbitrary order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Whether something of that name exists.
    fn exists(&self, path: &Path) -> bool;

    /// Length of a file in bytes.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// When a file was last changed.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// Creates one folder, whose parent exists.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes `bytes` the content of a file, which is created if it is absent.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Writes `bytes` after the first `offset` bytes of a file, which is created if it is absent.
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Truncates a file to `length` bytes.
    fn cut(&self, path: &Path, length: u64) -> io::Result<()>;

    /// Makes a file's content durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Renames something within its folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and its content.
    fn remove_tree(&self, path: &Path) -> io::Result<()>;

    /// Locks a file against every other process, and against every other lock in this one.
    fn lock(&self, path: &Path) -> Result<Lock, TryLockError>;

    /// Whether a lock on a file is held.
    fn is_locked(&self, path: &Path) -> bool;
}

/// The operating system's file system.
#[derive(Debug)]
pub(super) struct SystemDisk;

/// The operating system's file system, shared.
pub(super) fn system() -> Arc<dyn Disk> {
    Arc::new(SystemDisk)
}

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(io::copy(&mut file.take(buffer.len() as u64), &mut &mut *buffer)? as usize)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::metadata(path)?.modified()
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        File::create(path)?.write_all(bytes)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(bytes)
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(length)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn lock(&self, path: &Path) -> Result<Lock, TryLockError> {
        let file = File::open(path).map_err(TryLockError::Error)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
            // A file system without locks is no reason to refuse to run.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Box::new(file)),
        }
    }

    fn is_locked(&self, path: &Path) -> bool {
        let shared = File::open(path).map(|file| file.try_lock_shared());
        matches!(shared, Ok(Err(TryLockError::WouldBlock)))
    }
}
