//! The guest agent: PID 1 of the VM.
//!
//! It dials the host's control port as soon as it runs, and then does what the host asks: set containers up out of OCI
//! runtime-spec documents, start processes in them, signal them, report how they ended. Nothing in the guest listens.
//!
//! One thread, one epoll loop ([`agent`]). Setting a container up can take time and can fail in many ways, so it happens
//! in the container's own first process, which the agent forks off and which reports back over a socket ([`report`]):
//!
//! ```text
//!   agent ──errand──> the disks are mounted while everything up to "pivots" goes on      [errand, container::root]
//!     ├──clone3──> child: namespaces, file systems; pivots, mounts, devices, masks   [container::setup]
//!     │                 │    user, capabilities, limits, working directory       [process]
//!     │ <── report ──── │    execve: the report closes, the request is answered
//!     │
//!     ├── relay ──────── stdin, stdout, stderr or terminal <──> vsock streams    [relay]
//!     └── waitpid ────── its end: disks are given up, the host is told           [agent]
//! ```
//!
//! Because there is one thread, a forked child may allocate and do as it likes before `execve`.

#![cfg(target_os = "linux")]

pub mod agent;
pub mod boot;
pub mod cgroup;
pub mod clock;
pub mod container;
pub mod control;
pub mod descriptors;
pub mod dial;
pub mod disks;
pub mod document;
pub mod errand;
pub mod error;
pub mod fatal;
pub mod namespaces;
pub mod process;
pub mod processes;
pub mod reap;
pub mod relay;
pub mod report;
pub mod stdio;
pub mod usage;
