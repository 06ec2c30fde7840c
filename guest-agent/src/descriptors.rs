//! What a forked child does with the descriptors that it inherited from the agent: close them, early. They are other
//! containers' streams and the way to the host, and what follows in the child walks paths that an image chose.

#![expect(unsafe_code, reason = "close_range and the fixed descriptors 0 to 2 have no safe wrapper")]

use nix::errno::Errno;
use std::os::fd::RawFd;

/// Closes every descriptor from 3 on that is not in `kept`.
///
/// # Errors
/// The kernel's.
pub fn close_all_but(kept: &[RawFd]) -> nix::Result<()> {
    gaps(kept).into_iter().try_for_each(|(first, last)| {
        // SAFETY: closes descriptors of this process, which never touches the values that stand for them again: it
        // was forked off and ends in execve or _exit, without running their destructors.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        Errno::result(closed).map(drop)
    })
}

fn gaps(kept: &[RawFd]) -> Vec<(u32, u32)> {
    let mut kept: Vec<u32> = kept.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first = 3;
    let mut gaps = Vec::with_capacity(kept.len() + 1);
    for fd in kept {
        if fd > first {
            gaps.push((first, fd - 1));
        }
        first = fd + 1;
    }
    gaps.push((first, u32::MAX));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_leave_out_exactly_what_is_kept() {
        assert_eq!(gaps(&[]), [(3, u32::MAX)]);
        assert_eq!(gaps(&[3, 4]), [(5, u32::MAX)]);
        assert_eq!(gaps(&[9, 5, 5, -1, 1]), [(3, 4), (6, 8), (10, u32::MAX)]);
    }
}
