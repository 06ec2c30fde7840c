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

#[cfg(all(test, unix))]
mod tests {
    use crate::file::{read_exact_at, write_all_at};

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
