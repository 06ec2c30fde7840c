//! The loopback interface, which a new network namespace has but does not use.

#![expect(unsafe_code, reason = "interfaces are configured by ioctls")]

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;

/// Takes the caller's loopback interface into use; the kernel then gives it its addresses.
///
/// # Errors
/// The kernel's.
pub fn bring_loopback_up() -> Result<()> {
    let what = || "cannot bring the loopback interface up".to_owned();
    let any = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).context(what)?;
    // SAFETY: the structure consists of numbers and a union of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = flags();
    // SAFETY: SIOCSIFFLAGS reads one `ifreq` (netdevice(7)), which outlives the call.
    let up = unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(up).map(drop).context(what)
}

#[expect(clippy::cast_possible_truncation, reason = "both flags are within the lower 16 bits")]
const fn flags() -> libc::c_short {
    (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short
}
