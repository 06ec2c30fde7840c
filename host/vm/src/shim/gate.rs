//! Waiting for a container's end, by clients that may leave before it.
//!
//! A thread that waits for a client's request to be met also has to notice that the client is gone, or commands that
//! were interrupted would pile up as threads. So it waits for two descriptors at once: the client's connection and an
//! event that the gate signals.

use hull_platform::event::Event;
use hull_platform::socket::LocalStream;
use hull_platform::wait::{Interest, Ready, WaitSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Opens once, with the exit status of a container.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    code: Option<u8>,
    waiting: Vec<Arc<Event>>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The container has ended with this status.
    Ended(u8),
    /// The time is up.
    TimedOut,
    /// The client is gone.
    ClientGone,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens it.
    pub fn open(&self, code: u8) {
        let mut state = self.lock();
        state.code.get_or_insert(code);
        for event in state.waiting.drain(..) {
            if let Err(error) = event.signal() {
                log::error!("cannot wake a client's thread: {error}");
            }
        }
    }

    /// Waits until it opens, the time is up, or `client` has hung up, if one is given.
    ///
    /// # Errors
    /// If there is no descriptor left to wait with.
    pub fn wait(&self, client: Option<&LocalStream>, limit: Option<Duration>) -> io::Result<Waited> {
        let event = Arc::new(Event::new()?);
        {
            let mut state = self.lock();
            if let Some(code) = state.code {
                return Ok(Waited::Ended(code));
            }
            state.waiting.push(Arc::clone(&event));
        }
        let ready = wait_for_either(&event, client, limit);
        let mut state = self.lock();
        state.waiting.retain(|other| !Arc::ptr_eq(other, &event));
        Ok(match state.code {
            Some(code) => Waited::Ended(code),
            None if ready?.iter().any(|ready| ready.token == CLIENT) => Waited::ClientGone,
            None => Waited::TimedOut,
        })
    }
}

const EVENT: u64 = 0;
const CLIENT: u64 = 1;

fn wait_for_either(event: &Event, client: Option<&LocalStream>, limit: Option<Duration>) -> io::Result<Vec<Ready>> {
    let set = WaitSet::new()?;
    set.add(event, EVENT, Interest::READ)?;
    if let Some(client) = client {
        // A client says nothing while it waits, so whatever can be read is its end.
        set.add(client, CLIENT, Interest::READ)?;
    }
    set.wait(limit)
}
#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(30));

    #[test]
    fn whoever_waits_hears_the_status() {
        let gate = Gate::default();
        let (_client, here) = LocalStream::pair().unwrap();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| gate.wait(Some(&here), LONG).unwrap())).collect();
            gate.open(7);
            gate.open(8);
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Waited::Ended(7));
            }
        });
        assert_eq!(gate.wait(None, None).unwrap(), Waited::Ended(7));
    }

    #[test]
    fn a_client_that_leaves_ends_its_wait() {
        let gate = Gate::default();
        let (client, here) = LocalStream::pair().unwrap();
        assert_eq!(gate.wait(Some(&here), Some(Duration::from_millis(1))).unwrap(), Waited::TimedOut);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait(Some(&here), LONG).unwrap());
            drop(client);
            assert_eq!(waiting.join().unwrap(), Waited::ClientGone);
        });
    }
}
