//! Memory of this process's own: mmap(2).
#![expect(unsafe_code, reason = "mapping and unmapping by address")]

use crate::memory::HUGE_PAGE;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

/// Not every system aligns a mapping to huge pages by itself, so it is made longer and its ends are cut off. The length becomes
/// a multiple of huge pages.
pub(crate) fn private(length: usize) -> io::Result<NonNull<u8>> {
    let length = length.checked_next_multiple_of(HUGE_PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
    let longer = length.checked_add(HUGE_PAGE).and_then(NonZeroUsize::new).ok_or(io::ErrorKind::OutOfMemory)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: a new mapping of the system's choice.
    let mapping = unsafe { mmap_anonymous(None, longer, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
    let address = mapping.as_ptr() as usize;
    let before = address.next_multiple_of(HUGE_PAGE) - address;
    let after = HUGE_PAGE - before;
    // SAFETY: `before`, `length` and `after` are whole pages and together the mapping, of which nobody else knows.
    unsafe {
        let start = mapping.cast::<u8>().add(before);
        if before > 0 {
            munmap(mapping, before)?;
        }
        if after > 0 {
            munmap(start.add(length).cast(), after)?;
        }
        Ok(start)
    }
}
