//! How many clients are connected, and that none is cut off when the shim ends.

use super::Shim;
use hull_platform::socket::LocalStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The connections of a shim.
#[derive(Debug, Default)]
pub struct Connections {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// There has been one.
    any: bool,
    /// Connections that have been served, but that the process's end is to close: a client that reads to the end then
    /// knows that nothing is left of the VM.
    parting: Vec<LocalStream>,
}

/// One connection among them.
#[derive(Debug)]
pub struct Connection(Arc<Connections>);

impl Connections {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if there are fewer than `limit`.
    pub fn enter(self: &Arc<Self>, limit: usize) -> Option<Connection> {
        let mut state = self.lock();
        let room = state.open < limit;
        state.open += usize::from(room);
        state.any = true;
        self.changed.notify_all();
        room.then(|| Connection(Arc::clone(self)))
    }

    /// Waits for the first connection that ever is, but not for longer than `limit`.
    pub fn wait_for_first(&self, limit: Duration) {
        drop(
            self.changed
                .wait_timeout_while(self.lock(), limit, |state| !state.any)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until every client has got what it waited for, or has left.
    pub fn wait_until_served(&self) {
        drop(self.changed.wait_while(self.lock(), |state| state.open > 0).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Connection {
    /// This client has been served.
    pub fn leave(self, stream: LocalStream, shim: &Shim) {
        if shim.life.is_ending() {
            self.0.lock().parting.push(stream);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_and_waited_for() {
        let all = Arc::new(Connections::default());
        let first = all.enter(2).unwrap();
        let second = all.enter(2).unwrap();
        assert!(all.enter(2).is_none());
        drop(first);
        let third = all.enter(2).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| all.wait_until_served());
            drop((second, third));
            waiting.join().unwrap();
        });
        // There have been some.
        all.wait_for_first(Duration::from_secs(1000));
        Connections::default().wait_for_first(Duration::ZERO);
    }
}
