//! Shared memory: memfd_create(2), sealed. Memory of our own: madvise(2).
#![expect(unsafe_code, reason = "madvise takes addresses")]

pub(crate) use super::code::release as release_code;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MmapAdvise, madvise};
use std::fs::File;
use std::io;
use std::ptr::NonNull;

pub(crate) fn shared(name: &str, length: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    file.set_len(length)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

pub(crate) fn private(length: usize) -> io::Result<NonNull<u8>> {
    let start = super::super::unix::private::private(length)?;
    // SAFETY: the advice changes how memory is backed, not what it holds.
    let advised = unsafe { madvise(start.cast(), length, MmapAdvise::MADV_HUGEPAGE) };
    // A kernel that has no huge pages does without.
    let _ = advised;
    Ok(start)
}

/// # Safety
/// As `crate::memory::discard`.
pub(crate) unsafe fn discard(start: NonNull<u8>, length: usize) -> io::Result<()> {
    // SAFETY: the caller's promise.
    Ok(unsafe { madvise(start.cast(), length, MmapAdvise::MADV_DONTNEED) }?)
}

pub(crate) fn share_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call has no preconditions; a number that it does not know changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
