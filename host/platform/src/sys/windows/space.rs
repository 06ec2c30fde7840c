//! Blocks are neither shared nor given back yet.

use super::unsupported;
use std::fs::File;
use std::io;

#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) fn share_blocks(_: &File, _: &File) -> io::Result<bool> {
    Ok(false)
}

pub(crate) fn punch_hole(_: &File, _: u64, _: u64) -> io::Result<()> {
    unsupported("giving the blocks of a file back is")
}

/// The caller writes zeros instead.
pub(crate) fn zero_range(_: &File, _: u64, _: u64) -> io::Result<()> {
    unsupported("zeroing a range by a system call is")
}
