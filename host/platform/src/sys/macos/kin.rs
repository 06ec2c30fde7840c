//! Between fork(2) and execve(2), what macOS does in its own way. Whatever runs in the child is async-signal-safe.
#![expect(unsafe_code, reason = "marking descriptors by number")]

use std::ffi::c_int;
use std::io;
use std::path::PathBuf;

/// The highest signal number.
pub(crate) const LAST_SIGNAL: c_int = 31;

/// The highest descriptor number that is looked at; the default limit of a process.
const MARKED: c_int = 10240;

pub(crate) fn can_tie_to_parent() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system cannot tie a process's life to its parent's"))
}

/// Never called: see [`can_tie_to_parent`].
///
/// # Safety
/// None is needed.
pub(crate) unsafe fn tie_to_parent(_: libc::pid_t) -> c_int {
    -1
}

/// Marks every descriptor from `first` on as closed on exec, also those that this process inherited unmarked.
///
/// # Safety
/// To be called in a child of fork(2) alone.
pub(crate) unsafe fn close_on_exec_from(first: c_int) {
    // SAFETY: these calls touch no memory, and the process is about to be replaced.
    unsafe {
        for fd in first..libc::getdtablesize().clamp(first, MARKED) {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

pub(crate) fn current_exe() -> io::Result<PathBuf> {
    std::env::current_exe()
}
