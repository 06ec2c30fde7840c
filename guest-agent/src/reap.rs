//! Ended children (waitpid(2)).

#![expect(unsafe_code, reason = "nix's waitpid loses a child that a real-time signal ended")]

use nix::unistd::Pid;

/// A child that has ended, and is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: Pid,
    /// Its exit status, 128 + signal number if a signal ended it.
    pub code: u8,
}

/// Reaps one child that has ended, if there is one.
pub fn next() -> Option<Ended> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then(|| Ended { pid: Pid::from_raw(pid), code: exit_code(status) })
}

fn exit_code(status: libc::c_int) -> u8 {
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_become_a_shells() {
        // As the kernel packs them (wait(2)): exit status in the second byte, signal in the first, 0x80 with a core.
        let cases = [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (11 | 0x80, 139), (64, 192)];
        for (status, code) in cases {
            assert_eq!(exit_code(status), code, "{status:#x}");
        }
    }
}
