//! The VM for a container: its own, booted for it, or a named one, which is found or started on first use.
//!
//! Starting a shim: the engine makes the VM's directory, takes the VM's lock, and hands the lock over to the shim
//! with the spawn, so that no sweep can take the VM for dead in between. The shim answers with one line on a
//! readiness channel once its socket listens; the guest may still be booting then.

mod plan;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reconcile::take_lock;
use crate::shim_client::ShimClient;
use hull_machine::plan::MachinePlan;
use hull_platform::handle::Handle;
use hull_platform::lock::FileLock;
use hull_platform::process::{self, Child, Spawn, Stdio};
use hull_platform::socket::LocalStream;
use hull_protocol::VmId;
use hull_protocol::start::{LOCK_DESCRIPTOR, READINESS_DESCRIPTOR, Readiness};
use hull_state::{ContainerConfig, Lifetime, StateError, VmDir, VmRecord};
use jiff::Timestamp;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};

/// How often a start is tried again when another command gets in between.
const ATTEMPTS: u32 = 8;

/// A VM that a container can be started in, perhaps still about to listen.
#[derive(Debug)]
pub(crate) struct PendingVm {
    pub(crate) vm: VmDir,
    /// What was announced, if this command boots it.
    pub(crate) boot: Option<Boot>,
    state: Pending,
}

/// A VM that this command boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The backend.
    pub backend: String,
    /// The guest's CPU is software: slow, and no security boundary.
    pub software: bool,
    /// The kernel is the distribution's, which boots much more slowly than hull's own.
    pub stock_kernel: bool,
    /// What the machine is.
    pub machine: MachinePlan,
}

#[derive(Debug)]
enum Pending {
    Live(ShimClient),
    Starting(Starting),
}

#[derive(Debug)]
struct Starting {
    ready: LocalStream,
    /// Kept so that a program that lives on could reap it; the command line ends before it.
    _shim: Child,
    /// Held until the shim listens: others who want the same named VM wait for it.
    _start_lock: Option<FileLock>,
}

impl PendingVm {
    /// Waits until the shim listens, and connects.
    ///
    /// # Errors
    /// The shim's own line if it could not start the VM, [`EngineError::VmGone`] if it died.
    pub(crate) fn connect(self) -> Result<ShimClient, EngineError> {
        match self.state {
            Pending::Live(client) => Ok(client),
            Pending::Starting(starting) => {
                read_ready(&starting.ready)?;
                // The readiness channel is closed after that: see `hull_protocol::start`.
                ShimClient::connect(&self.vm.socket_path())
            }
        }
    }
}

fn read_ready(ready: &LocalStream) -> Result<(), EngineError> {
    let mut line = String::new();
    BufReader::new(ready).read_line(&mut line).map_err(|_| EngineError::VmGone)?;
    match Readiness::parse(&line) {
        Some(Readiness::Ready) => Ok(()),
        Some(Readiness::Failed(why)) => Err(EngineError::Vm(why)),
        None => Err(EngineError::VmGone),
    }
}

impl Engine {
    /// A VM for a container with this configuration.
    ///
    /// # Errors
    /// No backend, no kernel, a named VM of another shape, a shim that does not start.
    pub(crate) fn vm_for(&self, config: &ContainerConfig) -> Result<PendingVm, EngineError> {
        match config.vm.name.as_deref() {
            None => self.own_vm(config),
            Some(name) => self.named_vm(name, config),
        }
    }

    fn own_vm(&self, config: &ContainerConfig) -> Result<PendingVm, EngineError> {
        let boot = self.plan_vm(config)?;
        let record = record(None, &boot, None)?;
        // Nobody sees the VM without its lock being held, so no sweep takes it for dead.
        let (vm, lock) = self.root.create_vm_locked(&record)?;
        self.spawn_shim(vm, lock, None, boot)
    }

    fn named_vm(&self, name: &str, config: &ContainerConfig) -> Result<PendingVm, EngineError> {
        for _ in 0..ATTEMPTS {
            let vm = self.named_vm_directory(name, config)?;
            if let Some(pending) = live(&vm, name, config)? {
                return Ok(pending);
            }
            // Removed a moment ago, if this fails.
            let Ok(start_lock) = vm.lock_start() else { continue };
            // Whoever held the start lock before may have started it.
            if let Some(pending) = live(&vm, name, config)? {
                return Ok(pending);
            }
            match take_lock(&vm)? {
                Some(lock) => {
                    if let Some(pending) = self.start_named(vm, config, lock, start_lock)? {
                        return Ok(pending);
                    }
                }
                // Its shim is about to end.
                None => self.settle_gone(&vm)?,
            }
        }
        Err(EngineError::Vm(format!("VM {name:?} kept ending while it was being used; try again")))
    }

    /// The directory of a named VM, which is made if there is none.
    fn named_vm_directory(&self, name: &str, config: &ContainerConfig) -> Result<VmDir, EngineError> {
        for _ in 0..ATTEMPTS {
            match self.root.find_vm_name(name) {
                Ok(vm) => return Ok(vm),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
            let boot = self.plan_vm(config)?;
            match self.root.create_vm(&record(Some(name), &boot, config.vm.idle_timeout_seconds)?) {
                Ok(vm) => return Ok(vm),
                Err(StateError::NameTaken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(EngineError::Vm(format!("VM {name:?} kept being removed while it was being made; try again")))
    }

    /// Starts a named VM that does not run. `None`: it was made anew, because flags ask for another shape, and is to be
    /// looked for again.
    fn start_named(
        &self,
        vm: VmDir,
        config: &ContainerConfig,
        lock: FileLock,
        start_lock: FileLock,
    ) -> Result<Option<PendingVm>, EngineError> {
        let Ok(record) = vm.record::<MachinePlan>() else { return Ok(None) };
        let (mut again, boot) = self.plan_again(&record, config)?;
        if again == record {
            return self.spawn_shim(vm, lock, Some(start_lock), boot).map(Some);
        }
        // A record never changes, so the VM is made anew.
        vm.remove()?;
        again.id = new_id()?;
        again.created_at = Timestamp::now();
        match self.root.create_vm(&again) {
            Ok(_) | Err(StateError::NameTaken { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn spawn_shim(
        &self,
        vm: VmDir,
        lock: FileLock,
        start_lock: Option<FileLock>,
        boot: Boot,
    ) -> Result<PendingVm, EngineError> {
        let (ready, theirs) = LocalStream::pair().map_err(EngineError::io("make the shim's readiness channel"))?;
        let log_path = vm.shim_log_path();
        let log = OpenOptions::new().append(true).create(true).open(&log_path);
        let log = log.map_err(EngineError::io(format!("open {}", log_path.display())))?;
        let program = process::current_exe().map_err(EngineError::io("find hull's own executable"))?;
        let shim = Spawn::new(program)
            .arg("shim")
            .arg("--root")
            .arg(self.root.path())
            .arg("--vm")
            .arg(vm.id().as_str())
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::Handle(log.into()))
            .inherit(Handle::from(theirs), READINESS_DESCRIPTOR)
            .inherit(Handle::from(lock), LOCK_DESCRIPTOR)
            .new_session()
            .spawn()
            .map_err(EngineError::io("start the VM's shim"))?;
        let starting = Starting { ready, _shim: shim, _start_lock: start_lock };
        Ok(PendingVm { vm, boot: Some(boot), state: Pending::Starting(starting) })
    }
}

/// A named VM that runs, if it does.
fn live(vm: &VmDir, name: &str, config: &ContainerConfig) -> Result<Option<PendingVm>, EngineError> {
    let Ok(client) = ShimClient::connect(&vm.socket_path()) else { return Ok(None) };
    let Ok(record) = vm.record() else { return Ok(None) };
    plan::check_same_shape(name, &record, config)?;
    Ok(Some(PendingVm { vm: vm.clone(), boot: None, state: Pending::Live(client) }))
}

fn record(
    name: Option<&str>,
    boot: &Boot,
    idle_timeout_seconds: Option<u64>,
) -> Result<VmRecord<MachinePlan>, EngineError> {
    Ok(VmRecord {
        version: hull_state::VERSION,
        id: new_id()?,
        name: name.map(str::to_owned),
        created_at: Timestamp::now(),
        backend: boot.backend.clone(),
        machine: boot.machine.clone(),
        idle_timeout_seconds,
        lifetime: if name.is_some() { Lifetime::Named } else { Lifetime::WithContainer },
    })
}

fn new_id() -> Result<VmId, EngineError> {
    let bytes = hull_platform::random::array().map_err(EngineError::io("get random bytes"))?;
    Ok(VmId::from_bytes(bytes))
}
