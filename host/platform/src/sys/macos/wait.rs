//! Wait sets are kernel queues: kqueue(2), with one filter for each direction.

use crate::wait::{Interest, Ready};
use nix::errno::Errno;
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::time::TimeSpec;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Filters reported by one wait; what does not fit comes with the next.
const BATCH: usize = 64;

#[derive(Debug)]
pub(crate) struct WaitSet(Kqueue);

impl WaitSet {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Kqueue::new()?))
    }

    pub(crate) fn add(&self, object: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.modify(object, token, interest)
    }

    pub(crate) fn modify(&self, object: &impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.set(object, EventFilter::EVFILT_READ, token, interest.readable)?;
        self.set(object, EventFilter::EVFILT_WRITE, token, interest.writable)
    }

    pub(crate) fn remove(&self, object: &impl AsFd) -> io::Result<()> {
        self.modify(object, 0, Interest::NONE)
    }

    fn set(&self, object: &impl AsFd, filter: EventFilter, token: u64, wanted: bool) -> io::Result<()> {
        let object = usize::try_from(object.as_fd().as_raw_fd()).map_err(io::Error::other)?;
        let flags = if wanted { EvFlags::EV_ADD } else { EvFlags::EV_DELETE };
        // All systems of this kind have 64-bit pointers.
        let data = isize::try_from(token.cast_signed()).map_err(io::Error::other)?;
        let change = KEvent::new(object, filter, flags, FilterFlag::empty(), 0, data);
        match self.0.kevent(&[change], &mut [], None) {
            // A direction that was not waited for.
            Err(Errno::ENOENT) if !wanted => Ok(()),
            outcome => Ok(outcome.map(drop)?),
        }
    }

    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Ready>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let blank = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        let mut events = [blank; BATCH];
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.0.kevent(&[], &mut events, rest.map(|rest| *TimeSpec::from(rest).as_ref())) {
                Ok(count) => return Ok(merge(&events[..count])),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One entry for each token, from up to two filters. The end of a peer's direction shows as readable; only when writing
/// has no sense either is it a hang-up.
fn merge(events: &[KEvent]) -> Vec<Ready> {
    let mut all: Vec<Ready> = Vec::with_capacity(events.len());
    for event in events {
        let token = (event.udata() as i64).cast_unsigned();
        let index = all.iter().position(|ready| ready.token == token).unwrap_or_else(|| {
            all.push(Ready { token, readable: false, writable: false, hangup: false });
            all.len() - 1
        });
        let ready = &mut all[index];
        match event.filter() {
            Ok(EventFilter::EVFILT_WRITE) => {
                ready.writable = true;
                ready.hangup |= event.flags().contains(EvFlags::EV_EOF);
            }
            _ => ready.readable = true,
        }
    }
    all
}
