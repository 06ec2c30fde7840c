//! What is on its way to one attached client.
//!
//! The threads that read a process's output put chunks in, one thread per client takes them out and writes them to the
//! client. While the process runs, a full box holds back whoever puts in, and through it the process: a slow reader
//! slows the writer, as with a pipe, and nothing is lost or piles up. Once the process has ended, what it left in the
//! buffers on the way (under a MiB) is taken without holding back, so that a VM does not have to outlive its container
//! for the sake of a client that has paused.

use hull_protocol::session::{Ended, Kind};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may be on their way while the process runs.
const BACKLOG: usize = 256 << 10;

/// Bytes that may wait once the process has ended. More than the guest's buffers hold: whoever goes beyond it makes
/// output up, and loses the client.
const LAST_BACKLOG: usize = 8 << 20;

/// What a client gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A piece of output.
    Output(Kind, Vec<u8>),
    /// The last thing it gets.
    Ended(Ended),
}

/// The client is gone, or has been given up.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

/// A bounded queue to one client.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    output: VecDeque<(Kind, Vec<u8>)>,
    bytes: usize,
    last: bool,
    ended: Option<Ended>,
    closed: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a piece of output in, after waiting for room.
    ///
    /// # Errors
    /// [`Closed`]: there is nobody to deliver to.
    pub fn push(&self, kind: Kind, bytes: &[u8]) -> Result<(), Closed> {
        let mut state = self.lock();
        while state.bytes >= BACKLOG && !state.last && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.bytes >= LAST_BACKLOG {
            state.close();
            self.changed.notify_all();
        }
        if state.closed {
            return Err(Closed);
        }
        state.bytes += bytes.len();
        state.output.push_back((kind, bytes.to_vec()));
        self.changed.notify_all();
        Ok(())
    }

    /// From now on nobody who puts in is held back: the process has ended.
    pub fn expect_the_last(&self) {
        self.lock().last = true;
        self.changed.notify_all();
    }

    /// Puts the end in, after all output.
    pub fn end(&self, ended: Ended) {
        self.lock().ended = Some(ended);
        self.changed.notify_all();
    }

    /// Gives the client up; what was on its way goes.
    pub fn close(&self) {
        self.lock().close();
        self.changed.notify_all();
    }

    /// Waits for the next thing to write to the client; `None` if the box was closed.
    pub fn next(&self) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some((kind, bytes)) = state.output.pop_front() {
                state.bytes -= bytes.len();
                self.changed.notify_all();
                return Some(Item::Output(kind, bytes));
            }
            if let Some(ended) = state.ended.take() {
                return Some(Item::Ended(ended));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn close(&mut self) {
        *self = Self { closed: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const ENDED: Ended = Ended { code: 3, reason: None };
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];

    #[test]
    fn output_comes_before_the_end_and_in_order() {
        let outbox = Outbox::default();
        outbox.push(Kind::Stdout, b"a").unwrap();
        outbox.end(ENDED);
        outbox.push(Kind::Stderr, b"b").unwrap();
        assert_eq!(outbox.next(), Some(Item::Output(Kind::Stdout, b"a".to_vec())));
        assert_eq!(outbox.next(), Some(Item::Output(Kind::Stderr, b"b".to_vec())));
        assert_eq!(outbox.next(), Some(Item::Ended(ENDED)));
    }

    #[test]
    fn a_full_box_holds_back_until_something_is_taken() {
        let outbox = Outbox::default();
        let (pushed, count) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for at in 0..6 {
                    outbox.push(Kind::Stdout, &PIECE).unwrap();
                    pushed.send(at).unwrap();
                }
            });
            for _ in 0..4 {
                count.recv().unwrap();
            }
            assert!(count.recv_timeout(Duration::from_millis(50)).is_err(), "the fifth waits");
            outbox.next();
            assert_eq!(count.recv(), Ok(4));
            outbox.expect_the_last();
            assert_eq!(count.recv(), Ok(5));
        });
    }

    #[test]
    fn closing_frees_whoever_waits() {
        let outbox = Outbox::default();
        std::thread::scope(|scope| {
            let pusher = scope.spawn(|| (0..6).find_map(|_| outbox.push(Kind::Stdout, &PIECE).err()));
            outbox.next();
            outbox.close();
            assert_eq!(pusher.join().unwrap(), Some(Closed));
        });
        assert_eq!(outbox.next(), None);
        assert_eq!(outbox.push(Kind::Stdout, b"x"), Err(Closed));
    }

    #[test]
    fn endless_output_after_the_end_loses_the_client() {
        let outbox = Outbox::default();
        outbox.expect_the_last();
        let taken = (0..1000).take_while(|_| outbox.push(Kind::Stdout, &PIECE).is_ok()).count();
        assert_eq!(taken, LAST_BACKLOG / PIECE.len());
        assert_eq!(outbox.next(), None);
    }
}
