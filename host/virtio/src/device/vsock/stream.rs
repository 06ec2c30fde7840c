//! The host's end of a connection: a local stream that never blocks.

use crate::guest_io;
use crate::queue::Buffers;
use hull_platform::socket::LocalStream;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;

/// What a connection needs of a local stream. Nothing here may block.
pub(super) trait Stream {
    /// Reads once; 0 at the end.
    fn receive(&self, into: &Buffers<'_>) -> io::Result<usize>;
    /// Writes once.
    fn send(&self, from: &Buffers<'_>) -> io::Result<usize>;
    /// Writes once.
    fn send_bytes(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends one or both directions.
    fn shutdown(&self, how: Shutdown);
}

impl Stream for LocalStream {
    fn receive(&self, into: &Buffers<'_>) -> io::Result<usize> {
        guest_io::receive(self.as_fd(), into)
    }

    fn send(&self, from: &Buffers<'_>) -> io::Result<usize> {
        guest_io::send(self.as_fd(), from)
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn shutdown(&self, how: Shutdown) {
        // It fails only if the peer has gone, which the next read or write tells as well.
        let _ = Self::shutdown(self, how);
    }
}
