//! Advisory locks on files: held until dropped or until the process dies, whatever kills it.
//!
//! Governed by fcntl(2), "Open file description locks", on Linux and flock(2) elsewhere. Both belong to the open file
//! and not to the process: two threads exclude each other, and a lock handed to another process ([`FileLock`] converts
//! into a [`Handle`]) stays taken without a gap: until the other process drops its [`FileLock`], or the last holder of
//! the open file is dead.

use crate::handle::Handle;
use crate::sys;
use std::fs::File;
use std::io;
use std::path::Path;

/// A lock that is held.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct FileLock {
    /// Absent only once it has been handed over.
    file: Option<File>,
}

impl FileLock {
    /// Takes the lock if nobody holds it; creates the file if it is absent (its directory must exist).
    ///
    /// # Errors
    /// Those of opening the file; `NotFound` if its directory is gone.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = sys::lock::open(path)?;
            if !sys::lock::try_lock(&file)? {
                return Ok(None);
            }
            if sys::lock::is_at(&file, path)? {
                return Ok(Some(Self { file: Some(file) }));
            }
        }
    }

    /// Waits for the lock; creates the file if it is absent (its directory must exist).
    ///
    /// # Errors
    /// Those of opening the file; `NotFound` if its directory is gone, also if that happened during the wait.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = sys::lock::open(path)?;
            sys::lock::lock(&file)?;
            // The file may have been removed, with all that it guards, while we waited.
            if sys::lock::is_at(&file, path)? {
                return Ok(Self { file: Some(file) });
            }
        }
    }

    /// Whether somebody holds the lock, this process included; an absent file is not locked. On Linux nobody is
    /// disturbed by the question; elsewhere a [`FileLock::try_acquire`] at the same instant may find the lock taken.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        match sys::lock::open_existing(path)? {
            Some(file) => sys::lock::is_locked(&file),
            None => Ok(false),
        }
    }

    /// The open file that the lock belongs to.
    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("only a conversion, which consumes the lock, takes the file")
    }
}

impl From<FileLock> for Handle {
    /// The lock, still held, for another process.
    fn from(mut lock: FileLock) -> Self {
        lock.file.take().expect("only this conversion, which consumes the lock, takes the file").into()
    }
}

impl Drop for FileLock {
    /// Unlocks, for everybody who has the open file: closing alone would leave the lock taken for as long as a child that
    /// another thread has just forked, and that has not executed its program yet, holds a copy.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // Nothing can be done about a failure; closing then releases the lock.
            drop(sys::lock::unlock(file));
        }
    }
}

impl From<Handle> for FileLock {
    /// Takes over a lock that another process took and handed over; nothing checks that it is one.
    fn from(handle: Handle) -> Self {
        Self { file: Some(handle.into()) }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
