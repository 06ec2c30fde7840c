//! Trying what a jail forbids.
#![expect(unsafe_code, reason = "the calls are made as an intruder would make them")]

use crate::jail::Attempt;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::unistd::{ForkResult, execv, fork};
use std::fs::File;

/// Makes every attempt, the one that would not return last.
pub(crate) fn attempts() -> Vec<Attempt> {
    let attempt = |what, refused| Attempt { what, refused };
    let internet = |kind| socket(AddressFamily::Inet, kind, SockFlag::empty(), None).is_err();
    vec![
        attempt("open /etc/passwd", File::open("/etc/passwd").is_err()),
        attempt("open its own memory", File::open("/proc/self/mem").is_err()),
        attempt("start a process", fork_is_refused()),
        attempt("trace its parent", trace_is_refused()),
        attempt("signal its parent", nix::sys::signal::kill(nix::unistd::getppid(), None).is_err()),
        attempt("open a packet socket", packet_is_refused()),
        attempt("open a TCP socket", internet(SockType::Stream)),
        attempt("open a UDP socket", internet(SockType::Datagram)),
        attempt("open a Unix socket", socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).is_err()),
        attempt("map writable memory as code", code_is_refused()),
        attempt("mount a file system", mount_is_refused()),
        attempt("execute a program", execv(c"/bin/true", &[c"true"]).is_err()),
    ]
}

fn fork_is_refused() -> bool {
    // SAFETY: the child does nothing but end.
    match unsafe { fork() } {
        // SAFETY: ends this process without running anything of the parent's.
        Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
        Ok(ForkResult::Parent { child }) => {
            // Not refused; what is left is to leave no zombie.
            let _ = nix::sys::wait::waitpid(child, None);
            false
        }
        Err(_) => true,
    }
}

fn trace_is_refused() -> bool {
    // SAFETY: attaches to another process by number; on success it is let go at once.
    let attached = unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), 0, 0) };
    if Errno::result(attached).is_err() {
        return true;
    }
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, libc::getppid(), 0, 0) };
    false
}

fn packet_is_refused() -> bool {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll).is_err()
}

fn code_is_refused() -> bool {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping where the kernel likes.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return true;
    }
    // SAFETY: the mapping from above, to which nothing points.
    unsafe { libc::munmap(mapped, 4096) };
    false
}

fn mount_is_refused() -> bool {
    let none = None::<&str>;
    nix::mount::mount(Some("tmpfs"), "/", Some("tmpfs"), nix::mount::MsFlags::empty(), none).is_err()
}
