//! Waiting for many objects at once: epoll(7) on Linux, kqueue(2) on macOS.

use crate::handle::AsObject;
use crate::sys;
use std::io;
use std::time::Duration;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Until a read does not block.
    pub readable: bool,
    /// Until a write does not block.
    pub writable: bool,
}

impl Interest {
    /// Until a read does not block.
    pub const READ: Self = Self { readable: true, writable: false };
    /// Until a write does not block.
    pub const WRITE: Self = Self { readable: false, writable: true };
    /// Either.
    pub const BOTH: Self = Self { readable: true, writable: true };
    /// Only the hang-up, which Linux reports in any case; elsewhere nothing is reported.
    pub const NONE: Self = Self { readable: false, writable: false };
}

/// One object that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number given when the object was added.
    pub token: u64,
    /// A read does not block: there is data, or the peer has closed its direction and a read gives nothing.
    pub readable: bool,
    /// A write does not block.
    pub writable: bool,
    /// The connection is gone in both directions, the pipe's other end is closed, or the object failed. Data may still
    /// be there to be read: read until a read gives nothing. It is reported until the object is removed.
    pub hangup: bool,
}

/// A set of objects to wait for, level-triggered: what is not consumed is reported again.
///
/// The set does not own what it waits for: an object is to be removed before its last owner drops it. Any thread may
/// change the set while another waits.
#[derive(Debug)]
pub struct WaitSet(sys::wait::WaitSet);

impl WaitSet {
    /// An empty set.
    ///
    /// # Errors
    /// Too many open files.
    pub fn new() -> io::Result<Self> {
        sys::wait::WaitSet::new().map(Self)
    }

    /// Adds an object; `token` comes back when it is ready.
    ///
    /// # Errors
    /// `AlreadyExists`, and `PermissionDenied` for what is always ready, such as a regular file.
    pub fn add(&self, object: &impl AsObject, token: u64, interest: Interest) -> io::Result<()> {
        self.0.add(object, token, interest)
    }

    /// Changes the token and interest of an object in the set.
    ///
    /// # Errors
    /// `NotFound` if it is not in the set.
    pub fn modify(&self, object: &impl AsObject, token: u64, interest: Interest) -> io::Result<()> {
        self.0.modify(object, token, interest)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// `NotFound` if it is not in the set.
    pub fn remove(&self, object: &impl AsObject) -> io::Result<()> {
        self.0.remove(object)
    }

    /// Waits until something is ready, or for the given time; nothing is ready if the time has passed.
    ///
    /// # Errors
    /// None that is expected.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        self.0.wait(timeout)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
