//! Events are eventfds: eventfd(2).

use crate::handle::Handle;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub(crate) struct Event(OwnedFd);

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(event.into()))
    }

    pub(crate) fn signal(&self) -> io::Result<()> {
        loop {
            match write(&self.0, &1_u64.to_ne_bytes()) {
                // The counter is at its end: whoever waits is woken already.
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn clear(&self) -> io::Result<Option<u64>> {
        let mut count = [0; 8];
        loop {
            match read(&self.0, &mut count) {
                Ok(8) => return Ok(Some(u64::from_ne_bytes(count))),
                // A foreign descriptor that is no eventfd, such as a pipe whose other end has gone.
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Setting the flag cannot fail on an eventfd; if it did, the first `clear` would wait for a signal.
    pub(crate) fn from_foreign(handle: Handle) -> Self {
        let fd = OwnedFd::from(handle);
        if let Ok(bits) = fcntl(&fd, FcntlArg::F_GETFL) {
            let flags = OFlag::from_bits_retain(bits) | OFlag::O_NONBLOCK;
            let _ = fcntl(&fd, FcntlArg::F_SETFL(flags));
        }
        Self(fd)
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<crate::event::Event> for Handle {
    /// The eventfd, for handing it to another process.
    fn from(event: crate::event::Event) -> Self {
        event.0.0.into()
    }
}
