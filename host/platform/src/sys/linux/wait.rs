//! Wait sets are epoll instances: epoll(7).

use crate::wait::{Interest, Ready};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Objects reported by one wait; what does not fit comes with the next.
const BATCH: usize = 32;

#[derive(Debug)]
pub(crate) struct WaitSet(Epoll);

impl WaitSet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    pub(crate) fn add(&self, object: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.0.add(object, EpollEvent::new(flags(interest), token))?)
    }

    pub(crate) fn modify(&self, object: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.0.modify(object, &mut EpollEvent::new(flags(interest), token))?)
    }

    pub(crate) fn remove(&self, object: &impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(object)?)
    }

    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut events = [EpollEvent::empty(); BATCH];
        loop {
            match self.0.wait(&mut events, remaining(deadline)) {
                Ok(count) => return Ok(events[..count].iter().map(ready).collect()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// In milliseconds, rounded up: a wait must not end before its time.
fn remaining(deadline: Option<Instant>) -> EpollTimeout {
    let Some(deadline) = deadline else { return EpollTimeout::NONE };
    let millis = deadline.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).ok().and_then(|millis| EpollTimeout::try_from(millis).ok()).unwrap_or(EpollTimeout::MAX)
}

fn flags(interest: Interest) -> EpollFlags {
    let mut flags = EpollFlags::empty();
    flags.set(EpollFlags::EPOLLIN, interest.readable);
    flags.set(EpollFlags::EPOLLOUT, interest.writable);
    flags
}

fn ready(event: &EpollEvent) -> Ready {
    let flags = event.events();
    Ready {
        token: event.data(),
        readable: flags.contains(EpollFlags::EPOLLIN),
        writable: flags.contains(EpollFlags::EPOLLOUT),
        hangup: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
    }
}
