//! What sockets of this system can be told. Between a descriptor's creation and [`close_on_exec`] a child that another
//! thread starts could inherit it; `process::spawn` therefore closes everything that it does not place.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{MsgFlags, SockFlag};
use std::io;
use std::os::fd::OwnedFd;

/// For socket(2): there is no flag.
pub(crate) const CLOSE_ON_EXEC: SockFlag = SockFlag::empty();

/// For sendmsg(2): there is no flag; programs in Rust ignore `SIGPIPE`.
pub(crate) const NO_SIGNAL: MsgFlags = MsgFlags::empty();

/// For recvmsg(2): there is no flag.
pub(crate) const RECEIVE: i32 = 0;

pub(crate) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(())
}
