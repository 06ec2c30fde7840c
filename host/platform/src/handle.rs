//! Operating-system objects that can cross from one process to another: file descriptors, or handles on Windows.
//!
//! Portable code names no descriptor: it passes anything that is [`AsObject`] by reference, a [`Borrowed`] object, or an
//! owned [`Handle`]. On Unix these are the standard library's `AsFd`, `BorrowedFd` and `OwnedFd`.

use crate::sys;
use std::fs::File;
use std::io;

pub use sys::handle::{AsObject, Borrowed};

/// An owned object, closed when dropped and never inherited unless [`crate::process::Spawn`] is told to.
///
/// On Unix it converts from and into `OwnedFd` and implements `AsFd`.
#[derive(Debug)]
pub struct Handle(pub(crate) sys::handle::Owned);

impl Handle {
    /// A second owner of the same object.
    ///
    /// # Errors
    /// Those of `dup`: too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// The object, lent.
    pub fn borrowed(&self) -> Borrowed<'_> {
        sys::handle::lend(&self.0)
    }
}

impl From<File> for Handle {
    fn from(file: File) -> Self {
        Self(file.into())
    }
}

impl From<Handle> for File {
    fn from(handle: Handle) -> Self {
        handle.0.into()
    }
}
