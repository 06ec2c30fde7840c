//! Terminals: termios(3) and tty_ioctl(4).
#![expect(unsafe_code, reason = "TIOCGWINSZ, and restoring from a signal handler")]

use super::signals;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::ffi::c_int;
use std::io::{self, stdin};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// What the terminal was before; null outside raw mode. What it points to is never freed, because a handler may be
/// reading it: a process enters raw mode a few times at most.
static SAVED: AtomicPtr<libc::termios> = AtomicPtr::new(ptr::null_mut());

/// How many guards there are.
static DEPTH: Mutex<usize> = Mutex::new(0);

/// What ends a process that does not care about it.
const FATAL: [c_int; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGABRT];

pub(crate) fn size() -> Option<(u16, u16)> {
    [libc::STDOUT_FILENO, libc::STDIN_FILENO, libc::STDERR_FILENO].into_iter().find_map(size_of)
}

fn size_of(fd: c_int) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the live local; a number that is not open is answered with an error.
    let outcome = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (outcome == 0 && size.ws_row != 0 && size.ws_col != 0).then_some((size.ws_row, size.ws_col))
}

pub(crate) fn enter_raw() -> io::Result<()> {
    let mut depth = DEPTH.lock().unwrap_or_else(PoisonError::into_inner);
    if *depth == 0 {
        let original = tcgetattr(stdin())?;
        let mut raw: Termios = original.clone();
        cfmakeraw(&mut raw);
        SAVED.store(Box::into_raw(Box::new(original.into())), Ordering::Release);
        restore_when_killed()?;
        tcsetattr(stdin(), SetArg::TCSADRAIN, &raw).inspect_err(|_| {
            SAVED.store(ptr::null_mut(), Ordering::Release);
        })?;
    }
    *depth += 1;
    Ok(())
}

pub(crate) fn leave_raw() {
    let mut depth = DEPTH.lock().unwrap_or_else(PoisonError::into_inner);
    *depth = depth.saturating_sub(1);
    if *depth == 0 {
        restore();
    }
}

/// Async-signal-safe.
pub(crate) fn restore() {
    let saved = SAVED.swap(ptr::null_mut(), Ordering::AcqRel);
    if !saved.is_null() {
        // SAFETY: tcsetattr(3) is async-signal-safe; what `saved` points to was leaked by `enter_raw` and is never
        // written to again.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, saved) };
    }
}

/// Signals that somebody subscribed to are left alone: who gets them ends in an orderly way and drops its guards.
fn restore_when_killed() -> io::Result<()> {
    let mut unclaimed = FATAL.into_iter().filter(|signal| signals::is_default(*signal));
    unclaimed.try_for_each(|signal| signals::install(signal, restore_and_end))
}

extern "C" fn restore_and_end(signal: c_int) {
    restore();
    signals::resume_default(signal);
}
