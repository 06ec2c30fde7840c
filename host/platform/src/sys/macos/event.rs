//! Events are pipes: each signal is a byte. There is no object on this system that is both ends in one.

use crate::handle::Handle;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub(crate) struct Event {
    reader: OwnedFd,
    /// Absent for a foreign event, which is signalled or cleared, but not both.
    writer: Option<OwnedFd>,
}

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        set_nonblocking(&reader)?;
        set_nonblocking(&writer)?;
        Ok(Self { reader, writer: Some(writer) })
    }

    pub(crate) fn signal(&self) -> io::Result<()> {
        let writer = self.writer.as_ref().unwrap_or(&self.reader);
        loop {
            match write(writer, &[0]) {
                // The pipe is full: whoever waits is woken already.
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn clear(&self) -> io::Result<Option<u64>> {
        let mut total = 0_u64;
        let mut bytes = [0; 512];
        loop {
            match read(&self.reader, &mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => total = total.saturating_add(count as u64),
                Err(Errno::EAGAIN) => return Ok(Some(total).filter(|total| *total > 0)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let writer = self.writer.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Self { reader: self.reader.try_clone()?, writer })
    }

    /// Setting the flag cannot fail on a pipe; if it did, the first `clear` would wait for a signal.
    pub(crate) fn from_foreign(handle: Handle) -> Self {
        let reader = OwnedFd::from(handle);
        drop(set_nonblocking(&reader));
        Self { reader, writer: None }
    }
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?) | OFlag::O_NONBLOCK;
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
