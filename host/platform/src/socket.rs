//! Local stream sockets that can carry handles: unix(7).
//!
//! A socket's path may have no more than 107 bytes on Linux and 103 on macOS; see [`crate::dirs::runtime_dir`].

use crate::handle::{Borrowed, Handle};
use crate::sys;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::time::Duration;

/// The most handles in one message.
pub const MAX_HANDLES: usize = 16;

/// A socket that accepts connections.
#[derive(Debug)]
pub struct LocalListener(pub(crate) sys::socket::Listener);

impl LocalListener {
    /// Listens at a path that does not exist yet. Only the owner may connect, from the first instant on. The path is
    /// not removed when the listener is dropped.
    ///
    /// # Errors
    /// `AddrInUse` if the path exists, `InvalidInput` if it is too long.
    pub fn bind(path: &Path) -> io::Result<Self> {
        sys::socket::bind(path).map(Self)
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Too many open files; `WouldBlock` for a non-blocking listener without a connection.
    pub fn accept(&self) -> io::Result<LocalStream> {
        sys::socket::accept(&self.0).map(LocalStream)
    }

    /// Whether [`LocalListener::accept`] returns at once; streams that it accepts block in any case.
    ///
    /// # Errors
    /// None that is expected.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }
}

/// A connection. It and references to it implement [`Read`] and [`Write`].
#[derive(Debug)]
pub struct LocalStream(pub(crate) sys::socket::Stream);

impl LocalStream {
    /// Connects to a listener.
    ///
    /// # Errors
    /// `NotFound` if the path does not exist, `ConnectionRefused` if nobody listens, `InvalidInput` if it is too long.
    pub fn connect(path: &Path) -> io::Result<Self> {
        sys::socket::connect(path).map(Self)
    }

    /// Two ends of one connection.
    ///
    /// # Errors
    /// Too many open files.
    pub fn pair() -> io::Result<(Self, Self)> {
        sys::socket::pair().map(|(one, other)| (Self(one), Self(other)))
    }

    /// A second owner of the same end.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Ends one or both directions, for every owner of this end.
    ///
    /// # Errors
    /// `NotConnected` if the connection has gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    /// How long a read waits before it fails with `WouldBlock`; for ever by default.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(timeout)
    }

    /// How long a write waits before it fails with `WouldBlock`; for ever by default.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_write_timeout(timeout)
    }

    /// Whether reads and writes fail with `WouldBlock` in place of waiting, for every owner of this end.
    ///
    /// # Errors
    /// None that is expected.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Sends bytes, of which the first carries the handles, and says how many bytes went. The caller keeps its handles.
    /// What was not sent goes by an ordinary write: the handles have gone with the first byte.
    ///
    /// # Errors
    /// `InvalidInput` without a byte or with more than [`MAX_HANDLES`] handles, and those of the connection.
    pub fn send_with_handles(&self, bytes: &[u8], handles: &[Borrowed<'_>]) -> io::Result<usize> {
        let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if bytes.is_empty() {
            return refuse("handles need a byte to travel with");
        }
        if handles.len() > MAX_HANDLES {
            return refuse("too many handles for one message");
        }
        sys::socket::send(&self.0, bytes, handles)
    }

    /// Receives bytes and the handles that came with them; no byte means that the peer has closed its direction. One
    /// call never gives bytes that follow a second set of handles.
    ///
    /// # Errors
    /// `InvalidData` if the peer sent more than [`MAX_HANDLES`] handles, all of which are then closed, and those of the
    /// connection.
    pub fn recv_with_handles(&self, bytes: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
        sys::socket::recv(&self.0, bytes)
    }
}

impl Read for &LocalStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(bytes)
    }
}

impl Write for &LocalStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for LocalStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(bytes)
    }
}

impl Write for LocalStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Handle> for LocalStream {
    /// Takes over a connection that another process made; nothing checks that it is one.
    fn from(handle: Handle) -> Self {
        Self(handle.0.into())
    }
}

impl From<LocalStream> for Handle {
    fn from(stream: LocalStream) -> Self {
        Self(stream.0.into())
    }
}

impl From<Handle> for LocalListener {
    /// Takes over a listener that another process made; nothing checks that it is one.
    fn from(handle: Handle) -> Self {
        Self(handle.0.into())
    }
}

impl From<LocalListener> for Handle {
    fn from(listener: LocalListener) -> Self {
        Self(listener.0.into())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
