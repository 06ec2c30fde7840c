//! Signal numbers differ from Linux's; names do not.

use crate::signals::LinuxSignal;
use std::ffi::c_int;

/// Linux's number and this system's. `STKFLT`, `PWR` and real-time signals do not exist here.
const NUMBERS: [(u8, c_int); 29] = [
    (1, libc::SIGHUP),
    (2, libc::SIGINT),
    (3, libc::SIGQUIT),
    (4, libc::SIGILL),
    (5, libc::SIGTRAP),
    (6, libc::SIGABRT),
    (7, libc::SIGBUS),
    (8, libc::SIGFPE),
    (9, libc::SIGKILL),
    (10, libc::SIGUSR1),
    (11, libc::SIGSEGV),
    (12, libc::SIGUSR2),
    (13, libc::SIGPIPE),
    (14, libc::SIGALRM),
    (15, libc::SIGTERM),
    (17, libc::SIGCHLD),
    (18, libc::SIGCONT),
    (19, libc::SIGSTOP),
    (20, libc::SIGTSTP),
    (21, libc::SIGTTIN),
    (22, libc::SIGTTOU),
    (23, libc::SIGURG),
    (24, libc::SIGXCPU),
    (25, libc::SIGXFSZ),
    (26, libc::SIGVTALRM),
    (27, libc::SIGPROF),
    (28, libc::SIGWINCH),
    (29, libc::SIGIO),
    (31, libc::SIGSYS),
];

pub(crate) fn to_host(signal: LinuxSignal) -> Option<c_int> {
    NUMBERS.iter().find(|(linux, _)| *linux == signal.number()).map(|(_, host)| *host)
}

pub(crate) fn from_host(number: c_int) -> Option<LinuxSignal> {
    let (linux, _) = NUMBERS.iter().find(|(_, host)| *host == number)?;
    LinuxSignal::new(*linux)
}
