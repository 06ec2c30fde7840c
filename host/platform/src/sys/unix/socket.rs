//! Local sockets are the standard library's, but for those that carry descriptors and the moment of binding.

use super::ancillary;
use crate::handle::Handle;
use nix::fcntl::AT_FDCWD;
use nix::sys::socket::{AddressFamily, Backlog, SockType, UnixAddr, bind as bind_address, listen, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::sys::family;

pub(crate) type Listener = UnixListener;
pub(crate) type Stream = UnixStream;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Sets the permissions between binding and listening: before, there is nothing to set, and after, somebody else could
/// have connected.
pub(crate) fn bind(path: &Path) -> io::Result<Listener> {
    let address = address(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Stream, family::CLOSE_ON_EXEC, None)?;
    family::close_on_exec(&fd)?;
    bind_address(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
    fchmodat(AT_FDCWD, path, Mode::S_IRUSR | Mode::S_IWUSR, FchmodatFlags::FollowSymlink)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd.into())
}

pub(crate) fn accept(listener: &Listener) -> io::Result<Stream> {
    let (stream, _) = listener.accept()?;
    // Some systems let it inherit the listener's mode.
    stream.set_nonblocking(false)?;
    Ok(stream)
}

pub(crate) fn connect(path: &Path) -> io::Result<Stream> {
    address(path)?;
    UnixStream::connect(path)
}

pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    UnixStream::pair()
}

pub(crate) fn send(stream: &Stream, bytes: &[u8], handles: &[BorrowedFd<'_>]) -> io::Result<usize> {
    ancillary::send(stream, bytes, handles)
}

pub(crate) fn recv(stream: &Stream, bytes: &mut [u8]) -> io::Result<(usize, Vec<Handle>)> {
    let (count, fds) = ancillary::recv(stream, bytes)?;
    Ok((count, fds.into_iter().map(Handle::from).collect()))
}

fn address(path: &Path) -> io::Result<UnixAddr> {
    UnixAddr::new(path).map_err(|_| {
        let why = format!("{} is too long for a socket; set HULL_RUNTIME_DIR to a shorter directory", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}
