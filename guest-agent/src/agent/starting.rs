//! Starting containers and processes, up to the moment when their program runs.

use super::Agent;
use super::tables::{Container, News, Process, Progress, Stage};
use super::watch::Token;
use crate::cgroup::{Cgroup, DeviceProgram};
use crate::container::{self, Addition, Birth, ContainerPlan};
use crate::document::{self, Unread};
use crate::errand::Errand;
use crate::error::{Result, errno, failure, invalid};
use crate::namespaces::{Child, ForkError, pidfd_open};
use crate::process::ProcessPlan;
use crate::relay::Relay;
use crate::report::{self, Message, Receiver};
use crate::stdio::{self, AgentStdio};
use hull_protocol::ContainerId;
use hull_protocol::agent::{AgentError, ErrorCode, ExecProcess, Outcome, ProcessRef, StartContainer};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// A container whose first process is on its way.
struct Born {
    cgroup: Cgroup,
    namespaces: CloneFlags,
    child: Child,
    report: Receiver,
    stdio: AgentStdio,
}

/// A process on its way, and the agent's side of it.
struct Forked {
    request: u64,
    name: ProcessRef,
    child: Child,
    report: Receiver,
    stdio: AgentStdio,
}

impl Agent {
    /// Begins to start a container; the answer follows when its program runs. An error of the outer kind ends the agent.
    pub(super) fn start_container(&mut self, request: u64, start: StartContainer<Unread>) -> Result<Result<()>> {
        let forked = self.fork_container(request, start);
        self.watch_forked(forked)
    }

    /// Begins to start one more process, in the same manner.
    pub(super) fn start_process(&mut self, request: u64, exec: ExecProcess<Unread>) -> Result<Result<()>> {
        let forked = self.fork_process(request, exec).map(Some);
        self.watch_forked(forked)
    }

    fn watch_forked(&mut self, forked: Result<Option<Forked>, Failure>) -> Result<Result<()>> {
        match forked {
            Err(Failure::Request(error)) => Ok(Err(error)),
            Err(Failure::Agent(error)) => Err(error),
            // Nobody but the agent could take care of it.
            Ok(forked) => forked.map_or(Ok(()), |forked| self.watch_process(forked)).map(Ok),
        }
    }

    /// None if the start has failed, but the answer has to wait: what was begun for the container is being given up.
    fn fork_container(&mut self, request: u64, start: StartContainer<Unread>) -> Result<Option<Forked>, Failure> {
        self.refuse_while_ending()?;
        if self.container(&start.container).is_ok() {
            return Err(failure(ErrorCode::AlreadyExists, "the container exists already in this VM").into());
        }
        let devices = self.disks.attach(&start.container, &start.root)?;
        let forked = match self.mount_points.mount(&devices) {
            Ok(root) => self.bear_container(&start, &root),
            Err(error) => Err(error.into()),
        };
        let mut container = Container {
            id: start.container.clone(),
            cgroup: None,
            namespaces: CloneFlags::empty(),
            // The last one is given up first: it is the one that needs to be written to.
            devices: vec![devices.image, devices.data],
            discard: start.discard,
            root: None,
            stage: Stage::Alive,
        };
        let forked = match forked {
            Ok(born) => {
                (container.cgroup, container.namespaces) = (Some(born.cgroup), born.namespaces);
                let name = ProcessRef { container: start.container, exec: None };
                Some(Forked { request, name, child: born.child, report: born.report, stdio: born.stdio })
            }
            Err(Failure::Agent(error)) => return Err(Failure::Agent(error)),
            Err(Failure::Request(error)) => {
                // The errand ends by itself; until then it may have the devices mounted.
                container.stage = Stage::Releasing { since: Instant::now(), news: News::Failed { request, error } };
                None
            }
        };
        self.containers.push(container);
        Ok(forked)
    }

    /// Everything that goes on while the root is being mounted, up to the container's first process.
    fn bear_container(&mut self, start: &StartContainer<Unread>, root: &Errand) -> Result<Born, Failure> {
        let plan = ContainerPlan::new(document::read(&start.spec)?, &start.user, start.init)?;
        let rules = DeviceProgram::load(&plan.device_rules)?;
        let (child_stdio, stdio) = stdio::prepare(&start.stdio, &*self.dial)?;
        let (sender, report) = report::pair()?;
        if let Some(settling) = self.settling.take() {
            settling.wait().map_err(Failure::Agent)?;
        }
        let cgroup = self.cgroups.create(&start.container, &plan.settings)?;
        let birth = Birth {
            plan: &plan,
            root,
            mount_points: &self.mount_points,
            stdio: &child_stdio,
            report: &sender,
            cgroup: &cgroup,
            rules: rules.as_ref(),
        };
        let users = if plan.user_namespace.is_some() { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
        match container::start(&birth) {
            Ok(child) => Ok(Born { namespaces: plan.namespaces | users, cgroup, child, report, stdio }),
            Err(error) => {
                // Nothing was in it.
                let _unused = cgroup.remove();
                Err(errno(ErrorCode::Internal, "cannot start a process", error).into())
            }
        }
    }

    fn fork_process(&self, request: u64, exec: ExecProcess<Unread>) -> Result<Forked, Failure> {
        self.refuse_while_ending()?;
        if exec.process.exec.is_none() {
            return Err(invalid("a further process needs a name").into());
        }
        let (container, first) = self.running_container(&exec.process.container)?;
        let cgroup = container.cgroup()?;
        if self.process(&exec.process).is_ok() {
            return Err(failure(ErrorCode::AlreadyExists, "the process exists already").into());
        }
        let plan = ProcessPlan::new(document::read(&exec.spec)?, &exec.user)?;
        let (child_stdio, stdio) = stdio::prepare(&exec.stdio, &*self.dial)?;
        let (sender, report) = report::pair()?;
        let mut addition = Addition {
            plan: &plan,
            first: first.handle.as_fd(),
            namespaces: container.namespaces,
            cgroup: cgroup.as_fd(),
            stdio: &child_stdio,
            report: &sender,
        };
        let mut forked = container::start_further(&addition);
        if forked.as_ref().is_err_and(|error| *error == ForkError::Failed(Errno::EBUSY)) {
            // The container has handed controllers on to groups of its own; processes can only be in those.
            let group: OwnedFd = cgroup.group_of(first.pid.as_raw().unsigned_abs())?;
            addition.cgroup = group.as_fd();
            forked = container::start_further(&addition);
        }
        let child = forked.map_err(Failure::from)?;
        Ok(Forked { request, name: exec.process, child, report, stdio })
    }

    /// A container whose program runs, and its first process.
    fn running_container(&self, id: &ContainerId) -> Result<(&Container, &Process)> {
        let container = self.living_container(id)?;
        let first = self.process(&ProcessRef { container: id.clone(), exec: None })?;
        match first.progress {
            Progress::Running => Ok((container, first)),
            _ => Err(failure(ErrorCode::NotFound, "the container has not started")),
        }
    }

    fn refuse_while_ending(&self) -> Result<()> {
        if self.ending.is_some() { Err(invalid("the VM is ending")) } else { Ok(()) }
    }

    /// Waits for a child's report from now on.
    fn watch_process(&mut self, forked: Forked) -> Result<()> {
        let Forked { request, name, child, report, stdio } = forked;
        self.last_key = self.last_key.wrapping_add(1);
        let key = self.last_key;
        let (relays, waiting_stream) = match stdio {
            AgentStdio::Relays(relays) => (relays, None),
            AgentStdio::Terminal(stream) => (Vec::new(), Some(stream)),
        };
        self.watch.add(&report, Token::Report(key))?;
        let progress = Progress::Starting { request, report };
        let Child { pid, handle } = child;
        self.processes.push(Process {
            key,
            name,
            pid,
            handle,
            progress,
            waiting_stream,
            relays: Vec::new(),
            terminal: None,
        });
        for relay in relays {
            let relay = self.add_relay(relay)?;
            if let Some(process) = self.process_by_key(key) {
                process.relays.push(relay);
            }
        }
        Ok(())
    }

    fn process_by_key(&mut self, key: u32) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.key == key)
    }

    /// Takes in all that a child has reported.
    pub(super) fn read_report(&mut self, key: u32) -> Result<()> {
        loop {
            let Some(process) = self.process_by_key(key) else { return Ok(()) };
            let Progress::Starting { request, report } = &process.progress else { return Ok(()) };
            let request = *request;
            match report.receive().unwrap_or_else(|error| Some(Message::Failed(error))) {
                None => return Ok(()),
                Some(Message::TakenOver(pid)) => self.take_over(key, pid)?,
                Some(Message::Terminal(master)) => self.connect_terminal(key, master)?,
                // Errands say so, to others.
                Some(Message::Done(_)) => {}
                Some(Message::Failed(error)) => {
                    process.progress = Progress::Failed { request, error };
                    return Ok(());
                }
                Some(Message::End) => {
                    process.progress = Progress::Running;
                    let pid = process.pid.as_raw().unsigned_abs();
                    let first = process.name.exec.is_none().then(|| process.name.container.clone());
                    self.hold_root(first.as_ref(), pid);
                    return self.answer(request, Ok(Outcome::Started { pid }));
                }
            }
        }
    }

    /// See [`Container::root`]. A process that has ended meanwhile has unmounted everything already.
    fn hold_root(&mut self, first_of: Option<&ContainerId>, pid: u32) {
        let container =
            self.containers.iter_mut().find(|container| container.discard && Some(&container.id) == first_of);
        if let Some(container) = container {
            let path = format!("/proc/{pid}/root");
            container.root = open(path.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok();
        }
    }

    /// The helper has made the process that matters from now on. The agent is the parent of that, too.
    fn take_over(&mut self, key: u32, pid: i32) -> Result<()> {
        let pid = Pid::from_raw(pid);
        let handle = pidfd_open(pid);
        let Some(process) = self.process_by_key(key) else { return Ok(()) };
        match handle {
            Ok(handle) => (process.pid, process.handle) = (pid, handle),
            // It was killed and reaped before the helper could say its name.
            Err(error) => {
                let error = errno(ErrorCode::Internal, "the container's first process was killed", error);
                self.start_failed(key, error)?;
            }
        }
        Ok(())
    }

    fn connect_terminal(&mut self, key: u32, master: OwnedFd) -> Result<()> {
        let Some(stream) = self.process_by_key(key).and_then(|process| process.waiting_stream.take()) else {
            return Ok(());
        };
        stdio::unblock(&master)?;
        let relay = self.add_relay(Relay::terminal(stream, master))?;
        if let Some(process) = self.process_by_key(key) {
            process.relays.push(relay);
            process.terminal = Some(relay);
        }
        Ok(())
    }

    fn start_failed(&mut self, key: u32, error: AgentError) -> Result<()> {
        let Some(at) = self.processes.iter().position(|process| process.key == key) else { return Ok(()) };
        if let Progress::Starting { request, .. } = self.processes[at].progress {
            self.processes[at].progress = Progress::Failed { request, error };
        }
        self.process_ended(at, 128 + 9)
    }
}

/// What becomes of a failure to start a process.
enum Failure {
    /// It is the answer to the request.
    Request(AgentError),
    /// The agent cannot go on.
    Agent(AgentError),
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Self::Request(error)
    }
}

impl From<ForkError> for Failure {
    fn from(error: ForkError) -> Self {
        match error {
            // What a PID namespace says whose first process is ending.
            ForkError::Failed(Errno::ENOMEM | Errno::ESRCH) => {
                Self::Request(failure(ErrorCode::NotFound, "the container is ending, or no memory is left"))
            }
            ForkError::Failed(error) => Self::Request(errno(ErrorCode::Internal, "cannot start a process", error)),
            ForkError::Stranded(error) => {
                Self::Agent(errno(ErrorCode::Internal, "cannot return from a container's PID namespace", error))
            }
        }
    }
}
