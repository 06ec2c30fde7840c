//! Locks by flock(2), through the standard library.

use std::fs::{File, TryLockError};
use std::io;

pub(crate) use crate::sys::lock_file::{is_at, open, open_existing};

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

fn held(outcome: Result<(), TryLockError>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
