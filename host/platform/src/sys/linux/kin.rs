//! Between fork(2) and execve(2), what Linux does in its own way. Whatever runs in the child is async-signal-safe.
#![expect(unsafe_code, reason = "prctl and close_range have no safe wrapper that is async-signal-safe")]

use std::ffi::{c_int, c_uint};
use std::io;
use std::path::PathBuf;

/// The highest signal number.
pub(crate) const LAST_SIGNAL: c_int = 64;

#[expect(clippy::unnecessary_wraps, reason = "other systems cannot")]
pub(crate) fn can_tie_to_parent() -> io::Result<()> {
    Ok(())
}

/// Has the kernel kill this process when its parent dies; ends it if that has happened already. -1 on failure.
///
/// # Safety
/// To be called in a child of fork(2) alone.
pub(crate) unsafe fn tie_to_parent(parent: libc::pid_t) -> c_int {
    // SAFETY: these calls touch no memory.
    unsafe {
        let outcome = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if outcome == 0 && libc::getppid() != parent {
            libc::_exit(127);
        }
        outcome
    }
}

/// Marks every descriptor from `first` on as closed on exec, also those that this process inherited unmarked.
///
/// # Safety
/// To be called in a child of fork(2) alone.
pub(crate) unsafe fn close_on_exec_from(first: c_int) {
    // SAFETY: these calls touch no memory, and the process is about to be replaced.
    unsafe {
        let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
        if libc::syscall(libc::SYS_close_range, first.cast_unsigned(), c_uint::MAX, flags) == 0 {
            return;
        }
        // Kernels before 5.11: one by one, as far as a process usually goes.
        for fd in first..1024 {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Not what `/proc/self/exe` points to if the file was replaced meanwhile: then the link itself still starts it.
pub(crate) fn current_exe() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}
