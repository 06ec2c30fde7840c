//! Memory that processes share: memfd_create(2) on Linux, an unlinked shm_open(3) object on macOS.

use crate::sys;
use std::fs::File;
use std::io;

/// `length` bytes of zeros without a name in any file system, to be mapped. `name` shows up in `/proc` where there is
/// such a thing. On Linux the size is sealed: whoever maps it need not fear that it shrinks.
///
/// # Errors
/// Too many open files; [`io::ErrorKind::Unsupported`] on Windows.
pub fn shared(name: &str, length: u64) -> io::Result<File> {
    sys::memory::shared(name, length)
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
