//! How the agent reaches the host: vsock(7) connections to ports of CID 2.

#![expect(unsafe_code, reason = "the connect time-out of vsock(7) has no safe wrapper")]

use hull_protocol::Port;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::SocketError;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, getsockopt, socket};
use std::fmt::Debug;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How long a connection may take. The kernel's own two seconds are little for a host that is busy.
static PATIENCE: libc::timeval = libc::timeval { tv_sec: 60, tv_usec: 0 };

/// Option of vsock sockets (`linux/vm_sockets.h`), for a `struct timeval` of native size.
const SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD: libc::c_int = 6;

/// A way to the host.
pub trait Dial: Debug {
    /// Begins a connection to a port of the host. The socket is non-blocking and may still be connecting: until then
    /// transfers fail with `ENOTCONN`, and `SO_ERROR` tells of a failure.
    ///
    /// # Errors
    /// The kernel's.
    fn dial(&self, port: Port) -> nix::Result<OwnedFd>;
}

/// The real way.
#[derive(Debug)]
pub struct Vsock;

impl Dial for Vsock {
    fn dial(&self, port: Port) -> nix::Result<OwnedFd> {
        start(port)
    }
}

/// Waits for the end of what [`Dial::dial`] began; from then on transfers wait, too.
///
/// # Errors
/// The kernel's.
pub fn wait_until_connected(stream: &OwnedFd) -> nix::Result<()> {
    while poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)? == 0 {}
    match getsockopt(stream, SocketError)? {
        0 => fcntl(stream, FcntlArg::F_SETFL(OFlag::O_RDWR)).map(drop),
        error => Err(Errno::from_raw(error)),
    }
}

fn start(port: Port) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    // SAFETY: the option reads as many bytes as it is told, from a value that outlives the call.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::AF_VSOCK,
            SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD,
            (&raw const PATIENCE).cast(),
            size_of_u32::<libc::timeval>(),
        )
    };
    Errno::result(set)?;
    match connect(stream.as_raw_fd(), &VsockAddr::new(libc::VMADDR_CID_HOST, port.0)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(stream),
        Err(error) => Err(error),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the sizes of the structures here are far below 4 GiB")]
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}
