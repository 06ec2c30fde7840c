//! Reads and writes that move data between guest memory and a file or socket without a copy in this process
//! (`readv(2)`, `preadv(2)`).
//!
//! Guest memory can change under us at any time, so no Rust slice may ever point to it; the kernel takes raw pointers.
#![expect(unsafe_code, reason = "system calls on memory that only raw pointers may name")]

use crate::queue::Buffers;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use vm_memory::{GuestMemoryError, VolatileSlice};

/// Pieces that one system call takes. A request of more pieces takes more calls.
const PIECES: usize = 32;

/// Fills `into` from `offset` of `file` on.
///
/// # Errors
/// Those of `preadv(2)`; `UnexpectedEof` if the file ends before that.
pub(crate) fn read_at(file: BorrowedFd<'_>, offset: u64, mut into: Buffers<'_>) -> io::Result<()> {
    let mut position = offset;
    while !into.is_empty() {
        let count = with_pieces(&into, |pieces, count| {
            let position = seek_position(position)?;
            // SAFETY: see `with_pieces`; the kernel writes to the pieces only.
            transferred(unsafe { libc::preadv(file.as_raw_fd(), pieces, count, position) })
        })?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        into.skip(count);
        position = position.saturating_add(count as u64);
    }
    Ok(())
}

/// Writes all of `from` to `file` from `offset` on.
///
/// # Errors
/// Those of `pwritev(2)`.
pub(crate) fn write_at(file: BorrowedFd<'_>, offset: u64, mut from: Buffers<'_>) -> io::Result<()> {
    let mut position = offset;
    while !from.is_empty() {
        let count = with_pieces(&from, |pieces, count| {
            let position = seek_position(position)?;
            // SAFETY: see `with_pieces`; the kernel reads from the pieces only.
            transferred(unsafe { libc::pwritev(file.as_raw_fd(), pieces, count, position) })
        })?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        from.skip(count);
        position = position.saturating_add(count as u64);
    }
    Ok(())
}

/// One read from a stream; 0 at its end.
///
/// # Errors
/// Those of `readv(2)`.
pub(crate) fn receive(stream: BorrowedFd<'_>, into: &Buffers<'_>) -> io::Result<usize> {
    with_pieces(into, |pieces, count| {
        // SAFETY: see `with_pieces`; the kernel writes to the pieces only.
        transferred(unsafe { libc::readv(stream.as_raw_fd(), pieces, count) })
    })
}

/// One write to a stream.
///
/// # Errors
/// Those of `writev(2)`. A signal for a closed stream is not expected: Rust's runtime ignores `SIGPIPE`.
pub(crate) fn send(stream: BorrowedFd<'_>, from: &Buffers<'_>) -> io::Result<usize> {
    with_pieces(from, |pieces, count| {
        // SAFETY: see `with_pieces`; the kernel reads from the pieces only.
        transferred(unsafe { libc::writev(stream.as_raw_fd(), pieces, count) })
    })
}

/// Has no read or write of this open file wait any more, by whichever descriptor.
///
/// # Errors
/// Those of `fcntl(2)`.
pub(crate) fn set_nonblocking(file: BorrowedFd<'_>) -> io::Result<()> {
    let checked = |result: libc::c_int| if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: reads the flags of a descriptor that is open while it is borrowed.
    let flags = checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: sets them; no memory is passed.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Calls `call`, again whenever a signal interrupts it, with the first [`PIECES`] pieces of `buffers`. They are valid for
/// reads and writes during the call: each is a `VolatileSlice`, which promises that for as long as the memory is
/// borrowed, and `buffers` borrows it. They are not accessed through references anywhere, so nothing aliases them.
fn with_pieces(
    buffers: &Buffers<'_>,
    call: impl Fn(*const libc::iovec, libc::c_int) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut pieces = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; PIECES];
    let mut count = 0;
    for (piece, slice) in pieces.iter_mut().zip(buffers.slices()) {
        let slice = slice.map_err(invalid)?;
        *piece = iovec(&slice);
        count += 1;
    }
    loop {
        match call(pieces.as_ptr(), count) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn iovec(slice: &VolatileSlice<'_>) -> libc::iovec {
    libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: slice.len() }
}

fn transferred(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn seek_position(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn invalid(error: GuestMemoryError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
