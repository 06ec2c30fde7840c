//! User namespaces (user_namespaces(7)).
//!
//! A namespace of users must own the container's other namespaces, so it comes first; but only root of the VM may mount
//! the disks, and write the mapping of ids. So two processes take part:
//!
//! ```text
//!   agent ──clone──> helper            a mount namespace of its own
//!                      │ mounts the root
//!                      ├──clone──> first process    user, PID, network, IPC, UTS namespaces; a child of the agent
//!                      │ writes its mappings          │ waits
//!                      ├────── go ──────────────────> │
//!                      x                              │ a copy of the helper's mount namespace, and on
//! ```

use crate::document::{IdMapping, Linux};
use crate::error::{Context, Result, internal, invalid};
use crate::namespaces::{Child, Forked, Parent, fork};
use crate::report::Sender;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, pipe2, read, setresgid, setresuid, setsid, write};
use std::fmt::Write;
use std::fs;
use std::os::fd::OwnedFd;

/// Lines that the kernel takes (user_namespaces(7)).
const MOST_LINES: usize = 340;

/// Which ids of the namespace stand for which of the VM's, in the form of `/proc/PID/uid_map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMappings {
    users: String,
    groups: String,
}

impl IdMappings {
    pub(super) fn new(linux: &Linux) -> Result<Self> {
        Ok(Self { users: lines(&linux.uid_mappings)?, groups: lines(&linux.gid_mappings)? })
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> &str {
        &self.users
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> &str {
        &self.groups
    }
}

fn lines(mappings: &[IdMapping]) -> Result<String> {
    if mappings.is_empty() || mappings.len() > MOST_LINES {
        return Err(invalid(format!(
            "a user namespace needs a mapping of 1 to {MOST_LINES} lines for users and groups"
        )));
    }
    let mut lines = String::new();
    for IdMapping { container_id, host_id, size } in mappings {
        writeln!(lines, "{container_id} {host_id} {size}").map_err(|error| internal(error.to_string()))?;
    }
    Ok(lines)
}

/// In the helper, which has mounted the root: goes on in a process of the new namespaces, which is root there. The
/// caller of this function is that process when it returns; the helper ends.
pub(super) fn go_on_inside(mappings: &IdMappings, namespaces: CloneFlags, report: &Sender) -> Result<()> {
    let what = || "cannot start a process in a user namespace".to_owned();
    let (waiting, go) = pipe2(OFlag::O_CLOEXEC).context(what)?;
    // The other namespaces are made after the one of users, and belong to it. The mount namespace must still be the
    // helper's while the mappings are written, and the cgroup namespace is that of the process, not of its parent.
    let later = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    let now = (namespaces - later) | CloneFlags::CLONE_NEWUSER;
    match fork(now, Parent::CallersParent, None).context(what)? {
        Forked::Parent(child) => end_helper(&child, mappings, report, &go),
        Forked::Child => {
            drop(go);
            wait_for_go(&waiting)?;
            setsid().context(what)?;
            become_root_of_the_namespace()?;
            unshare(CloneFlags::CLONE_NEWNS).context(what)
        }
    }
}

fn end_helper(child: &Child, mappings: &IdMappings, report: &Sender, go: &OwnedFd) -> ! {
    let pid = child.pid;
    let map = |file: &str, lines: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::write(&path, lines).context(|| format!("cannot write {lines:?} to {path}"))
    };
    let told = report
        .send_process(pid.as_raw())
        .and_then(|()| map("gid_map", &mappings.groups))
        .and_then(|()| map("uid_map", &mappings.users))
        .and_then(|()| write(go, b"!").map(drop).context(|| format!("cannot wake process {pid}")));
    // Without the word the child sees the end of the pipe, and ends.
    if let Err(error) = told {
        report.send_failure(&error);
    }
    super::setup::end()
}

fn wait_for_go(waiting: &OwnedFd) -> Result<()> {
    match read(waiting, &mut [0]) {
        Ok(1) => Ok(()),
        _ => super::setup::end(),
    }
}

/// Whatever ids the process had outside, it is root inside.
pub(super) fn become_root_of_the_namespace() -> Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    let done = setresgid(gid, gid, gid).and_then(|()| setresuid(uid, uid, uid));
    done.context(|| "cannot become root of the user namespace".to_owned())
}
