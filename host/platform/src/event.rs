//! Events between threads and processes: an eventfd(2) on Linux, a pipe on macOS.

use crate::handle::Handle;
use crate::sys;
use std::io;

/// An event that threads signal and a [`crate::wait::WaitSet`] waits for.
///
/// It is level-triggered: it stays readable until it is cleared. It never blocks.
#[derive(Debug)]
pub struct Event(pub(crate) sys::event::Event);

impl Event {
    /// An event that is not signalled.
    ///
    /// # Errors
    /// Too many open files.
    pub fn new() -> io::Result<Self> {
        sys::event::Event::new().map(Self)
    }

    /// Signals it. Signals add up until somebody clears the event.
    ///
    /// # Errors
    /// Those of writing to a foreign descriptor; an event of our own does not fail.
    pub fn signal(&self) -> io::Result<()> {
        self.0.signal()
    }

    /// Clears it and says how often it was signalled; `None` if it was not.
    ///
    /// # Errors
    /// Those of reading from a foreign descriptor; an event of our own does not fail.
    pub fn clear(&self) -> io::Result<Option<u64>> {
        self.0.clear()
    }

    /// A second owner of the same event.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl From<Handle> for Event {
    /// Takes over an event that came from elsewhere, such as the kick or call eventfd of a vhost-user front end, and
    /// makes it non-blocking.
    fn from(handle: Handle) -> Self {
        Self(sys::event::Event::from_foreign(handle))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn signals_add_up_and_clearing_ends_them() {
        let event = Event::new().unwrap();
        assert_eq!(event.clear().unwrap(), None);
        event.signal().unwrap();
        event.try_clone().unwrap().signal().unwrap();
        assert_eq!(event.clear().unwrap(), Some(2));
        assert_eq!(event.clear().unwrap(), None);
    }
}
