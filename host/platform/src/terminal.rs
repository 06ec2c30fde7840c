//! The terminal of the person who runs hull: its size, and raw mode (termios(3)).

use crate::sys;
use std::io::{self, IsTerminal};

/// One of this process's standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Standard input.
    Input,
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Whether a standard stream is a terminal.
pub fn is_terminal(stream: Standard) -> bool {
    match stream {
        Standard::Input => io::stdin().is_terminal(),
        Standard::Output => io::stdout().is_terminal(),
        Standard::Error => io::stderr().is_terminal(),
    }
}

/// Rows and columns of the terminal at standard output, input or error, in this order; `None` without one, or where its
/// size is not known.
pub fn size() -> Option<(u16, u16)> {
    sys::terminal::size()
}

/// The terminal at standard input passes every key on, unechoed and at once, while this lives.
///
/// The terminal is restored when the last of these is dropped, and if `SIGHUP`, `SIGINT`, `SIGQUIT`, `SIGTERM` or
/// `SIGABRT` (a panic) ends the process. `std::process::exit` drops nothing: call [`restore`] before.
#[derive(Debug)]
#[must_use = "raw mode ends when this is dropped"]
pub struct RawMode(());

impl RawMode {
    /// Enters raw mode; entering it again changes nothing but that each must be dropped.
    ///
    /// # Errors
    /// If standard input is not a terminal; `Unsupported` on Windows.
    pub fn enter() -> io::Result<Self> {
        sys::terminal::enter_raw()?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        sys::terminal::leave_raw();
    }
}

/// Restores the terminal if it is in raw mode, whoever holds a [`RawMode`]; for use right before the process exits.
pub fn restore() {
    sys::terminal::restore();
}
