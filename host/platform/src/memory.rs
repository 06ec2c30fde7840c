//! Memory that processes share: memfd_create(2) on Linux, an unlinked shm_open(3) object on macOS.

#![expect(unsafe_code, reason = "memory is given back by address")]

use crate::sys;
use std::fs::File;
use std::io;
use std::ptr::NonNull;

/// `length` bytes of zeros without a name in any file system, to be mapped. `name` shows up in `/proc` where there is
/// such a thing. On Linux the size is sealed: whoever maps it need not fear that it shrinks.
///
/// # Errors
/// Too many open files; [`io::ErrorKind::Unsupported`] on Windows.
pub fn shared(name: &str, length: u64) -> io::Result<File> {
    sys::memory::shared(name, length)
}

/// What [`private`] aligns to: x86's and arm64's huge page.
pub const HUGE_PAGE: usize = 2 << 20;

/// `length` bytes of zeros for this process alone, until its end. They begin at a multiple of [`HUGE_PAGE`], and the system is
/// asked to back them with such pages. Nothing is taken from it before they are touched.
///
/// # Errors
/// No memory; [`io::ErrorKind::Unsupported`] on Windows.
pub fn private(length: usize) -> io::Result<NonNull<u8>> {
    sys::memory::private(length)
}

/// Gives whole pages of [`private`] memory back; they read as zeros until they are written to again.
///
/// # Errors
/// What the system said.
///
/// # Safety
/// The range lies in memory of [`private`]'s, and nobody relies on what it holds.
pub unsafe fn discard(start: NonNull<u8>, length: usize) -> io::Result<()> {
    // SAFETY: as promised.
    unsafe { sys::memory::discard(start, length) }
}

/// From now on all threads allocate from one arena. glibc gives each thread its own, and in a process of a dozen threads that
/// allocate little most of that is empty. Before the first thread is started. Does nothing but with glibc.
pub fn share_arena() {
    sys::memory::share_arena();
}

/// Lets go of the pages of this program's own code and constants, which come back as they are used. For a process that lives
/// long and has done with its start: most of what it has resident is code that ran once. Does nothing but on Linux.
pub fn release_code() {
    sys::memory::release_code();
}

#[cfg(all(test, unix))]
mod tests {
    use crate::file::{read_exact_at, write_all_at};

    #[test]
    fn private_memory_is_aligned_and_empty_again_once_discarded() {
        let length = 2 * super::HUGE_PAGE + 4096;
        let start = super::private(length).unwrap();
        assert_eq!(start.as_ptr() as usize % super::HUGE_PAGE, 0);
        // SAFETY: the last bytes of memory that nobody else knows of.
        unsafe {
            let last = start.add(length - 1);
            assert_eq!(last.read(), 0);
            last.write(7);
            super::discard(start, length).unwrap();
            assert_eq!(last.read(), 0);
        }
    }

    #[test]
    fn a_program_goes_on_without_its_code_in_memory() {
        super::release_code();
        assert_eq!("constants too".len(), 13);
    }

    #[test]
    fn it_has_the_length_asked_for_and_keeps_what_is_written() {
        let memory = super::shared("hull-test", 1 << 30).unwrap();
        assert_eq!(memory.metadata().unwrap().len(), 1 << 30);
        write_all_at(&memory, b"end", (1 << 30) - 3).unwrap();
        let mut bytes = [0; 4];
        read_exact_at(&memory, &mut bytes, (1 << 30) - 4).unwrap();
        assert_eq!(&bytes, b"\0end");
    }
}
