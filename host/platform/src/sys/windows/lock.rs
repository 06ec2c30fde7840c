//! Locks by `LockFileEx`, through the standard library.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

pub(crate) fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    held(file.try_lock())
}

pub(crate) fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}

/// There is no question without taking: a shared lock, for an instant, so that those who ask do not see each other.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    held(file.try_lock_shared()).map(|taken| !taken)
}

/// Whether the path still names the file: what is open cannot lose its name to another file here.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    Ok(path.exists())
}

fn held(outcome: Result<(), TryLockError>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
