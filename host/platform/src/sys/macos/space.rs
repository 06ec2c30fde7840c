//! Blocks shared and given back: fcopyfile(3) and `F_PUNCHHOLE` of fcntl(2).
#![expect(unsafe_code, reason = "nix has no wrapper for F_PUNCHHOLE")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};

/// clonefile(2) makes its own target, which the caller has made already: the copy by ranges serves.
pub(crate) fn share_blocks(_: &File, _: &File) -> io::Result<bool> {
    Ok(false)
}

/// `F_PUNCHHOLE` takes whole blocks alone; the edges are overwritten with zeros.
pub(crate) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let metadata = file.metadata()?;
    let block = metadata.blksize().max(1);
    let end = offset.saturating_add(length).min(metadata.len());
    let first = offset.checked_next_multiple_of(block).unwrap_or(end).min(end);
    let last = (end / block * block).max(first);
    write_zeros(file, offset, first)?;
    write_zeros(file, last, end)?;
    if first == last {
        return Ok(());
    }
    let signed = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let hole =
        libc::fpunchhole_t { fp_flags: 0, reserved: 0, fp_offset: signed(first)?, fp_length: signed(last - first)? };
    // SAFETY: F_PUNCHHOLE reads the structure that the pointer names, which lives on this stack frame, and the
    // descriptor is open as long as `file` is borrowed.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PUNCHHOLE, &raw const hole) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// There is no call for it: the caller writes zeros.
pub(crate) fn zero_range(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no call that zeroes a range"))
}

/// Zeros of less than one block.
fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    match usize::try_from(to.saturating_sub(from)) {
        Ok(0) => Ok(()),
        Ok(length) => file.write_all_at(&vec![0; length], from),
        Err(error) => Err(io::Error::other(error)),
    }
}
