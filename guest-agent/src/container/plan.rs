//! What a runtime-spec document asks of a container, checked before anything is made.

use super::devices::Device;
use super::mounts::MountPlan;
use super::user::IdMappings;
use crate::cgroup::{Setting, settings};
use crate::error::{Result, invalid, quote, unsupported};
use crate::process::ProcessPlan;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use oci_spec::runtime::{Linux, LinuxDeviceCgroup, LinuxNamespaceType, Spec};
use std::path::{Path, PathBuf};

/// A container to be.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerPlan {
    /// Its namespaces, but for the user namespace.
    pub namespaces: CloneFlags,
    /// The ids of its user namespace, if it has one.
    pub user_namespace: Option<IdMappings>,
    pub(super) root_is_read_only: bool,
    pub(super) root_propagation: Option<MsFlags>,
    pub(super) mounts: Vec<MountPlan>,
    pub(super) devices: Vec<Device>,
    pub(super) masked_paths: Vec<PathBuf>,
    pub(super) read_only_paths: Vec<PathBuf>,
    pub(super) sysctls: Vec<(PathBuf, String)>,
    pub(super) hostname: Option<String>,
    pub(super) domain_name: Option<String>,
    /// Limits of its cgroup.
    pub settings: Vec<Setting>,
    /// Rules of the device controller.
    pub device_rules: Vec<LinuxDeviceCgroup>,
    /// Its first process.
    pub process: ProcessPlan,
    /// Run the first process below a small init.
    pub init: bool,
}

impl ContainerPlan {
    /// Checks a document. `user` is Docker's `--user`, `init` its `--init`.
    ///
    /// # Errors
    /// What makes no sense, or cannot be done.
    pub fn new(spec: &Spec, user: &str, init: bool) -> Result<Self> {
        refuse_unknown(spec)?;
        let process = spec.process().as_ref().ok_or_else(|| invalid("the document has no process"))?;
        let linux = spec.linux().clone().unwrap_or_default();
        let (namespaces, has_user_namespace) = namespaces(&linux)?;
        let named = spec.hostname().is_some() || spec.domainname().is_some();
        if named && !namespaces.contains(CloneFlags::CLONE_NEWUTS) {
            return Err(invalid("a host name needs a UTS namespace"));
        }
        let resources = linux.resources().clone().unwrap_or_default();
        Ok(Self {
            namespaces,
            user_namespace: has_user_namespace.then(|| IdMappings::new(&linux)).transpose()?,
            root_is_read_only: spec.root().as_ref().and_then(oci_spec::runtime::Root::readonly).unwrap_or(false),
            root_propagation: linux.rootfs_propagation().as_deref().map(propagation).transpose()?,
            mounts: spec.mounts().iter().flatten().map(MountPlan::new).collect::<Result<_>>()?,
            devices: linux.devices().iter().flatten().map(Device::new).collect::<Result<_>>()?,
            masked_paths: absolute(linux.masked_paths().as_deref())?,
            read_only_paths: absolute(linux.readonly_paths().as_deref())?,
            sysctls: sysctls(&linux, namespaces)?,
            hostname: spec.hostname().clone(),
            domain_name: spec.domainname().clone(),
            settings: settings(&resources)?,
            device_rules: resources.devices().clone().unwrap_or_default(),
            process: ProcessPlan::new(process, user)?,
            init,
        })
    }
}

fn refuse_unknown(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    let unknown = [
        ("hooks", spec.hooks().is_some()),
        ("linux.seccomp", linux.is_some_and(|linux| linux.seccomp().is_some())),
        ("linux.mountLabel", linux.is_some_and(|linux| linux.mount_label().is_some())),
        ("linux.intelRdt", linux.is_some_and(|linux| linux.intel_rdt().is_some())),
        ("linux.memoryPolicy", linux.is_some_and(|linux| linux.memory_policy().is_some())),
        ("linux.personality", linux.is_some_and(|linux| linux.personality().is_some())),
        (
            "linux.timeOffsets",
            linux.is_some_and(|linux| linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty())),
        ),
        (
            "linux.netDevices",
            linux.is_some_and(|linux| linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
        ),
    ];
    match unknown.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(unsupported(format!("the agent does not know {name}"))),
        None => Ok(()),
    }
}

/// The namespaces, and whether there is one for users.
fn namespaces(linux: &Linux) -> Result<(CloneFlags, bool)> {
    let mut flags = CloneFlags::empty();
    let mut user = false;
    for namespace in linux.namespaces().iter().flatten() {
        if namespace.path().is_some() {
            return Err(unsupported("the agent cannot join namespaces by path"));
        }
        flags |= match namespace.typ() {
            LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::User => {
                user = true;
                CloneFlags::empty()
            }
            LinuxNamespaceType::Time => return Err(unsupported("the agent does not make time namespaces")),
        };
    }
    // The one holds the root file system; the end of the other is the end of everything in the container.
    let needed = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if flags.contains(needed) {
        Ok((flags, user))
    } else {
        Err(unsupported("a container needs a mount and a PID namespace"))
    }
}

fn propagation(name: &str) -> Result<MsFlags> {
    match name {
        "private" => Ok(MsFlags::MS_PRIVATE),
        "rprivate" => Ok(MsFlags::MS_PRIVATE | MsFlags::MS_REC),
        "shared" => Ok(MsFlags::MS_SHARED),
        "rshared" => Ok(MsFlags::MS_SHARED | MsFlags::MS_REC),
        "slave" => Ok(MsFlags::MS_SLAVE),
        "rslave" => Ok(MsFlags::MS_SLAVE | MsFlags::MS_REC),
        "unbindable" => Ok(MsFlags::MS_UNBINDABLE),
        "runbindable" => Ok(MsFlags::MS_UNBINDABLE | MsFlags::MS_REC),
        other => Err(invalid(format!("{} is no kind of mount propagation", quote(other)))),
    }
}

/// Paths in the container.
fn absolute(paths: Option<&[String]>) -> Result<Vec<PathBuf>> {
    let check = |path: &String| {
        let path = PathBuf::from(path);
        if path.is_absolute() { Ok(path) } else { Err(invalid(format!("the path {path:?} is not absolute"))) }
    };
    paths.unwrap_or_default().iter().map(check).collect()
}

/// Files under /proc/sys, and their values. Only what a namespace of the container holds may be set.
fn sysctls(linux: &Linux, namespaces: CloneFlags) -> Result<Vec<(PathBuf, String)>> {
    let check = |(name, value): (&String, &String)| {
        let path = name.replace('.', "/");
        let plain = path.split('/').all(|part| !part.is_empty() && part != "..");
        let namespace = namespace_of(&path).filter(|namespace| plain && namespaces.contains(*namespace));
        match namespace {
            Some(_) => Ok((Path::new("/proc/sys").join(path), value.clone())),
            None => Err(invalid(format!("the sysctl {} does not belong to the container", quote(name)))),
        }
    };
    linux.sysctl().iter().flatten().map(check).collect()
}

fn namespace_of(sysctl: &str) -> Option<CloneFlags> {
    const IPC: [&str; 7] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni"];
    match sysctl.split_once('/')? {
        ("net", _) => Some(CloneFlags::CLONE_NEWNET),
        ("fs", rest) if rest.starts_with("mqueue/") => Some(CloneFlags::CLONE_NEWIPC),
        ("kernel", name) if IPC.contains(&name) || name == "shm_rmid_forced" => Some(CloneFlags::CLONE_NEWIPC),
        ("kernel", "domainname") => Some(CloneFlags::CLONE_NEWUTS),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
