//! The program's own code in memory: dl_iterate_phdr(3), madvise(2).
#![expect(
    unsafe_code,
    reason = "the program's segments are known to the dynamic linker alone, and madvise takes addresses"
)]

use std::ffi::{c_int, c_void};

const PAGE: usize = 4096;

pub(crate) fn release() {
    // SAFETY: the callback is a function with C's calling convention that lives as long as the program, and it makes no use of
    // its last argument.
    unsafe { libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut()) };
}

/// For the program and each of its libraries.
extern "C" fn release_object(info: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr passes a valid structure whose headers are an array of that length, for the time of the call.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let start = usize::try_from(base.wrapping_add(header.p_vaddr)).unwrap_or_default();
        let length = usize::try_from(header.p_memsz).unwrap_or_default();
        let first = start.next_multiple_of(PAGE);
        let last = start.saturating_add(length) / PAGE * PAGE;
        if first < last {
            // SAFETY: whole pages of a segment that is mapped from a file and never written, this program's own: what is
            // dropped comes back from the file unchanged when it is touched. A failure drops nothing.
            unsafe { libc::madvise(first as *mut c_void, last - first, libc::MADV_DONTNEED) };
        }
    }
    0
}
