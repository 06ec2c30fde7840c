//! What the loop waits for (epoll(7)). Everything is watched edge-triggered: who is told that something is ready goes on
//! until it is no longer.

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::AsFd;
use std::time::Duration;

/// Events taken at once.
const EVENTS: usize = 32;

/// What a descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Control,
    Signals,
    /// The report of the process with this key.
    Report(u32),
    /// The relay with this key.
    Relay(u32),
}

impl Token {
    fn to_number(self) -> u64 {
        let (kind, key) = match self {
            Self::Control => (0, 0),
            Self::Signals => (1, 0),
            Self::Report(key) => (2, key),
            Self::Relay(key) => (3, key),
        };
        kind << 32 | u64::from(key)
    }

    fn from_number(number: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the key is the lower half")]
        let key = number as u32;
        match number >> 32 {
            0 => Self::Control,
            1 => Self::Signals,
            2 => Self::Report(key),
            _ => Self::Relay(key),
        }
    }
}

/// Something is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    pub token: Token,
    /// There is an error or a hang-up.
    pub broken: bool,
}

#[derive(Debug)]
pub(super) struct Watch(Epoll);

impl Watch {
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        epoll.map(Self).context(|| "cannot make an epoll instance".to_owned())
    }

    pub(super) fn add(&self, descriptor: impl AsFd, token: Token) -> Result<()> {
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let added = self.0.add(descriptor, EpollEvent::new(events, token.to_number()));
        added.context(|| format!("cannot watch {token:?}"))
    }

    /// What has become ready; nothing if `patience` is over.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Result<Vec<Ready>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let timeout = match patience {
            None => EpollTimeout::NONE,
            Some(patience) => u16::try_from(patience.as_millis()).unwrap_or(u16::MAX).into(),
        };
        let count = match self.0.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            waited => waited.context(|| "cannot wait for events".to_owned())?,
        };
        let broken = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP;
        let ready = |event: &EpollEvent| Ready {
            token: Token::from_number(event.data()),
            broken: event.events().intersects(broken),
        };
        Ok(events.iter().take(count).map(ready).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for token in [Token::Control, Token::Signals, Token::Report(u32::MAX), Token::Relay(0), Token::Relay(u32::MAX)]
        {
            assert_eq!(Token::from_number(token.to_number()), token);
        }
    }
}
