//! The birth of a container, phase by phase, in its own first process.

use super::devices::{self, Making};
use super::mounts::{MountPlan, PreparedMount};
use super::plan::ContainerPlan;
use super::root::{Copied, MountPoints, OldRoot};
use super::{network, paths, user};
use crate::cgroup::{Cgroup, DeviceProgram};
use crate::descriptors;
use crate::errand::Errand;
use crate::error::{Context, Result};
use crate::fatal;
use crate::namespaces::{Child, Forked, Parent, fork};
use crate::process::{Console, ProcessPlan, Role, raise_hard_limits};
use crate::report::Sender;
use crate::stdio::ChildStdio;
use nix::mount::mount;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{sethostname, setsid};
use std::convert::Infallible;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// All that a container comes into being from.
#[derive(Debug)]
pub struct Birth<'a> {
    /// What it shall be.
    pub plan: &'a ContainerPlan,
    /// Its root, which is being mounted.
    pub root: &'a Errand,
    /// Where it comes to lie.
    pub mount_points: &'a MountPoints,
    /// The child's side of its streams.
    pub stdio: &'a ChildStdio,
    /// Where to say what became of it.
    pub report: &'a Sender,
    /// Its control group.
    pub cgroup: &'a Cgroup,
    /// Its device rules.
    pub rules: Option<&'a DeviceProgram>,
}

/// Forks the process that becomes the container's first one, or its helper.
///
/// # Errors
/// The kernel's.
pub fn start(birth: &Birth<'_>) -> nix::Result<Child> {
    // The cgroup namespace is that of the process itself, so it comes when the process is in its cgroup.
    let namespaces = match birth.plan.user_namespace {
        None => birth.plan.namespaces - CloneFlags::CLONE_NEWCGROUP,
        Some(_) => CloneFlags::CLONE_NEWNS,
    };
    match fork(namespaces, Parent::Caller, Some(birth.cgroup.as_fd()))? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => report_failure_of(birth.report, || birth.carry_out()),
    }
}

/// Runs what should end in `execve`, and reports why it did not.
pub(super) fn report_failure_of(report: &Sender, become_process: impl FnOnce() -> Result<Infallible>) -> ! {
    fatal::report_to_agent(report.as_fd().as_raw_fd());
    let Err(error) = become_process();
    report.send_failure(&error);
    end()
}

/// Ends a child of the agent, without what the agent would do at its own end.
pub(super) fn end() -> ! {
    fatal::end_child()
}

impl Birth<'_> {
    fn carry_out(&self) -> Result<Infallible> {
        let plan = self.plan;
        leave_the_agent(self.stdio, &self.descriptors())?;
        adjust_oom_score(&plan.process)?;
        let (mounts, copied) = match &plan.user_namespace {
            None => {
                let mounts = self.prepare()?;
                self.mount_points.receive(self.root)?;
                (mounts, Copied::No)
            }
            Some(mappings) => {
                self.mount_points.receive(self.root)?;
                raise_hard_limits(&plan.process.limits)?;
                self.apply_device_rules()?;
                user::go_on_inside(mappings, plan.namespaces, self.report)?;
                (self.prepare()?, Copied::IntoUserNamespace)
            }
        };
        let old_root = self.mount_points.enter(copied)?;
        plan.process.read_ahead();
        let console = self.furnish(&mounts, &old_root, copied)?;
        drop(mounts);
        old_root.leave()?;
        if copied == Copied::No {
            self.apply_device_rules()?;
        }
        if let Some(console) = console {
            console.adopt()?;
        }
        // Nothing of the VM may be within reach of what the image names from here on.
        let kept = [self.report.as_fd().as_raw_fd()];
        descriptors::close_all_but(&kept).context(|| "cannot close the VM's descriptors".to_owned())?;
        plan.process.become_it(if plan.init { Role::FirstBelowInit } else { Role::First })
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let rules = self.rules.map(|rules| rules.as_fd().as_raw_fd());
        let needed = [self.report.as_fd(), self.cgroup.as_fd(), self.root.as_fd()];
        needed.iter().map(AsRawFd::as_raw_fd).chain(rules).collect()
    }

    /// From here on the container's own devices are the only ones that it can open.
    fn apply_device_rules(&self) -> Result<()> {
        self.rules.map_or(Ok(()), |rules| rules.attach(self.cgroup.as_fd()))
    }

    /// What needs no root: the container's namespaces, and the file systems that come to lie on its root.
    fn prepare(&self) -> Result<Vec<PreparedMount<'_>>> {
        let plan = self.plan;
        if plan.namespaces.contains(CloneFlags::CLONE_NEWNET) {
            network::bring_loopback_up()?;
        }
        if let Some(name) = &plan.hostname {
            sethostname(name).context(|| format!("cannot set the host name {name:?}"))?;
        }
        if plan.namespaces.contains(CloneFlags::CLONE_NEWCGROUP) {
            unshare(CloneFlags::CLONE_NEWCGROUP).context(|| "cannot make a cgroup namespace".to_owned())?;
        }
        plan.mounts.iter().map(|mount| mount.prepare(self.mount_points.staging())).collect()
    }

    /// Everything in the new root that is not the image's: file systems, devices, what is hidden.
    fn furnish(&self, mounts: &[PreparedMount<'_>], old_root: &OldRoot, copied: Copied) -> Result<Option<Console>> {
        let plan = self.plan;
        if let Some(propagation) = plan.root_propagation {
            let set = mount(None::<&str>, "/", None::<&str>, propagation, None::<&str>);
            set.context(|| "cannot set the propagation of the root file system".to_owned())?;
        }
        // Modes are meant as they stand.
        umask(Mode::empty());
        let (proc, others): (Vec<_>, Vec<_>) = mounts.iter().partition(|mount| mount.brings_proc(&plan.mounts));
        others.iter().try_for_each(|mount| mount.make(old_root))?;
        if !plan.mounts.iter().any(MountPlan::brings_foreign_dev) {
            let making = if copied == Copied::No { Making::Nodes } else { Making::Mounts(old_root) };
            devices::make_all(&plan.devices, making)?;
        }
        let console = self.make_console()?;
        if plan.root_is_read_only {
            plan.process.make_working_directory()?;
        }
        proc.iter().try_for_each(|mount| mount.make(old_root))?;
        self.set_kernel_parameters()?;
        plan.mounts.iter().try_for_each(MountPlan::finish)?;
        paths::make_read_only(&plan.read_only_paths)?;
        paths::mask(&plan.masked_paths, old_root)?;
        if plan.root_is_read_only {
            paths::make_root_read_only()?;
        }
        Ok(console)
    }

    fn make_console(&self) -> Result<Option<Console>> {
        let ChildStdio::Terminal(size) = self.stdio else { return Ok(None) };
        let console = Console::create(*size)?;
        console.mount_on_dev_console()?;
        self.report.send_terminal(console.master())?;
        Ok(Some(console))
    }

    fn set_kernel_parameters(&self) -> Result<()> {
        let plan = self.plan;
        if let Some(name) = &plan.domain_name {
            let path = "/proc/sys/kernel/domainname";
            fs::write(path, name).context(|| format!("cannot set the domain name {name:?}"))?;
        }
        plan.sysctls.iter().try_for_each(|(path, value)| {
            fs::write(path, value).context(|| format!("cannot write {value:?} to {}", path.display()))
        })
    }
}

/// A forked child begins a life of its own: session, signals, standard streams, no descriptor of the agent's but those
/// that are named.
pub(super) fn leave_the_agent(stdio: &ChildStdio, kept: &[RawFd]) -> Result<()> {
    let what = || "cannot leave the agent".to_owned();
    setsid().context(what)?;
    reset_signals().context(what)?;
    stdio.install()?;
    descriptors::close_all_but(kept).context(what)
}

#[expect(unsafe_code, reason = "setting a signal's disposition")]
fn reset_signals() -> nix::Result<()> {
    // Ignored by Rust's runtime, and the one disposition that neither clone3 nor execve resets.
    // SAFETY: the default disposition runs no code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, SigHandler::SigDfl)? };
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// While the kernel's own /proc is at hand: a container's may not be mounted, or be somebody else's.
pub(super) fn adjust_oom_score(process: &ProcessPlan) -> Result<()> {
    let Some(adjustment) = process.oom_score_adjustment else { return Ok(()) };
    let path = "/proc/self/oom_score_adj";
    fs::write(path, adjustment.to_string()).context(|| format!("cannot write {adjustment} to {path}"))
}
