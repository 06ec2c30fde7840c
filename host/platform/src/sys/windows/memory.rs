//! Shared memory: comes with the Windows backend.

use std::fs::File;
use std::io;

pub(crate) fn shared(_: &str, _: u64) -> io::Result<File> {
    super::unsupported("memory that processes share is")
}

/// Not needed until somebody counts.
pub(crate) fn release_code() {}

pub(crate) fn private(_: usize) -> io::Result<std::ptr::NonNull<u8>> {
    super::unsupported("memory for a guest is")
}

/// # Safety
/// As `crate::memory::discard`.
#[expect(unsafe_code, reason = "the same signature everywhere")]
pub(crate) unsafe fn discard(_: std::ptr::NonNull<u8>, _: usize) -> io::Result<()> {
    super::unsupported("memory for a guest is")
}

/// The system's own allocator does not multiply.
pub(crate) fn share_arena() {}
