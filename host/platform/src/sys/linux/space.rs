//! Blocks shared, zeroed and given back: ioctl_ficlone(2) and fallocate(2).
#![expect(unsafe_code, reason = "nix has no wrapper for FICLONE")]

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Makes `to` share all blocks of `from`; false if the file system cannot.
pub(crate) fn share_blocks(from: &File, to: &File) -> io::Result<bool> {
    // SAFETY: FICLONE takes two descriptors by value and touches no memory of ours; both are open as long as `from` and
    // `to` are borrowed.
    let outcome = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) };
    match Errno::result(outcome) {
        Ok(_) => Ok(true),
        Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    allocate(file, FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length)
}

pub(crate) fn zero_range(file: &File, offset: u64, length: u64) -> io::Result<()> {
    allocate(file, FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length)
}

fn allocate(file: &File, mode: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
    let signed = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (offset, length) = (signed(offset)?, signed(length)?);
    loop {
        match fallocate(file, mode, offset, length) {
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this file system cannot give blocks back"));
            }
            outcome => return Ok(outcome?),
        }
    }
}
