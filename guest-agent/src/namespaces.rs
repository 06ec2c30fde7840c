//! New processes in new or existing namespaces: clone3(2), setns(2), pidfd_open(2), and the mount calls that work on
//! descriptors, open_tree(2) and move_mount(2).

#![expect(unsafe_code, reason = "these calls have no safe wrapper")]

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A new process.
#[derive(Debug)]
pub struct Child {
    /// Its id.
    pub pid: Pid,
    /// The process itself, whatever becomes of the id.
    pub handle: OwnedFd,
}

/// Who is running after [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The one who called.
    Parent(Child),
    /// The new process.
    Child,
}

/// Whose child the new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The caller's.
    Caller,
    /// The caller's parent's.
    CallersParent,
}

/// Splits the process, the new one being in `namespaces` of its own and in the cgroup whose directory is given. Its
/// signal handlers are the default ones; ignored signals stay ignored.
///
/// # Errors
/// The kernel's.
pub fn fork(namespaces: CloneFlags, parent: Parent, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Forked> {
    let mut handle: RawFd = -1;
    // SAFETY: the structure consists of integers only, for which zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    let namespaces = u64::from(namespaces.bits().cast_unsigned());
    arguments.flags = namespaces | flag(libc::CLONE_PIDFD) | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (&raw mut handle).addr() as u64;
    match parent {
        Parent::Caller => arguments.exit_signal = u64::from((Signal::SIGCHLD as i32).cast_unsigned()),
        Parent::CallersParent => arguments.flags |= flag(libc::CLONE_PARENT),
    }
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of everything. The agent has one thread, so no lock
    // can be held by a thread that the copy lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of_val(&arguments)) };
    match Errno::result(pid)? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us.
            let handle = unsafe { OwnedFd::from_raw_fd(handle) };
            Ok(Forked::Parent(Child { pid: Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?), handle }))
        }
    }
}

/// Flags of clone3 that do not fit into nix's type (`linux/sched.h`).
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

fn flag(flag: libc::c_int) -> u64 {
    u64::from(flag.cast_unsigned())
}

/// As [`fork`], but the new process is in the PID namespace of the process `member`.
///
/// # Errors
/// The kernel's. It is fatal when the caller cannot return into its own PID namespace: [`ForkError::Stranded`].
pub fn fork_into(member: BorrowedFd<'_>, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked, ForkError> {
    let own = pidfd_open(nix::unistd::getpid())?;
    // Concerns the caller's children only: its own PID namespace never changes.
    setns(member, CloneFlags::CLONE_NEWPID)?;
    let forked = fork(CloneFlags::empty(), Parent::Caller, cgroup);
    if !matches!(forked, Ok(Forked::Child)) {
        setns(own, CloneFlags::CLONE_NEWPID).map_err(ForkError::Stranded)?;
    }
    Ok(forked?)
}

/// Why [`fork_into`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkError {
    /// Nothing happened.
    Failed(Errno),
    /// Children of the caller are from now on in the wrong namespace.
    Stranded(Errno),
}

impl From<Errno> for ForkError {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

/// A handle of a process that cannot be mistaken for another one.
///
/// # Errors
/// The kernel's: `ESRCH` if it is gone.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    own(descriptor)
}

/// Sends a signal, by its number, to a process.
///
/// # Errors
/// The kernel's: `ESRCH` if it is gone.
pub fn pidfd_send_signal(process: BorrowedFd<'_>, signal: u8) -> nix::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no memory is involved, the pointer is null.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::c_int::from(signal), no_info, 0)
    };
    Errno::result(sent).map(drop)
}

/// A detached copy of the mount at `path` under `directory`, or of the file there.
///
/// # Errors
/// The kernel's.
pub fn copy_mount(directory: BorrowedFd<'_>, path: &Path, depth: Depth) -> nix::Result<OwnedFd> {
    let path = c_string(path)?;
    let recursive = if depth == Depth::Tree { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: the path is a C string that outlives the call.
    let descriptor = unsafe { libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), path.as_ptr(), flags) };
    own(descriptor)
}

/// How much of a mount [`copy_mount`] copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// That one.
    One,
    /// What is mounted on it as well.
    Tree,
}

/// Attaches what [`copy_mount`] made to a path, following symbolic links.
///
/// # Errors
/// The kernel's.
pub fn attach_mount(mount: BorrowedFd<'_>, path: &Path) -> nix::Result<()> {
    let path = c_string(path)?;
    let (here, nothing): (_, &CStr) = (libc::AT_FDCWD, c"");
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_SYMLINKS;
    // SAFETY: the paths are C strings that outlive the call.
    let moved =
        unsafe { libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), nothing.as_ptr(), here, path.as_ptr(), flags) };
    Errno::result(moved).map(drop)
}

fn own(descriptor: libc::c_long) -> nix::Result<OwnedFd> {
    let descriptor = RawFd::try_from(Errno::result(descriptor)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn c_string(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Enters namespaces of another process, all at once.
///
/// # Errors
/// The kernel's.
pub fn enter(process: &impl AsFd, namespaces: CloneFlags) -> nix::Result<()> {
    setns(process, namespaces)
}
