//! Limits of a container's cgroup (runtime specification, `config-linux.md`, Control groups).

use super::{SpecError, devices};
use crate::human;
use hull_state::ContainerConfig;
use oci_spec::runtime::{
    LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};

/// The kernel's default period of the CPU controller, in microseconds; Docker uses it for `--cpus`.
const CPU_PERIOD_USEC: u64 = 100_000;

/// The least memory that Docker accepts: under it a runtime cannot even start a process.
pub const LEAST_MEMORY_BYTES: u64 = 6 << 20;

pub(super) fn resources(config: &ContainerConfig) -> Result<LinuxResources, SpecError> {
    let mut builder = LinuxResourcesBuilder::default().devices(devices::rules(config)?);
    if let Some(bytes) = config.memory_bytes {
        builder = builder.memory(memory(bytes)?);
    }
    if let Some(nano_cpus) = config.nano_cpus {
        builder = builder.cpu(cpu(nano_cpus)?);
    }
    if let Some(limit) = config.pids_limit.filter(|limit| *limit > 0) {
        builder = builder.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    Ok(builder.build()?)
}

fn memory(bytes: u64) -> Result<LinuxMemory, SpecError> {
    let limit = i64::try_from(bytes).ok().filter(|_| bytes >= LEAST_MEMORY_BYTES);
    let limit = limit.ok_or_else(|| {
        let (asked, least) = (human::size(bytes), human::size(LEAST_MEMORY_BYTES));
        SpecError::Limit(format!("--memory {asked} is out of range: a container needs at least {least}"))
    })?;
    // Memory and swap together: as much as memory alone, so no swap.
    Ok(LinuxMemoryBuilder::default().limit(limit).swap(limit).build()?)
}

fn cpu(nano_cpus: u64) -> Result<LinuxCpu, SpecError> {
    let invalid = || {
        SpecError::Limit(format!("--cpus {} is out of range: a container needs at least 0.01", human::cpus(nano_cpus)))
    };
    // The kernel refuses a quota under one millisecond.
    let quota =
        nano_cpus.checked_mul(CPU_PERIOD_USEC).map(|product| product / 1_000_000_000).filter(|quota| *quota >= 1000);
    let quota = quota.and_then(|quota| i64::try_from(quota).ok()).ok_or_else(invalid)?;
    Ok(LinuxCpuBuilder::default().quota(quota).period(CPU_PERIOD_USEC).build()?)
}
