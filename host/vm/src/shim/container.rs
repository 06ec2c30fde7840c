//! The life of one container in a VM, from the request to start it until its end is recorded; one thread each.
//!
//! ```text
//!   enter VM ─> map disks, make streams ─> guest is up ─> agent starts it ─> record: running ─> answer the client
//!      wait for its end and the rest of its output ─> give disks and ports back, or end the VM that was its own
//!      ─> record: exited, or remove it ─> tell clients
//! ```
//! Clients hear of the end after everything else is done, so that a command that returns leaves nothing behind.

use super::agent::CallError;
use super::disks::{DiskError, Mounted};
use super::life::{Member, VmGone};
use super::process::{Client, Exit, Patience, Process};
use super::roster::{Container, Settings};
use super::stdio::{Ports, StdioError, Wanted};
use super::vmm_link::VmmError;
use super::{REQUEST, Shim};
use crate::text;
use hull_protocol::agent::{ContainerRef, ErrorCode, ProcessRef, Request, SignalProcess, StartContainer, TerminalSize};
use hull_protocol::session::Ended;
use hull_protocol::shim::{ContainerPlan, ShimError, ShimErrorCode};
use hull_state::log::{Limits, LogWriter};
use hull_state::{ContainerDir, ContainerState, StateError, Status};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// From the request to the running process: mounts, on a software CPU, with a journal to replay.
const START: Duration = Duration::from_secs(60);

/// How long output may follow a container's end; the agent has closed its streams by then.
const PATIENCE: Patience = Patience { quiet: Duration::from_secs(5), total: Duration::from_secs(60) };

/// From `SIGKILL` to the end of the container: its file systems are synced in between, for which the agent takes half a
/// minute at most.
pub const KILL: Duration = Duration::from_secs(40);

const SIGKILL: u8 = 9;

/// Why a container does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It is there already.
    #[error("container {0} runs already")]
    Runs(String),
    /// A VM that belongs to one container takes no second.
    #[error("this VM belongs to another container")]
    Foreign,
    /// The VM is ending.
    #[error(transparent)]
    Gone(#[from] VmGone),
    /// Its files.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its streams.
    #[error(transparent)]
    Stdio(#[from] StdioError),
    /// Its record.
    #[error(transparent)]
    State(#[from] StateError),
    /// The guest.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Whether the VM has died, whoever noticed it.
    fn is_vm_gone(&self) -> bool {
        matches!(
            self,
            Self::Gone(_)
                | Self::Call(CallError::Gone)
                | Self::Disk(DiskError::Vmm { source: VmmError::Gone, .. })
                | Self::Stdio(StdioError::Vmm(VmmError::Gone))
        )
    }
}

fn shim_code(error: &StartError) -> ShimErrorCode {
    match error {
        StartError::Runs(_) => ShimErrorCode::AlreadyExists,
        StartError::Gone(_) => ShimErrorCode::VmGone,
        StartError::Call(error) => super::call_code(error),
        _ => ShimErrorCode::Internal,
    }
}

impl From<StartError> for ShimError {
    fn from(error: StartError) -> Self {
        Self { code: shim_code(&error), message: text::chain(&error) }
    }
}

/// Starts a container. When this returns, it runs and that is recorded, or it failed and that is.
///
/// # Errors
/// See [`StartError`], for the client.
pub fn start(
    shim: &Arc<Shim>,
    plan: ContainerPlan,
    client: Option<Client>,
    size: Option<TerminalSize>,
) -> Result<(u32, Arc<Container>), ShimError> {
    if !shim.admits(&plan.container) {
        return Err(StartError::Foreign.into());
    }
    let member = shim.life.enter().map_err(StartError::from)?;
    let dir = shim.state.container(&plan.container);
    let (log, no_log) = match LogWriter::open(&dir.log_dir(), Limits::default()) {
        Ok(log) => (Some(log), None),
        Err(error) => (None, Some(error)),
    };
    let settings = Settings {
        tty: plan.tty,
        stdin_once: plan.stdin_once,
        stop_signal: plan.stop_signal,
        stop_timeout_seconds: plan.stop_timeout_seconds,
    };
    let container = Arc::new(Container::new(plan.container.clone(), Arc::new(Process::new(log, client)), settings));
    if !shim.roster.add(&container) {
        return Err(StartError::Runs(plan.container.short().to_owned()).into());
    }
    let (started, result) = channel();
    let run = Run {
        shim: Arc::clone(shim),
        container: Arc::clone(&container),
        dir,
        plan,
        size,
        ports: Ports::default(),
        mounted: None,
        asked: false,
    };
    super::thread("container", move || run.live(member, started, no_log)).map_err(|error| {
        shim.roster.remove(&container.id);
        StartError::Thread(error)
    })?;
    let pid = wait_for(&result)?;
    Ok((pid, container))
}

type Started = Result<u32, StartError>;

fn wait_for(result: &Receiver<Started>) -> Result<u32, StartError> {
    // A thread that ends without a word has panicked; in a release build the shim is gone with it.
    result.recv().unwrap_or_else(|_| Err(VmGone("the container's thread has died".to_owned()).into()))
}

struct Run {
    shim: Arc<Shim>,
    container: Arc<Container>,
    dir: ContainerDir,
    plan: ContainerPlan,
    size: Option<TerminalSize>,
    ports: Ports,
    mounted: Option<Mounted>,
    /// The agent was asked to start it.
    asked: bool,
}

impl Run {
    fn live(mut self, member: Member, started: Sender<Started>, no_log: Option<StateError>) {
        let launched = no_log.map_or(Ok(()), |error| Err(error.into())).and_then(|()| self.launch());
        match launched {
            Ok(pid) => {
                // The client may have left.
                let _ = started.send(Ok(pid));
                drop(started);
                // Waiting for the container's end, which may be days away, takes little of it.
                hull_platform::memory::release_code();
                let exit = self.container.process.wait(PATIENCE);
                self.end(member, &exit);
            }
            Err(error) => {
                let error = self.fail(member, error);
                let _ = started.send(Err(error));
            }
        }
    }

    /// Prepares everything while the guest may still be booting, then starts the container and records that it runs.
    fn launch(&mut self) -> Result<u32, StartError> {
        let shim = Arc::clone(&self.shim);
        let mounted = shim.disks.mount(&shim.vmm, &self.plan.image, &self.dir.data_path(), self.plan.auto_remove)?;
        let root = self.mounted.insert(mounted).root.clone();
        let wanted = Wanted { terminal: self.plan.tty.then_some(self.size), stdin: self.plan.open_stdin, output: true };
        let stdio = self.ports.connect(&shim.vmm, &self.container.process, wanted)?;
        shim.life.wait_up()?;
        let request = StartContainer {
            container: self.plan.container.clone(),
            spec: self.plan.spec.clone(),
            root,
            user: self.plan.user.clone(),
            init: self.plan.init,
            discard: shim.own && self.plan.auto_remove,
            stdio,
        };
        self.asked = true;
        let pid = shim.agent.start_process(Request::Start(Box::new(request)), START)?;
        self.record_start(pid)?;
        Ok(pid)
    }

    fn record_start(&self, pid: u32) -> Result<(), StateError> {
        self.dir.write_state(&ContainerState {
            status: Status::Running,
            vm: Some(self.shim.vm.id().clone()),
            pid: Some(pid),
            started_at: Some(jiff::Timestamp::now()),
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            error: None,
        })
    }

    /// Undoes a start that failed, and records why.
    fn fail(mut self, member: Member, error: StartError) -> StartError {
        // What a VM died of is known once it is dead; to leave it before would pass for the reason.
        let gone = error.is_vm_gone().then(|| self.shim.life.wait_ended());
        self.leave(Leaving::Forced);
        let error = gone.map_or(error, |VmGone(why)| VmGone(self.with_logs(why)).into());
        let exit_code = shim_code(&error).exit_status();
        self.record(|state| ContainerState {
            status: Status::Created,
            vm: None,
            pid: None,
            exit_code,
            error: Some(text::chain(&error)),
            ..state
        });
        self.depart(member);
        self.container.process.finish(&Ended { code: exit_code, reason: None });
        self.container.gate.open(exit_code);
        error
    }

    fn end(mut self, member: Member, exit: &Exit) {
        self.container.end_execs(exit.error.as_deref());
        self.leave(Leaving::Ended);
        let error = exit.error.clone().map(|why| self.with_logs(why));
        let unrecorded = self.record(|state| ContainerState {
            status: Status::Exited,
            vm: None,
            pid: None,
            finished_at: Some(jiff::Timestamp::now()),
            exit_code: exit.code,
            oom_killed: exit.oom_killed,
            error: error.clone(),
            ..state
        });
        self.depart(member);
        let oom = exit.oom_killed.then(|| "the memory limit was reached".to_owned());
        let reason = error.or(oom).or(unrecorded);
        self.container.process.finish(&Ended { code: exit.code, reason });
        self.container.gate.open(exit.code);
    }

    /// Gives back what the container has of the VM, or ends the VM that was its own: what it wrote has reached the host.
    fn leave(&mut self, how: Leaving) {
        let shim = &self.shim;
        if shim.own {
            shim.end();
        }
        if shim.life.is_ending() {
            shim.life.wait_ended();
            return;
        }
        if how == Leaving::Forced && self.asked {
            self.kill_what_may_run();
        }
        std::mem::take(&mut self.ports).cancel(&shim.vmm);
        let removed = if self.asked { self.remove_from_guest() } else { Ok(()) };
        match (removed, self.mounted.take()) {
            (Ok(()), Some(mounted)) => shim.disks.unmount(&shim.vmm, &mounted),
            (Ok(()), None) | (Err(CallError::Gone), _) => {}
            // Its disks may still be in use: they stay mapped until the VM ends.
            (Err(error), _) => log::error!("container {:?} stays in the VM: {error}", self.container.id),
        }
    }

    /// Why the VM ended, and where more about it can be read, if it was not meant to end.
    fn with_logs(&self, why: String) -> String {
        let unmeant = self.shim.life.reason().is_some();
        let logs = match (self.shim.own, self.plan.auto_remove) {
            (false, _) => unmeant.then(|| self.shim.vm.keep_logs(None)).flatten(),
            (true, false) => unmeant.then(|| self.shim.vm.keep_logs(Some(&self.dir))).flatten(),
            // They go with the VM, and the container too.
            (true, true) => None,
        };
        logs.map_or(why.clone(), |logs| format!("{why}; see {}", logs.display()))
    }

    fn remove_from_guest(&self) -> Result<(), CallError> {
        let name = ContainerRef { container: self.container.id.clone() };
        match self.shim.agent.order(Request::Remove(name), REQUEST) {
            // After a start that failed, the agent has nothing to remove.
            Err(CallError::Agent(error)) if error.code == ErrorCode::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// After a start that failed late, or without an answer.
    fn kill_what_may_run(&self) {
        let process = ProcessRef { container: self.container.id.clone(), exec: None };
        let signal = SignalProcess { process, signal: SIGKILL };
        if self.shim.agent.order(Request::Signal(signal), REQUEST).is_ok() {
            self.container.process.wait_exit(KILL);
        }
    }

    /// Writes the container's state, or removes it if it is to be removed; what went wrong, in one line.
    fn record(&self, change: impl FnOnce(ContainerState) -> ContainerState) -> Option<String> {
        let recorded = if self.plan.auto_remove {
            self.dir.clone().remove()
        } else {
            self.dir.state().and_then(|state| self.dir.write_state(&change(state)))
        };
        let error = text::chain(&recorded.err()?);
        log::error!("the end of container {:?} is not recorded: {error}", self.container.id);
        Some(error)
    }

    /// The VM may be cleared away now, as far as this container is concerned.
    fn depart(&self, member: Member) {
        self.shim.roster.remove(&self.container.id);
        drop(member);
        self.shim.recount();
        if self.shim.life.is_ending() {
            self.shim.life.wait_gone();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Its first process has ended.
    Ended,
    /// Something may still run.
    Forced,
}
