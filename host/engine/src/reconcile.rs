//! What a command does about VMs whose shim is dead.
//!
//! A shim holds its VM's lock for as long as it lives, so a lock that can be taken means that it died, or ended. Only
//! it writes the states of its running containers; whoever takes the lock of a dead one writes them in its place, and
//! clears away what it left. Every command does so before it looks at anything, so that what it tells is true.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_machine::plan::MachinePlan;
use hull_platform::lock::FileLock;
use hull_protocol::{VmId, exit};
use hull_state::{ContainerDir, ContainerRecord, ContainerState, Lifetime, StateError, Status, VmDir};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

/// How long a shim that closes its connections may take to end, and how often that is looked at.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(20);
pub(crate) const END_POLL: Duration = Duration::from_millis(5);

/// Why a container ended whose VM has no shim any more.
pub(crate) const SHIM_DIED: &str = "the VM's shim died";

impl Engine {
    /// Settles every VM whose shim is dead.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub(crate) fn settle(&self) -> Result<(), EngineError> {
        let running = self.running()?;
        for vm in self.root.vms()? {
            let has_running = running.iter().any(|(_, on)| on == vm.id());
            // A named VM that was stopped in an orderly way stays, without a socket: nothing is to be settled there,
            // and taking its lock would only get in the way of whoever starts it.
            let may_be_left = vm.socket_path().exists() || is_own(&vm);
            if (has_running || may_be_left)
                && let Some(lock) = take_lock(&vm)?
            {
                self.settle_vm(&vm, &running, lock)?;
            }
        }
        self.settle_without_vm(&running)
    }

    /// Settles one VM that did not answer: its shim has died, or is about to end.
    ///
    /// # Errors
    /// The shim lives on and still does not answer.
    pub(crate) fn settle_gone(&self, vm: &VmDir) -> Result<(), EngineError> {
        let deadline = Instant::now() + END_LIMIT;
        loop {
            match vm.try_lock() {
                Ok(Some(lock)) => return self.settle_vm(vm, &self.running()?, lock),
                Err(error) if error.is_not_found() => return self.settle(),
                Err(error) => return Err(error.into()),
                Ok(None) if Instant::now() > deadline => {
                    return Err(EngineError::Vm(format!(
                        "the shim of VM {} does not answer; see {}",
                        vm.id(),
                        vm.shim_log_path().display()
                    )));
                }
                // Nothing tells of a lock's release but a wait that has no limit.
                Ok(None) => thread::sleep(END_POLL),
            }
        }
    }

    /// The containers that are recorded as running, with their VMs.
    fn running(&self) -> Result<Vec<(ContainerDir, VmId)>, EngineError> {
        let mut running = Vec::new();
        for container in self.root.containers()? {
            // One that cannot be read is reported by the command that is about it.
            let Ok(state) = container.state() else { continue };
            if let (Status::Running, Some(vm)) = (state.status, state.vm) {
                running.push((container, vm));
            }
        }
        Ok(running)
    }

    /// `_lock` proves that no shim has the VM; it is released at the end.
    fn settle_vm(&self, vm: &VmDir, running: &[(ContainerDir, VmId)], _lock: FileLock) -> Result<(), EngineError> {
        for (container, _) in running.iter().filter(|(_, on)| on == vm.id()) {
            record_death(container, vm.id(), |record| died(vm, container, record))?;
        }
        remove_socket(vm)?;
        if is_own(vm) {
            // Somebody else may have been faster.
            ignore_not_found(self.root.vm(vm.id()).remove())?;
        }
        Ok(())
    }

    /// Containers whose VM is not there at all, as after a crash between a VM's removal and the record of it.
    fn settle_without_vm(&self, running: &[(ContainerDir, VmId)]) -> Result<(), EngineError> {
        let known: BTreeSet<_> = self.root.vms()?.iter().map(|vm| vm.id().clone()).collect();
        for (container, vm) in running.iter().filter(|(_, on)| !known.contains(on)) {
            record_death(container, vm, |_| "its VM is gone".to_owned())?;
        }
        Ok(())
    }
}

/// Whether the VM belongs to one container. A record that cannot be read is that of a VM half removed.
fn is_own(vm: &VmDir) -> bool {
    vm.record::<MachinePlan>().is_ok_and(|record| record.lifetime == Lifetime::WithContainer)
}

/// The lock of a VM that has no shim.
pub(crate) fn take_lock(vm: &VmDir) -> Result<Option<FileLock>, EngineError> {
    match vm.try_lock() {
        Ok(lock) => Ok(lock),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What is said of the death of a VM's shim. What it left for whoever looks for the cause is kept with the container, if
/// the VM goes and the container stays.
pub(crate) fn died(vm: &VmDir, container: &ContainerDir, record: &ContainerRecord) -> String {
    let config = &record.config;
    let logs = match (&config.vm.name, config.auto_remove) {
        (Some(_), _) => vm.keep_logs(None),
        (None, false) => vm.keep_logs(Some(container)),
        (None, true) => None,
    };
    logs.map_or(SHIM_DIED.to_owned(), |logs| format!("{SHIM_DIED}; see {}", logs.display()))
}

fn record_death(
    container: &ContainerDir,
    vm: &VmId,
    why: impl FnOnce(&ContainerRecord) -> String,
) -> Result<(), EngineError> {
    // Read again: it may have been settled, or started anew, since it was listed.
    let Ok(state) = container.state() else { return Ok(()) };
    if state.status != Status::Running || state.vm.as_ref() != Some(vm) {
        return Ok(());
    }
    let record = container.record().ok();
    let ended = ContainerState {
        status: Status::Exited,
        vm: None,
        pid: None,
        finished_at: Some(Timestamp::now()),
        exit_code: exit::KILLED,
        error: record.as_ref().map(why),
        ..state
    };
    ignore_not_found(container.write_state(&ended))?;
    if record.is_some_and(|record| record.config.auto_remove) {
        ignore_not_found(container.clone().remove())?;
    }
    Ok(())
}

fn remove_socket(vm: &VmDir) -> Result<(), EngineError> {
    let path = vm.socket_path();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(EngineError::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn ignore_not_found(result: Result<(), StateError>) -> Result<(), EngineError> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
