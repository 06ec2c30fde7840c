//! One more process in a running container: a child of the agent that enters the container's namespaces.

use super::setup::{adjust_oom_score, leave_the_agent, report_failure_of};
use super::user::become_root_of_the_namespace;
use crate::error::{Context, Result};
use crate::namespaces::{Child, ForkError, Forked, enter, fork_into};
use crate::process::{Console, ProcessPlan, Role, raise_hard_limits};
use crate::report::Sender;
use crate::stdio::ChildStdio;
use nix::sched::CloneFlags;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// All that it takes.
#[derive(Debug)]
pub struct Addition<'a> {
    /// What it shall be.
    pub plan: &'a ProcessPlan,
    /// The container's first process.
    pub first: BorrowedFd<'a>,
    /// The container's namespaces, that of users included.
    pub namespaces: CloneFlags,
    /// Its control group.
    pub cgroup: BorrowedFd<'a>,
    /// The child's side of its streams.
    pub stdio: &'a ChildStdio,
    /// Where to say what became of it.
    pub report: &'a Sender,
}

/// Forks the process.
///
/// # Errors
/// See [`ForkError`].
pub fn start_further(addition: &Addition<'_>) -> Result<Child, ForkError> {
    match fork_into(addition.first, Some(addition.cgroup))? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => report_failure_of(addition.report, || addition.carry_out()),
    }
}

impl Addition<'_> {
    fn carry_out(&self) -> Result<Infallible> {
        leave_the_agent(self.stdio, &[self.report.as_fd().as_raw_fd(), self.first.as_raw_fd()])?;
        adjust_oom_score(self.plan)?;
        let in_user_namespace = self.namespaces.contains(CloneFlags::CLONE_NEWUSER);
        if in_user_namespace {
            raise_hard_limits(&self.plan.limits)?;
        }
        // It is in the PID namespace from its birth.
        let namespaces = self.namespaces - CloneFlags::CLONE_NEWPID;
        enter(&self.first, namespaces).context(|| "cannot enter the container".to_owned())?;
        if in_user_namespace {
            become_root_of_the_namespace()?;
        }
        if let ChildStdio::Terminal(size) = self.stdio {
            let console = Console::create(*size)?;
            self.report.send_terminal(console.master())?;
            console.adopt()?;
        }
        self.plan.become_it(Role::Further)
    }
}
