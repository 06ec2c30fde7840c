//! Handles are file descriptors.

use crate::event::Event;
use crate::handle::Handle;
use crate::lock::FileLock;
use crate::socket::{LocalListener, LocalStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use std::os::fd::{AsFd as AsObject, BorrowedFd as Borrowed};

pub(crate) type Owned = OwnedFd;

pub(crate) fn lend(owned: &Owned) -> Borrowed<'_> {
    owned.as_fd()
}

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Handle> for OwnedFd {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for LocalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}
