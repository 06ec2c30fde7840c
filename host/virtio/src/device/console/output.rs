//! Where a console's text goes: a file that is never waited for.

use crate::guest_io;
use crate::queue::Buffers;
use hull_platform::wait::{Interest, WaitSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// What a pipe takes without blocking if it takes anything: a pipe is ready to be written while it has a free page
/// (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

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
/// It is not made non-blocking, because that would be so for everybody who shares it; it is asked before each write.
#[derive(Debug)]
pub(super) struct FileOutput {
    file: File,
    /// The file alone; `None` if it is of a kind that is always ready.
    readiness: Option<WaitSet>,
}

impl FileOutput {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let readiness = WaitSet::new()?;
        match readiness.add(&file, 0, Interest::WRITE) {
            Ok(()) => Ok(Self { file, readiness: Some(readiness) }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Self { file, readiness: None }),
            Err(error) => Err(error),
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Output for Arc<FileOutput> {
    fn write(&self, text: &Buffers<'_>) -> io::Result<usize> {
        if let Some(readiness) = &self.readiness
            && readiness.wait(Some(Duration::ZERO))?.is_empty()
        {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        guest_io::send(self.file.as_fd(), &text.clone().split(PIECE))
    }
}
