//! What sockets of this system can be told.

use nix::sys::socket::{MsgFlags, SockFlag};
use std::io;
use std::os::fd::OwnedFd;

/// For socket(2): no child inherits it, from the first instant on.
pub(crate) const CLOSE_ON_EXEC: SockFlag = SockFlag::SOCK_CLOEXEC;

/// For sendmsg(2): no signal if the peer has gone.
pub(crate) const NO_SIGNAL: MsgFlags = MsgFlags::MSG_NOSIGNAL;

/// For recvmsg(2): no child inherits what came, from the first instant on.
pub(crate) const RECEIVE: i32 = libc::MSG_CMSG_CLOEXEC;

/// For systems that cannot be told at creation.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) fn close_on_exec(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}
