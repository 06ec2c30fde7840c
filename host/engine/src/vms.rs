//! VMs as the user sees them: list, inspect, stop, remove.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reconcile::{END_LIMIT, END_POLL, ignore_not_found, take_lock};
use crate::shim_client::{ShimClient, unexpected};
use hull_machine::plan::MachinePlan;
use hull_platform::signals::LinuxSignal;
use hull_protocol::shim::{Reply, Request, VmStatus};
use hull_state::{ContainerDir, StateError, Status, VmDir, VmRecord};
use serde::Serialize;
use std::cmp::Reverse;
use std::thread;
use std::time::Instant;

/// One line of `hull vm ls`.
#[derive(Debug, Clone)]
pub struct VmSummary {
    /// What it is.
    pub record: VmRecord<MachinePlan>,
    /// Whether it runs.
    pub running: bool,
    /// The names of the containers that run in it.
    pub containers: Vec<String>,
}

/// Everything about a VM.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VmInspect {
    /// Its id.
    pub id: String,
    /// Its name; empty for one that belongs to a container.
    pub name: String,
    /// `running` or `stopped`.
    pub status: &'static str,
    /// When it was made.
    pub created: String,
    /// What runs it.
    pub backend: String,
    /// Its virtual processors.
    pub cpus: u8,
    /// Its memory.
    #[serde(rename = "MemoryMiB")]
    pub memory_mib: u32,
    /// Its kernel's file.
    pub kernel: String,
    /// `uname -r` of that kernel, when it runs.
    pub kernel_release: Option<String>,
    /// Its initramfs.
    pub initramfs: String,
    /// Seconds without a container after which it ends.
    pub idle_timeout_seconds: Option<u64>,
    /// The names of the containers that run in it.
    pub containers: Vec<String>,
    /// Its processes on the host.
    pub processes: Vec<VmProcess>,
    /// The layers of the jail around the process that serves its devices.
    pub jail: Vec<String>,
    /// What the guest's kernel prints.
    pub console_path: String,
    /// What the shim has to say.
    pub log_path: String,
}

/// A process of a VM on the host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VmProcess {
    /// `shim`, `vmm` or `qemu`.
    pub role: String,
    /// Its process id.
    pub pid: u32,
}

impl Engine {
    /// All VMs, the newest first.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn list_vms(&self) -> Result<Vec<VmSummary>, EngineError> {
        let mut summaries = Vec::new();
        for vm in self.root.vms()? {
            let record = match vm.record() {
                Ok(record) => record,
                // It ended while we read.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            summaries.push(VmSummary { record, running: vm.is_alive(), containers: self.names_in(&vm)? });
        }
        summaries.sort_by_key(|vm| Reverse(vm.record.created_at));
        Ok(summaries)
    }

    /// The VM that the user calls `reference`: a name, an id, or the beginning of one.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find_vm(&self, reference: &str) -> Result<VmDir, EngineError> {
        self.root.find_vm(reference).map_err(|error| match error {
            StateError::NotFound { .. } => EngineError::NoSuchVm(reference.to_owned()),
            StateError::Ambiguous { .. } => EngineError::Ambiguous(reference.to_owned()),
            other => other.into(),
        })
    }

    /// Everything about a VM.
    ///
    /// # Errors
    /// Its record cannot be read, or its shim is of another version.
    pub fn inspect_vm(&self, vm: &VmDir) -> Result<VmInspect, EngineError> {
        let record = vm.record::<MachinePlan>()?;
        let status = self.vm_status(vm)?;
        let processes = status.iter().flat_map(|status| &status.processes);
        Ok(VmInspect {
            id: record.id.to_string(),
            name: record.name.unwrap_or_default(),
            status: if vm.is_alive() { "running" } else { "stopped" },
            created: record.created_at.to_string(),
            backend: record.backend,
            cpus: record.machine.vcpus.get(),
            memory_mib: record.machine.memory_mib,
            kernel: record.machine.kernel.path.display().to_string(),
            initramfs: record.machine.initramfs.display().to_string(),
            idle_timeout_seconds: record.idle_timeout_seconds,
            containers: self.names_in(vm)?,
            processes: processes.map(|process| VmProcess { role: process.role.clone(), pid: process.pid }).collect(),
            jail: status.iter().flat_map(|status| &status.jail).cloned().collect(),
            kernel_release: status.and_then(|status| status.kernel),
            console_path: vm.console_path().display().to_string(),
            log_path: vm.shim_log_path().display().to_string(),
        })
    }

    fn vm_status(&self, vm: &VmDir) -> Result<Option<VmStatus>, EngineError> {
        match ShimClient::connect(&vm.socket_path()).and_then(|client| client.call(Request::Status)) {
            Ok((Reply::Status(status), _)) => Ok(Some(status)),
            Ok((other, _)) => Err(unexpected(&other)),
            Err(EngineError::VmGone) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops a VM with all its containers; one that does not run stays as it is.
    ///
    /// # Errors
    /// The shim's.
    pub fn stop_vm(&self, vm: &VmDir) -> Result<(), EngineError> {
        let deadline = Instant::now() + END_LIMIT;
        loop {
            match ShimClient::connect(&vm.socket_path()).and_then(|client| client.call_to_the_end(Request::StopVm)) {
                Ok(Reply::Done) => return self.settle_gone(vm),
                Ok(other) => return Err(unexpected(&other)),
                // It does not listen yet, or not any more.
                Err(EngineError::VmGone) if vm.is_alive() && Instant::now() < deadline => thread::sleep(END_POLL),
                Err(EngineError::VmGone) if vm.is_alive() => return self.settle_gone(vm),
                Err(EngineError::VmGone) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a named VM; with `force` stops it before if it runs. Its containers stay, and make it anew when they are
    /// started.
    ///
    /// # Errors
    /// It runs.
    pub fn remove_vm(&self, vm: VmDir, force: bool) -> Result<(), EngineError> {
        if vm.is_alive() {
            if !force {
                let name = vm.record::<MachinePlan>().ok().and_then(|record| record.name);
                let name = name.unwrap_or_else(|| vm.id().to_string());
                let line =
                    format!("cannot remove VM {name}: it is running: stop it (hull vm stop {name}) or use --force");
                return Err(EngineError::Invalid(line));
            }
            self.kill_in(&vm)?;
            self.stop_vm(&vm)?;
        }
        let _start_lock = match vm.lock_start() {
            Ok(lock) => lock,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match take_lock(&vm)? {
            Some(_lock) => ignore_not_found(vm.remove()),
            None if vm.record::<MachinePlan>().is_err() => Ok(()),
            None => Err(EngineError::Invalid(format!("VM {} was started again meanwhile", vm.id()))),
        }
    }

    fn kill_in(&self, vm: &VmDir) -> Result<(), EngineError> {
        self.containers_in(vm)?.iter().try_for_each(|container| self.stop(container, Some(LinuxSignal::KILL), Some(0)))
    }

    fn names_in(&self, vm: &VmDir) -> Result<Vec<String>, EngineError> {
        let containers = self.containers_in(vm)?;
        let mut names: Vec<_> = containers.iter().filter_map(|container| Some(container.record().ok()?.name)).collect();
        names.sort();
        Ok(names)
    }

    fn containers_in(&self, vm: &VmDir) -> Result<Vec<ContainerDir>, EngineError> {
        let runs_here = |container: &ContainerDir| {
            container.state().is_ok_and(|state| state.status == Status::Running && state.vm.as_ref() == Some(vm.id()))
        };
        Ok(self.root.containers()?.into_iter().filter(runs_here).collect())
    }
}
