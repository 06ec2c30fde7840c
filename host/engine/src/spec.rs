//! From what the user asked of a container to the OCI runtime-spec document that the guest agent executes: the same
//! namespaces, mounts, devices, capabilities and limits that Docker would ask of its runtime.
//!
//! What only the guest can know stays a placeholder: `root.path`, and `process.user`, which the agent looks up in the
//! image's files.

mod capabilities;
mod cgroup;
mod devices;
mod mounts;
mod process;

pub use capabilities::{CapabilityError, effective as effective_capabilities};
pub use process::{ExecConfig, exec_process, merge_environment};

use hull_protocol::ContainerId;
use hull_state::ContainerConfig;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, RootBuilder,
    Spec, SpecBuilder,
};

/// The version of the runtime specification that the document follows.
const VERSION: &str = "1.2.0";

/// Paths that tell of the machine, or let a process act on it: hidden.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that programs read but must not write.
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why no document could be made.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A capability does not exist.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A program cannot begin there.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// A limit is unknown or out of range; the line says which values it can have.
    #[error("{0}")]
    Limit(String),
    /// The document's own rules are broken.
    #[error("cannot build the runtime document")]
    Build(#[from] OciSpecError),
}

/// The document for a container.
///
/// # Errors
/// See [`SpecError`].
pub fn container_spec(id: &ContainerId, config: &ContainerConfig) -> Result<Spec, SpecError> {
    let root = RootBuilder::default().path("rootfs").readonly(config.read_only).build()?;
    let builder = SpecBuilder::default()
        .version(VERSION)
        .root(root)
        .mounts(mounts::mounts(config)?)
        .process(process::container_process(config)?)
        .hostname(config.hostname.clone())
        .linux(linux(id, config)?);
    let builder = if config.domainname.is_empty() { builder } else { builder.domainname(config.domainname.clone()) };
    let mut spec = builder.build()?;
    spec.set_annotations(None);
    Ok(spec)
}

fn linux(id: &ContainerId, config: &ContainerConfig) -> Result<Linux, SpecError> {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let (masked, readonly) =
        if config.privileged { (Vec::new(), Vec::new()) } else { (owned(&MASKED_PATHS), owned(&READONLY_PATHS)) };
    let namespaces = namespace_types(config)
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
    let mut builder = LinuxBuilder::default()
        .cgroups_path(format!("/hull/{id}"))
        .namespaces(namespaces)
        .resources(cgroup::resources(config)?)
        .devices(devices::devices(config)?)
        .masked_paths(masked)
        .readonly_paths(readonly);
    if config.user_namespace {
        builder = builder.uid_mappings(vec![whole_range()?]).gid_mappings(vec![whole_range()?]);
    }
    Ok(builder.build()?)
}

fn namespace_types(config: &ContainerConfig) -> impl Iterator<Item = LinuxNamespaceType> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, User, Uts};
    let user = config.user_namespace.then_some(User);
    [Mount, Network, Uts, Pid, Ipc, Cgroup].into_iter().chain(user)
}

/// Root inside is the VM's root outside, but with no capability over anything that is not the container's own: the
/// files of the image keep their owners without an id-mapped mount.
fn whole_range() -> Result<LinuxIdMapping, SpecError> {
    Ok(LinuxIdMappingBuilder::default().container_id(0_u32).host_id(0_u32).size(65536_u32).build()?)
}

#[cfg(test)]
mod tests;
