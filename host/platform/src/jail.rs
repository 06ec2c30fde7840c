//! Giving up what a process does not need, for good: the wall around the process that parses what a guest writes.
//!
//! [`confine`] is for the whole process, while it has one thread and before it has read anything hostile; [`narrow`] then
//! takes more away from single threads. On Linux that is seccomp, Landlock, an empty mount namespace, no capabilities, no
//! dumps and a uid of its own; other hosts have none of it here yet and say so ([`Jail::layers`] is empty).

use crate::sys;
use std::error::Error;

/// What holds a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jail {
    /// The layers that hold, by name: `no-new-privileges`, `no-dumps`, `limits`, `no-capabilities`, `own-uid`,
    /// `empty-root`, `no-network`, `landlock`, `seccomp`. Some need privileges to set up, so that which ones hold depends
    /// on who started the process and on the kernel.
    pub layers: Vec<&'static str>,
}

/// What a thread of a confined process does, and so which system calls it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves a device's queues: moves bytes between descriptors that it has.
    Device,
    /// Takes orders and waits for the machine, which has been built: no more threads, no more building.
    Control,
    /// Speaks for a device with a machine in another process, and starts the threads that serve it.
    Front,
    /// Runs a vCPU; its accesses to registers start and stop devices.
    Vcpu,
}

/// Why a process could not be confined. It must then not go on: half a jail is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct JailError {
    /// What was being given up.
    pub action: &'static str,
    /// What the system said.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Confines this process for good. It keeps its descriptors, memory and the calls that a VM's devices and vCPUs need; it
/// opens no path, starts no program, makes no socket, signals nobody else. A system call that it has no use for fails
/// with `EPERM`.
///
/// `uid`: who to become, if the process is root's.
///
/// # Errors
/// See [`JailError`].
pub fn confine(uid: u32) -> Result<Jail, JailError> {
    sys::jail::confine(uid)
}

/// Narrows the calling thread to its role for good; does nothing in a process that is not confined.
///
/// # Errors
/// See [`JailError`].
pub fn narrow(role: Role) -> Result<(), JailError> {
    sys::jail::narrow(role)
}

/// Something that a confined process tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What.
    pub what: &'static str,
    /// Whether it was refused.
    pub refused: bool,
}

/// Tries what a jail forbids, from within: opening a path, starting a process, tracing and signalling another, sockets.
/// For a process that was started for this alone: if nothing is refused, it may not return.
pub fn attempts() -> Vec<Attempt> {
    sys::jail::attempts()
}
