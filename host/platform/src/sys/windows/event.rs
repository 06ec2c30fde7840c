//! Events are not there yet: making one fails.

use super::unsupported;
use crate::handle::Handle;
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

const WHAT: &str = "events are";

/// Something that another process handed over as an event.
#[derive(Debug)]
pub(crate) struct Event(OwnedHandle);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        unsupported(WHAT)
    }

    pub(crate) fn signal(&self) -> io::Result<()> {
        unsupported(WHAT)
    }

    pub(crate) fn clear(&self) -> io::Result<Option<u64>> {
        unsupported(WHAT)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(crate) fn from_foreign(handle: Handle) -> Self {
        Self(handle.0)
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}
