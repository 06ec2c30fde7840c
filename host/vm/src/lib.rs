//! The two processes of a VM.
//!
//! ```text
//!   hull run ──starts──> hull shim ───────────────────────────── one per VM, outlives the command
//!       │                 │   │  ▲  lock, records, logs, console
//!       └── VM's socket ──┘   │  │
//!          (protocol::shim)   │  └───── agent protocol, streams of processes ──────┐
//!                             │                                                    │ descriptors that the shim made
//!                control socket, with files and sockets to use                     │
//!                             ▼                                                    │
//!                         hull vmm ── images, data, vsock ── vhost-user ── QEMU ── guest
//! ```
//!
//! | | shim | vmm |
//! |---|---|---|
//! | reads what the guest writes to virtio queues | no | yes |
//! | reads the agent's frames and the processes' output | yes | passes them on |
//! | opens files, starts programs, writes state | yes | no: it gets every file and socket from the shim |
//! | ends when | the VM has ended and its clients have been told | its control socket closes, or the machine ends |
//!
//! Both are roles of the `hull` program: [`shim`] and [`vmm`] are what its hidden subcommands call. Neither uses an async
//! runtime: threads with small stacks, blocking calls, no polling.
//!
//! # How a shim is started
//!
//! The command line and the descriptors are [`hull_protocol::start`]'s.
//!
//! - ROOT is absolute; the VM's directory with its `vm.json` exists. The record's backend is a backend's name.
//! - Standard input and output are null, standard error is the VM's `shim.log`; the process has a session of its own.
//! - The lock was taken by whoever starts the shim: the descriptor passes it on without a gap in which another command
//!   could take the VM for dead.
//! - It says that it is ready once its socket accepts connections and its children run (the guest is not up by then;
//!   requests wait for it), or why it is not, after it has cleared away what it had begun, in a VM of its own together
//!   with the VM's directory.
//!
//! # How a VM ends
//!
//! A VM of its own ends with its container, or if none comes within 15 seconds; a named one is stopped, or idle for as
//! long as its record allows. Then, in this order: its processes are killed, states are written and containers with
//! `auto_remove` are removed, the socket goes and with a VM of its own its directory, clients get their answers, and at
//! last the process ends, which closes their connections. If nobody meant it to end, its logs stay: a named VM's in its
//! directory, those of a VM of its own move to the container.

#[cfg(unix)]
mod control;
#[cfg(unix)]
mod journal;
#[cfg(unix)]
mod rate;
#[cfg(unix)]
mod shim;
#[cfg(unix)]
mod text;
#[cfg(unix)]
mod vmm;

#[cfg(unix)]
pub use {shim::shim, vmm::try_jail, vmm::vmm};

#[cfg(not(unix))]
mod absent {
    //! A host whose child processes cannot be handed files and sockets yet.

    use hull_protocol::VmId;
    use std::path::Path;
    use std::process::ExitCode;

    /// Runs the shim of a VM; not on this host yet.
    pub fn shim(_root: &Path, _vm: &VmId) -> ExitCode {
        eprintln!("hull cannot run VMs on this host yet");
        ExitCode::FAILURE
    }

    /// Tries the jail of a vmm; not on this host yet.
    pub fn try_jail() -> ExitCode {
        eprintln!("hull has no jail on this host yet");
        ExitCode::FAILURE
    }

    /// Runs the devices of a VM; not on this host yet.
    pub fn vmm() -> ExitCode {
        eprintln!("hull cannot run VMs on this host yet");
        ExitCode::FAILURE
    }
}

#[cfg(not(unix))]
pub use absent::{shim, try_jail, vmm};
