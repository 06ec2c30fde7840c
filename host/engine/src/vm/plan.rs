//! The shape of a VM: backend, processors, memory, kernel.

use super::Boot;
use crate::assets::BootFiles;
use crate::backend::{AUTO, Chosen};
use crate::engine::Engine;
use crate::error::EngineError;
use hull_machine::plan::{KernelImage, MachinePlan};
use hull_state::{ContainerConfig, VmRecord};
use std::num::NonZeroU8;
use std::path::Path;
use std::thread;

/// Memory of a VM when nothing is said. The host gives pages only as the guest touches them.
const DEFAULT_MEMORY_MIB: u32 = 1024;

/// The least memory that a guest boots in and runs a container.
const LEAST_MEMORY_MIB: u32 = 64;

/// What a VM needs beside its container's memory: kernel and agent, and the page tables and page descriptors that
/// grow with the memory.
const OVERHEAD_MIB: u64 = 64;
const OVERHEAD_SHARE: u64 = 32;

/// Processors of a VM when nothing is said: more cost boot time and serve few containers.
const MOST_DEFAULT_CPUS: usize = 4;

impl Engine {
    /// The VM that a container with this configuration is started in, if it must be made.
    pub(super) fn plan_vm(&self, config: &ContainerConfig) -> Result<Boot, EngineError> {
        let files = self.boot_files(config)?;
        let backend = self.backend_for(config.vm.backend.as_deref(), &files.kernel)?;
        let machine = MachinePlan {
            vcpus: vcpus(config, host_cpus())?,
            memory_mib: memory_mib(config)?,
            kernel: files.kernel,
            initramfs: files.initramfs,
        };
        Ok(boot(&backend, machine, files.stock))
    }

    /// What a named VM that does not run becomes when this container starts it: what flags say nothing of stays, but
    /// the default kernel is always the present one.
    pub(super) fn plan_again(
        &self,
        record: &VmRecord<MachinePlan>,
        config: &ContainerConfig,
    ) -> Result<(VmRecord<MachinePlan>, Boot), EngineError> {
        let mut again = record.clone();
        again.idle_timeout_seconds = config.vm.idle_timeout_seconds.or(record.idle_timeout_seconds);
        if let Some(mebibytes) = config.vm.memory_mib {
            again.machine.memory_mib = in_range(mebibytes.into())?;
        }
        if config.vm.cpus.is_some() {
            again.machine.vcpus = vcpus(config, host_cpus())?;
        }
        let assets = self.assets()?;
        if config.vm.kernel.is_some() || record.machine.kernel.path.starts_with(assets.path()) {
            let files = self.boot_files(config)?;
            (again.machine.kernel, again.machine.initramfs) = (files.kernel, files.initramfs);
        }
        let backend = Some(config.vm.backend.as_deref().unwrap_or(&record.backend));
        let backend = self.backend_for(backend, &again.machine.kernel)?;
        again.backend = backend.name.to_owned();
        let boot = boot(&backend, again.machine.clone(), assets.is_stock_kernel(&again.machine.kernel.path));
        Ok((again, boot))
    }

    fn boot_files(&self, config: &ContainerConfig) -> Result<BootFiles, EngineError> {
        let assets = self.assets()?;
        let Some(path) = &config.vm.kernel else { return Ok(assets.boot_files()?) };
        let stock = assets.is_stock_kernel(path);
        if !stock {
            let kernel = hull_machine::kernel::inspect(path, false)?;
            return Ok(BootFiles { kernel, initramfs: assets.initramfs()?, stock });
        }
        // Its configuration is beside the original alone.
        let kernel = hull_machine::kernel::inspect(&assets.stock_kernel(), true)?;
        let kernel = KernelImage { path: path.clone(), ..kernel };
        Ok(BootFiles { kernel, initramfs: assets.stock_initramfs()?, stock })
    }
}

fn boot(backend: &Chosen, machine: MachinePlan, stock_kernel: bool) -> Boot {
    Boot { backend: backend.name.to_owned(), software: backend.software, stock_kernel, machine }
}

/// A named VM that runs cannot change: refuses flags that ask it to.
pub(super) fn check_same_shape(
    name: &str,
    record: &VmRecord<MachinePlan>,
    config: &ContainerConfig,
) -> Result<(), EngineError> {
    let (vm, machine) = (&config.vm, &record.machine);
    let mebibytes = |mib: u32| format!("{mib}m");
    let path = |path: &Path| path.display().to_string();
    let backend = vm.backend.clone().filter(|backend| backend != AUTO);
    let flags = [
        ("--vm-memory", vm.memory_mib.map(mebibytes), mebibytes(machine.memory_mib)),
        ("--vm-cpus", vm.cpus.map(|cpus| cpus.to_string()), machine.vcpus.to_string()),
        ("--backend", backend, record.backend.clone()),
        ("--kernel", vm.kernel.as_deref().map(path), path(&machine.kernel.path)),
    ];
    let different =
        flags.into_iter().find_map(|(flag, asked, is)| Some((flag, asked.filter(|asked| *asked != is)?, is)));
    match different {
        None => Ok(()),
        Some((flag, asked, is)) => Err(EngineError::Invalid(format!(
            "VM {name:?} runs with {flag} {is}, not {asked}: leave the flag out, or stop the VM first (hull vm stop {name})"
        ))),
    }
}

fn host_cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn vcpus(config: &ContainerConfig, host: usize) -> Result<NonZeroU8, EngineError> {
    let own = config.vm.name.is_none();
    let asked = match (config.vm.cpus, config.nano_cpus.filter(|_| own)) {
        (Some(cpus), _) => u64::from(cpus),
        (None, Some(nano_cpus)) => nano_cpus.div_ceil(1_000_000_000),
        (None, None) => host.clamp(1, MOST_DEFAULT_CPUS) as u64,
    };
    let cpus = u8::try_from(asked).ok().and_then(NonZeroU8::new);
    cpus.ok_or_else(|| EngineError::Invalid(format!("a VM can have 1 to {} virtual CPUs, not {asked}", u8::MAX)))
}

fn memory_mib(config: &ContainerConfig) -> Result<u32, EngineError> {
    let own = config.vm.name.is_none();
    let asked = match (config.vm.memory_mib, config.memory_bytes.filter(|_| own)) {
        (Some(mib), _) => u64::from(mib),
        (None, Some(bytes)) => {
            let mib = bytes.div_ceil(1 << 20);
            mib.saturating_add(OVERHEAD_MIB).saturating_add(mib / OVERHEAD_SHARE)
        }
        (None, None) => u64::from(DEFAULT_MEMORY_MIB),
    };
    in_range(asked)
}

fn in_range(asked: u64) -> Result<u32, EngineError> {
    let mib = u32::try_from(asked).ok().filter(|mib| *mib >= LEAST_MEMORY_MIB);
    mib.ok_or_else(|| {
        EngineError::Invalid(format!("a VM cannot have {asked} MiB of memory: at least {LEAST_MEMORY_MIB} MiB"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::config;

    #[test]
    fn a_vm_has_as_many_cpus_as_the_host_up_to_four() {
        let cpus = |host| vcpus(&config(), host).unwrap().get();
        assert_eq!([0, 1, 2, 4, 64].map(cpus), [1, 1, 2, 4, 4]);
    }

    #[test]
    fn limits_of_a_container_shape_its_own_vm_only() {
        let mut container = config();
        container.nano_cpus = Some(1_500_000_000);
        container.memory_bytes = Some(512 << 20);
        assert_eq!(vcpus(&container, 8).unwrap().get(), 2);
        assert_eq!(memory_mib(&container).unwrap(), 512 + 64 + 16);

        container.vm.name = Some("dev".to_owned());
        assert_eq!(vcpus(&container, 8).unwrap().get(), 4);
        assert_eq!(memory_mib(&container).unwrap(), DEFAULT_MEMORY_MIB);

        container.vm.memory_mib = Some(64);
        container.vm.cpus = Some(3);
        assert_eq!(vcpus(&container, 8).unwrap().get(), 3);
        assert_eq!(memory_mib(&container).unwrap(), 64);
    }

    #[test]
    fn shapes_out_of_range_are_refused() {
        let mut container = config();
        container.vm.memory_mib = Some(63);
        assert!(memory_mib(&container).is_err());
        container.vm.cpus = Some(0);
        assert!(vcpus(&container, 8).is_err());
        container.vm.cpus = None;
        container.nano_cpus = Some(u64::MAX);
        assert!(vcpus(&container, 8).is_err());
        container.vm.memory_mib = None;
        container.memory_bytes = Some(u64::MAX);
        assert!(memory_mib(&container).is_err());
    }
}
