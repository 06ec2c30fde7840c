//! Descriptors beside the bytes of a local socket: `SCM_RIGHTS` of unix(7), with the macros of cmsg(3).
#![expect(unsafe_code, reason = "nix drops descriptors on the floor when control data is truncated")]

use crate::socket::MAX_HANDLES;
use crate::sys::family;
use nix::sys::socket::{ControlMessage, sendmsg};
use std::io::{self, ErrorKind, IoSlice};
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

pub(super) fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    loop {
        match sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], control, family::NO_SIGNAL, None) {
            Err(nix::errno::Errno::EINTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Room for one control message with [`MAX_HANDLES`] descriptors, aligned as its header has to be.
#[repr(C, align(8))]
struct Control([u8; 128]);

/// The bytes of [`Control`] that the kernel may use: no more than the allowed descriptors fit.
fn control_length() -> usize {
    let payload = u32::try_from(MAX_HANDLES * size_of::<RawFd>()).expect("64 bytes");
    // SAFETY: CMSG_SPACE only computes.
    let space = unsafe { libc::CMSG_SPACE(payload) };
    usize::try_from(space).expect("below 128").min(size_of::<Control>())
}

/// Lengths of control data have different types on different systems.
fn convert<T, U: TryFrom<T>>(length: T) -> io::Result<U> {
    U::try_from(length).map_err(|_| ErrorKind::InvalidData.into())
}

pub(super) fn recv(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = Control([0; 128]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: every field of msghdr is an integer or a pointer, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = convert(control_length())?;
    let count = loop {
        // SAFETY: `message` points to `part`, which points to `bytes`, and to `control`, each with its true length, and
        // all live on in this function.
        match unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, family::RECEIVE) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            count => break usize::try_from(count).map_err(io::Error::other)?,
        }
    };
    // Owned before anything else is looked at, so that every way out closes them.
    let fds = take_descriptors(&message);
    fds.iter().try_for_each(family::close_on_exec)?;
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        let why = format!("the peer sent more than {MAX_HANDLES} handles, or this process has too many open files");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok((count, fds))
}

/// Takes ownership of every descriptor in a message that recvmsg(2) has just filled; called once for it.
fn take_descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control buffer and set msg_controllen to the length that it filled, and the
    // CMSG macros stay within that length. The payload of SCM_RIGHTS is unaligned at worst, hence read_unaligned. Each
    // descriptor in it is open and belongs to nobody else: the kernel made it for this message.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let payload = convert(found.cmsg_len).unwrap_or(0_usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                for index in 0..payload / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    fds
}
