//! The shim as a process: from its arguments to its exit status.

use super::agent::Agent;
use super::connections::Connections;
use super::console::{self, ConsoleLog, Tail};
use super::disks::Disks;
use super::findings::Fact;
use super::life::Life;
use super::roster::Roster;
use super::supervisor::{self, Children, LIMITS, Limits, VMM};
use super::vmm_link::{Vmm, VmmError};
use super::{AgentNews, Shim, VmmNews, server, stop};
use crate::control::Order;
use crate::{journal, text};
use hull_machine::backend::{Helper, MachineError};
use hull_machine::plan::MachinePlan;
use hull_platform::handle::Handle;
use hull_platform::lock::FileLock;
use hull_platform::process::{self, Child, Spawn, Stdio};
use hull_platform::signals::{self, LinuxSignal};
use hull_platform::socket::{LocalListener, LocalStream};
use hull_protocol::VmId;
use hull_protocol::agent::CONTROL_PORT;
use hull_protocol::start::{LOCK_DESCRIPTOR, READINESS_DESCRIPTOR, Readiness};
use hull_state::{Lifetime, StateError, StateRoot, VmDir, VmRecord};
use std::fs;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Descriptor of the control socket in the vmm.
pub const CONTROL: i32 = 3;

/// Why a VM could not be started.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("there is no backend {0:?}")]
    NoBackend(String),
}

fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> ShimError {
    let action = action.into();
    move |source| ShimError::Io { action, source }
}

/// Runs the shim of the VM `vm` in the state root `root` until the VM has ended; see the crate's documentation.
pub fn shim(root: &Path, vm: &VmId) -> ExitCode {
    hull_platform::memory::share_arena();
    journal::begin("shim");
    let (readiness, _lock) = match inherit() {
        Ok(inherited) => inherited,
        Err(error) => {
            eprintln!("hull shim is started by hull: {}", text::chain(&error));
            return ExitCode::FAILURE;
        }
    };
    match StateRoot::open(root).map_err(ShimError::from).and_then(|state| run(state, vm, &readiness)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = text::chain(&error);
            log::error!("{error}");
            // Whoever started us may be dead.
            let _ = (&readiness).write_all(Readiness::Failed(error).line().as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn inherit() -> Result<(LocalStream, FileLock), ShimError> {
    let take = |number| process::inherited(number).map_err(io(format!("take over descriptor {number}")));
    Ok((take(READINESS_DESCRIPTOR)?.into(), take(LOCK_DESCRIPTOR)?.into()))
}

fn run(state: StateRoot, vm: &VmId, mut readiness: &LocalStream) -> Result<(), ShimError> {
    // Not to hold on to a directory that somebody wants to unmount.
    std::env::set_current_dir("/").map_err(io("go to the root directory"))?;
    let vm = state.vm(vm);
    let record = vm.record::<MachinePlan>()?;
    let lifetime = record.lifetime;
    match start(state, vm.clone(), record) {
        Ok(running) => {
            // Whoever started us may be dead; then no container comes, and the VM ends.
            let _ = readiness.write_all(Readiness::Ready.line().as_bytes());
            running.until_gone(&LIMITS, Some(readiness));
            Ok(())
        }
        Err(error) => {
            clear_away(&vm, lifetime);
            Err(error)
        }
    }
}

/// Waits until whoever started us is connected, or dead: a VM that dies at once must still say why. As a rule the first
/// connection was long ago.
fn wait_for_starter(connections: &Connections, mut readiness: &LocalStream) {
    // It says nothing, so a read sees its end. One that is stuck is not waited for.
    let closed = readiness.set_read_timeout(Some(LIMITS.first_container)).and_then(|()| readiness.read(&mut [0]));
    match closed {
        // If it is not dead, its connection has been made, and is accepted at once.
        Ok(_) => connections.wait_for_first(LIMITS.settle),
        Err(error) => log::warn!("who started this VM does not connect: {error}"),
    }
}

/// A VM whose processes run.
pub(super) struct Running {
    pub(super) shim: Arc<Shim>,
    pub(super) children: Children,
    pub(super) news: Receiver<Fact>,
    pub(super) tail: Tail,
    pub(super) lifetime: Lifetime,
}

/// What its start needs until the parts are connected.
struct Begun {
    children: Children,
    console: PipeReader,
    control: LocalStream,
    handles: Vec<Handle>,
}

fn start(state: StateRoot, vm: VmDir, record: VmRecord<MachinePlan>) -> Result<Running, ShimError> {
    let (facts, news) = channel();
    let begun = begin(&record, &facts)?;
    let listener = listen(&vm)?;
    let (agent_here, agent_there) = LocalStream::pair().map_err(io("make the agent's connection"))?;
    let (life, roster) = (Life::new(), Arc::new(Roster::default()));
    let agent_news = AgentNews { life: Arc::clone(&life), roster: Arc::clone(&roster), facts: facts.clone() };
    let hostname = record.name.clone().unwrap_or_else(|| record.id.short().to_owned());
    let agent = Agent::start(agent_here, hostname, Arc::new(agent_news)).map_err(io("serve the agent"))?;
    let vmm_news = VmmNews { life: Arc::clone(&life), facts: facts.clone() };
    let tail = Tail::default();
    drain_console(begun.console, &vm, &tail, facts.clone())?;
    let shim = Arc::new(Shim {
        state,
        vm,
        own: record.lifetime == Lifetime::WithContainer,
        only: OnceLock::new(),
        idle_timeout: record.idle_timeout_seconds.map(Duration::from_secs),
        children: begun.children.ids().collect(),
        life,
        vmm: Vmm::start(begun.control, vmm_news).map_err(io("serve the vmm"))?,
        facts,
        roster,
        agent,
        disks: Disks::default(),
        connections: Arc::default(),
    });
    let lifetime = record.lifetime;
    begin_threads(&shim, listener, agent_there, record, begun.handles).map_err(io("start a thread"))?;
    Ok(Running { shim, children: begun.children, news, tail, lifetime })
}

/// Starts the processes. Called on the thread to which their lives are tied.
fn begin(record: &VmRecord<MachinePlan>, facts: &Sender<Fact>) -> Result<Begun, ShimError> {
    let backend = hull_machine::backend(&record.backend).ok_or_else(|| ShimError::NoBackend(record.backend.clone()))?;
    let (console, console_end) = io::pipe().map_err(io("make the console"))?;
    let mut children = Children::default();
    let prepared = backend.prepare(&record.machine, OwnedFd::from(console_end).into())?;
    let add_helper = |Helper { role, child, errors }| children.add(role, child, Some(errors), facts);
    let begun = prepared.helper.map_or(Ok(()), add_helper);
    let begun = begun.and_then(|()| {
        let (here, there) = LocalStream::pair()?;
        children.add(VMM, spawn_vmm(there)?, None, facts)?;
        Ok(here)
    });
    match begun {
        Ok(control) => Ok(Begun { children, console, control, handles: prepared.handles }),
        Err(error) => {
            children.kill();
            Err(io("start the vmm")(error))
        }
    }
}

fn spawn_vmm(control: LocalStream) -> io::Result<Child> {
    let vmm = Spawn::new(process::current_exe()?).arg("vmm").inherit(control, CONTROL);
    vmm.stderr(Stdio::Inherit).die_with_parent().spawn()
}

fn listen(vm: &VmDir) -> Result<LocalListener, ShimError> {
    let path = vm.socket_path();
    // One that is there is a dead shim's: we hold the lock.
    remove_file(&path);
    LocalListener::bind(&path).map_err(io(format!("listen at {}", path.display())))
}

fn drain_console(console: PipeReader, vm: &VmDir, tail: &Tail, facts: Sender<Fact>) -> Result<(), ShimError> {
    let path = vm.console_path();
    let log = ConsoleLog::create(&path, console::BOUNDS, Instant::now());
    let log = log.inspect_err(|error| log::error!("no console log: cannot create {}: {error}", path.display())).ok();
    let tail = tail.clone();
    let drained = super::thread("console", move || {
        let panicked = || drop(facts.send(Fact::Panicked));
        console::drain(console, log, &tail, panicked);
        let _ = facts.send(Fact::ConsoleEnded);
    });
    drained.map(drop).map_err(io("start a thread"))
}

fn begin_threads(
    shim: &Arc<Shim>,
    listener: LocalListener,
    agent: LocalStream,
    record: VmRecord<MachinePlan>,
    handles: Vec<Handle>,
) -> io::Result<()> {
    let launching = Arc::clone(shim);
    super::thread("launch", move || {
        match launch(&launching.vmm, agent, record, &handles) {
            // Something else tells why.
            Ok(()) | Err(VmmError::Gone) => {}
            Err(error) => launching.give_up(text::chain(&error)),
        }
    })?;
    let serving = Arc::clone(shim);
    super::thread("server", move || server::listen(&serving, &listener))?;
    let (asked, stopping) = (signals::subscribe(&[LinuxSignal::TERM])?, Arc::clone(shim));
    super::thread("signals", move || {
        if asked.recv().is_ok() {
            stop::stop_vm(&stopping);
        }
    })?;
    Ok(())
}

/// Has the vmm run the machine. The agent's connection is expected before the guest can make it.
fn launch(vmm: &Vmm, agent: LocalStream, record: VmRecord<MachinePlan>, handles: &[Handle]) -> Result<(), VmmError> {
    vmm.order(&Order::Expect { port: CONTROL_PORT }, &[&agent.into()])?;
    let handles: Vec<_> = handles.iter().collect();
    vmm.order(&Order::Launch { plan: record.machine, backend: record.backend }, &handles)
}

impl Running {
    /// Waits for the end of the VM, clears away what is left of it, and lets every client hear what it waits for.
    pub(super) fn until_gone(self, limits: &Limits, readiness: Option<&LocalStream>) {
        let shim = &self.shim;
        supervisor::supervise(shim, &self.children, &self.news, &self.tail, limits);
        shim.life.wait_recorded();
        readiness.iter().for_each(|readiness| wait_for_starter(&shim.connections, readiness));
        clear_away(&shim.vm, self.lifetime);
        shim.life.gone();
        shim.connections.wait_until_served();
    }
}

fn clear_away(vm: &VmDir, lifetime: Lifetime) {
    remove_file(&vm.socket_path());
    if lifetime == Lifetime::WithContainer
        && let Err(error) = vm.clone().remove()
    {
        log::error!("the VM's directory is not removed: {}", text::chain(&error));
    }
}

fn remove_file(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::error!("cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}
