//! Handles are kernel object handles.

use crate::event::Event;
use crate::handle::Handle;
use crate::lock::FileLock;
use crate::socket::{LocalListener, LocalStream};
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

pub use std::os::windows::io::{AsHandle as AsObject, BorrowedHandle as Borrowed};

pub(crate) type Owned = OwnedHandle;

pub(crate) fn lend(owned: &Owned) -> Borrowed<'_> {
    owned.as_handle()
}

impl From<OwnedHandle> for Handle {
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl From<Handle> for OwnedHandle {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl AsHandle for Handle {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsHandle for LocalStream {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsHandle for LocalListener {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsHandle for FileLock {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.file().as_handle()
    }
}
