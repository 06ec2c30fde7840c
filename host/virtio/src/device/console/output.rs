//! Where a console's text goes: a file that is never waited for.

use crate::guest_io;
use crate::queue::Buffers;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What the handler needs of an output. It must not block.
pub(crate) trait Output {
    /// Writes once.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing now; all others are for good.
    fn write(&self, text: &Buffers<'_>) -> io::Result<usize>;
}

/// A pipe, or anything else that can be written.
///
/// To ask it whether it takes more before each write would not do: where two write to one pipe, one may fill it between
/// the other's question and write, which then waits for a reader that may never come.
#[derive(Debug)]
pub struct FileOutput(File);

impl FileOutput {
    /// Makes `file` non-blocking, and so every other descriptor of the same open file (open(2)), wherever it is. A pipe's
    /// ends are two open files: its reader may still wait.
    ///
    /// # Errors
    /// None that is expected.
    pub fn new(file: File) -> io::Result<Self> {
        guest_io::set_nonblocking(file.as_fd())?;
        Ok(Self(file))
    }

    /// Writes once.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing now; all others are for good.
    pub fn send(&self, text: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.0).write(text) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl Output for Arc<FileOutput> {
    fn write(&self, text: &Buffers<'_>) -> io::Result<usize> {
        guest_io::send(self.0.as_fd(), text)
    }
}
