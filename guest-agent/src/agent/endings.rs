//! The ends of processes, of containers, and of the VM.

use super::tables::{Container, News, Progress, Stage};
use super::{Agent, End};
use crate::cgroup::Cgroup;
use crate::disks::Disks;
use crate::error::Result;
use crate::{fatal, reap};
use hull_protocol::agent::{AgentError, Event, Outcome, ProcessRef};
use nix::errno::Errno;
use nix::unistd::{Pid, sync};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a file system may stay mounted after the last process of its container is gone. The kernel unmounts within
/// the exit of that process; work that it does later (io_uring's) can hold a file a little longer.
const RELEASE: Duration = Duration::from_secs(30);

/// How long killed containers may take to end when the VM ends.
const LAST_ENDINGS: Duration = Duration::from_secs(40);

impl Agent {
    /// Takes note of every process that has ended; those that are nobody's are orphans of the VM.
    pub(super) fn reap(&mut self) -> Result<()> {
        // A child's last report is older than its end.
        let starting = self.processes.iter().filter(|process| matches!(process.progress, Progress::Starting { .. }));
        let starting: Vec<_> = starting.map(|process| process.key).collect();
        starting.into_iter().try_for_each(|key| self.read_report(key))?;
        while let Some(ended) = reap::next() {
            let Some(key) = self.key_of(ended.pid) else { continue };
            // It may have said more meanwhile: that another process has taken its place, for one.
            self.read_report(key)?;
            if let Some(at) = self.processes.iter().position(|process| process.pid == ended.pid) {
                self.process_ended(at, ended.code)?;
            }
        }
        Ok(())
    }

    fn key_of(&self, pid: Pid) -> Option<u32> {
        self.processes.iter().find(|process| process.pid == pid).map(|process| process.key)
    }

    pub(super) fn process_ended(&mut self, at: usize, code: u8) -> Result<()> {
        let process = self.processes.swap_remove(at);
        let failed = match process.progress {
            Progress::Running => None,
            Progress::Failed { request, error } => Some((request, error)),
            // The helper of a user namespace was killed before there was anything else.
            Progress::Starting { request, .. } => {
                let message = format!("the process ended with status {code} while it was being set up");
                Some((request, crate::error::internal(message)))
            }
        };
        if failed.is_some() {
            // Their peers are of no use to anybody.
            process.relays.iter().for_each(|relay| self.relays.remove(*relay));
        }
        match (process.name.exec.is_none(), failed) {
            (true, failed) => match self.container_ended(&process.name, code, failed) {
                Some(at) if self.containers[at].discard => self.announce(at),
                _ => self.release_disks(),
            },
            (false, Some((request, error))) => self.answer(request, Err(error)),
            (false, None) => {
                let container = self.container(&process.name.container);
                let oom_killed = container.is_ok_and(Container::had_oom_kill);
                self.tell(Event::Exited { process: process.name, code, oom_killed })
            }
        }
    }

    fn container_ended(&mut self, name: &ProcessRef, code: u8, failed: Option<(u64, AgentError)>) -> Option<usize> {
        let at = self.containers.iter().position(|container| container.id == name.container)?;
        let container = &mut self.containers[at];
        let news = match failed {
            Some((request, error)) => News::Failed { request, error },
            None => News::Exited { code, oom_killed: container.had_oom_kill() },
        };
        container.stage = Stage::Releasing { since: Instant::now(), news };
        Some(at)
    }

    /// Gives up the devices of containers that have ended. A device that can be given up is not mounted any more: all
    /// that was written has reached the host, and only then the host is told.
    pub(super) fn release_disks(&mut self) -> Result<()> {
        for at in 0..self.containers.len() {
            let container = &mut self.containers[at];
            let Stage::Releasing { since, .. } = container.stage else { continue };
            match container.give_up(&mut *self.disks) {
                Ok(()) => self.announce(at)?,
                Err((_, Errno::EBUSY)) if since.elapsed() < RELEASE => {}
                Err((what, error)) => {
                    self.warn(format!("{what} of an ended container cannot be given up: {}", error.desc()))?;
                    self.announce(at)?;
                }
            }
        }
        self.containers.retain(|container| !matches!(container.stage, Stage::Forgotten));
        Ok(())
    }

    fn announce(&mut self, at: usize) -> Result<()> {
        let container = &mut self.containers[at];
        let id = container.id.clone();
        let Stage::Releasing { news, .. } = std::mem::replace(&mut container.stage, Stage::Ended) else {
            return Ok(());
        };
        match news {
            News::Exited { code, oom_killed } => {
                let process = ProcessRef { container: id, exec: None };
                self.tell(Event::Exited { process, code, oom_killed })
            }
            News::Failed { request, error } => {
                container.stage = Stage::Forgotten;
                self.answer(request, Err(error))
            }
        }
    }

    /// The end that was asked for, once everything else has ended.
    pub(super) fn end_if_asked(&mut self) -> Result<Option<End>> {
        let Some(ending) = self.ending else { return Ok(None) };
        let all_ended = self.containers.iter().all(|container| matches!(container.stage, Stage::Ended));
        if !(all_ended && self.processes.is_empty()) && ending.asked.elapsed() < LAST_ENDINGS {
            return Ok(None);
        }
        sync();
        self.answer(ending.request, Ok(Outcome::Done))?;
        while !self.control.is_flushed() {
            self.watch.wait(None)?;
            self.control.flush()?;
        }
        fatal::wait_for_the_host(self.control.as_fd());
        Ok(Some(End::Asked))
    }
}

impl Container {
    fn remove_cgroup(&self) -> Result<(), (String, Errno)> {
        let removed = self.cgroup.as_ref().map_or(Ok(()), Cgroup::remove);
        removed.map_err(|error| ("the control group".to_owned(), error))
    }

    /// Gives up its devices, and its control group if it never started: then no request to remove it follows.
    fn give_up(&mut self, disks: &mut dyn Disks) -> Result<(), (String, Errno)> {
        while let Some(device) = self.devices.last() {
            disks.detach(device).map_err(|error| (format!("the device {}", device.name), error))?;
            self.devices.pop();
        }
        match self.stage {
            // A helper of its first process may still be on its way out.
            Stage::Releasing { news: News::Failed { .. }, .. } => self.remove_cgroup(),
            _ => Ok(()),
        }
    }
}
