//! What the agent keeps in mind of containers and processes.
//!
//! ```text
//!   process:    Starting ──> Running ──> (reaped: gone)
//!                  └──────> Failed ───> (reaped: gone)
//!   container:  Alive ──> Releasing ──> Ended ──> (removed: gone)
//!                             └───────> Forgotten ──> (gone)
//! ```

use super::Agent;
use crate::cgroup::Cgroup;
use crate::disks::Device;
use crate::error::{Result, failure};
use crate::report::Receiver;
use hull_protocol::ContainerId;
use hull_protocol::agent::{AgentError, ErrorCode, ProcessRef};
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use std::os::fd::OwnedFd;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Container {
    pub id: ContainerId,
    /// None: it failed before it had one.
    pub cgroup: Option<Cgroup>,
    /// Of its first process, that of users included.
    pub namespaces: CloneFlags,
    /// What it still has of the devices that were made for it.
    pub devices: Vec<Device>,
    /// Nobody wants its files once it has ended.
    pub discard: bool,
    /// Keeps the file systems of a container with `discard` mounted, because unmounting would write them out, and the
    /// end of its first process would wait for that.
    pub root: Option<OwnedFd>,
    pub stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Its first process is being started, or runs.
    Alive,
    /// It has ended; its devices are being given up.
    Releasing { since: Instant, news: News },
    /// The host knows that it has ended.
    Ended,
    /// The host knows that it never started.
    Forgotten,
}

/// What the host is told once a container's devices are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    Exited {
        code: u8,
        oom_killed: bool,
    },
    /// It never started.
    Failed {
        request: u64,
        error: AgentError,
    },
}

impl Container {
    pub(super) fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().ok_or_else(|| failure(ErrorCode::NotFound, "the container has not started"))
    }

    pub(super) fn had_oom_kill(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::had_oom_kill)
    }

    pub(super) fn is_releasing(&self) -> bool {
        matches!(self.stage, Stage::Releasing { .. })
    }
}

#[derive(Debug)]
pub(super) struct Process {
    /// Stands for it where a number is needed.
    pub key: u32,
    pub name: ProcessRef,
    pub pid: Pid,
    pub handle: OwnedFd,
    pub progress: Progress,
    /// The stream for the terminal that the process is about to make.
    pub waiting_stream: Option<OwnedFd>,
    /// Its relays, and which of them is a terminal.
    pub relays: Vec<u32>,
    pub terminal: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Progress {
    Starting { request: u64, report: Receiver },
    Failed { request: u64, error: AgentError },
    Running,
}

impl Agent {
    pub(super) fn container(&self, id: &ContainerId) -> Result<&Container> {
        let found = self.containers.iter().find(|container| container.id == *id);
        found.ok_or_else(|| failure(ErrorCode::NotFound, "no such container in this VM"))
    }

    /// A container of which something can still be asked.
    pub(super) fn living_container(&self, id: &ContainerId) -> Result<&Container> {
        match self.container(id)? {
            container if matches!(container.stage, Stage::Alive) => Ok(container),
            _ => Err(failure(ErrorCode::NotFound, "the container has ended")),
        }
    }

    pub(super) fn process(&self, name: &ProcessRef) -> Result<&Process> {
        let found = self.processes.iter().find(|process| process.name == *name);
        found.ok_or_else(|| failure(ErrorCode::NotFound, "no such process, or it has ended"))
    }
}
