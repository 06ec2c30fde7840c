//! Local sockets are not there yet: every way of making one fails.

use super::unsupported;
use crate::handle::{Borrowed, Handle};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::Path;
use std::time::Duration;

const WHAT: &str = "local sockets are";

/// Something that another process handed over as a listener.
#[derive(Debug)]
pub(crate) struct Listener(OwnedHandle);

/// Something that another process handed over as a connection.
#[derive(Debug)]
pub(crate) struct Stream(OwnedHandle);

pub(crate) fn bind(_: &Path) -> io::Result<Listener> {
    unsupported(WHAT)
}

pub(crate) fn accept(_: &Listener) -> io::Result<Stream> {
    unsupported(WHAT)
}

pub(crate) fn connect(_: &Path) -> io::Result<Stream> {
    unsupported(WHAT)
}

pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    unsupported(WHAT)
}

pub(crate) fn send(_: &Stream, _: &[u8], _: &[Borrowed<'_>]) -> io::Result<usize> {
    unsupported(WHAT)
}

pub(crate) fn recv(_: &Stream, _: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
    unsupported(WHAT)
}

impl Listener {
    pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        unsupported(WHAT)
    }
}

impl Stream {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    pub(crate) fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        unsupported(WHAT)
    }

    pub(crate) fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        unsupported(WHAT)
    }

    pub(crate) fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        unsupported(WHAT)
    }

    pub(crate) fn set_nonblocking(&self, _: bool) -> io::Result<()> {
        unsupported(WHAT)
    }
}

impl Read for &Stream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        unsupported(WHAT)
    }
}

impl Write for &Stream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        unsupported(WHAT)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsHandle for Stream {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl AsHandle for Listener {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

impl From<OwnedHandle> for Stream {
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl From<OwnedHandle> for Listener {
    fn from(handle: OwnedHandle) -> Self {
        Self(handle)
    }
}

impl From<Stream> for OwnedHandle {
    fn from(stream: Stream) -> Self {
        stream.0
    }
}

impl From<Listener> for OwnedHandle {
    fn from(listener: Listener) -> Self {
        listener.0
    }
}
