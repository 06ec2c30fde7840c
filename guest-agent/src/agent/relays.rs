//! The relays of all processes.

use super::Agent;
use super::watch::Token;
use crate::error::{Context, Result};
use crate::relay::{Progress, Relay};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Relays {
    running: BTreeMap<u32, Relay>,
    last: u32,
    /// Relays that have more to do though nothing new has happened.
    unfinished: Vec<u32>,
}

impl Relays {
    pub(super) fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    pub(super) fn take_unfinished(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unfinished)
    }

    pub(super) fn get(&self, key: u32) -> Option<&Relay> {
        self.running.get(&key)
    }

    pub(super) fn remove(&mut self, key: u32) {
        self.running.remove(&key);
    }

    fn insert(&mut self, relay: Relay) -> u32 {
        // A key is used again after four thousand million streams; those that live that long keep theirs.
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.running.contains_key(&self.last) {
                break;
            }
        }
        self.running.insert(self.last, relay);
        self.last
    }
}

impl Agent {
    /// Begins to run a relay, and returns its key.
    pub(super) fn add_relay(&mut self, relay: Relay) -> Result<u32> {
        let key = self.relays.insert(relay);
        let watched = match self.relays.get(key) {
            Some(relay) => relay.descriptors().into_iter().try_for_each(|one| self.watch.add(one, Token::Relay(key))),
            None => Ok(()),
        };
        if watched.is_err() {
            self.relays.remove(key);
        }
        watched.map(|()| key)
    }

    pub(super) fn advance_relay(&mut self, key: u32, broken: bool) -> Result<()> {
        let Some(relay) = self.relays.running.get_mut(&key) else { return Ok(()) };
        match relay.advance(broken) {
            Progress::Blocked => {}
            Progress::Unfinished => self.relays.unfinished.push(key),
            Progress::Ended => self.relays.remove(key),
            Progress::NotConnected(error) => {
                self.relays.remove(key);
                let refused: nix::Result<()> = Err(error);
                if let Err(error) = refused.context(|| "cannot connect a stream to the host".to_owned()) {
                    self.warn(error.message)?;
                }
            }
        }
        Ok(())
    }
}
