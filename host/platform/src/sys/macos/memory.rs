//! Shared memory: shm_open(3), unlinked at once.

pub(crate) use super::super::unix::private::private;

use nix::fcntl::OFlag;
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io;
use std::ptr::NonNull;

pub(crate) fn shared(_: &str, length: u64) -> io::Result<File> {
    // A name is 31 bytes at most here, and only has to be free for the moment between these two calls.
    let name = format!("/hull.{:016x}", u64::from_ne_bytes(crate::random::array()?));
    let file = File::from(shm_open(
        name.as_str(),
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )?);
    shm_unlink(name.as_str())?;
    file.set_len(length)?;
    Ok(file)
}

/// Not needed until somebody counts.
pub(crate) fn release_code() {}

/// madvise(2) has no advice here that makes private memory zeros: a new mapping takes the place of the old one.
///
/// # Safety
/// As `crate::memory::discard`.
#[expect(unsafe_code, reason = "mapping by address")]
pub(crate) unsafe fn discard(start: NonNull<u8>, length: usize) -> io::Result<()> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    let address = std::num::NonZeroUsize::new(start.as_ptr() as usize);
    let length = std::num::NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED;
    // SAFETY: the caller's promise: the range is memory whose contents nobody relies on.
    unsafe { mmap_anonymous(address, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
    Ok(())
}

/// The system's own allocator does not multiply.
pub(crate) fn share_arena() {}
