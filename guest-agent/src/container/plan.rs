//! What a runtime-spec document asks of a container, checked before anything is made.

use super::devices::Device;
use super::mounts::MountPlan;
use super::user::IdMappings;
use crate::cgroup::{Setting, settings};
use crate::document::{DeviceRule, Linux, NamespaceKind, Spec};
use crate::error::{Result, invalid, quote, unsupported};
use crate::process::ProcessPlan;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use std::collections::BTreeMap;
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
    pub device_rules: Vec<DeviceRule>,
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
    pub fn new(spec: Spec, user: &str, init: bool) -> Result<Self> {
        let process = spec.process.ok_or_else(|| invalid("the document has no process"))?;
        let linux = spec.linux;
        let (namespaces, has_user_namespace) = namespaces(&linux)?;
        let named = spec.hostname.is_some() || spec.domainname.is_some();
        if named && !namespaces.contains(CloneFlags::CLONE_NEWUTS) {
            return Err(invalid("a host name needs a UTS namespace"));
        }
        Ok(Self {
            namespaces,
            user_namespace: has_user_namespace.then(|| IdMappings::new(&linux)).transpose()?,
            root_is_read_only: spec.root.readonly,
            root_propagation: linux.rootfs_propagation.as_deref().map(propagation).transpose()?,
            mounts: spec.mounts.iter().map(MountPlan::new).collect::<Result<_>>()?,
            devices: linux.devices.iter().map(Device::new).collect::<Result<_>>()?,
            sysctls: sysctls(&linux.sysctl, namespaces)?,
            masked_paths: absolute(linux.masked_paths)?,
            read_only_paths: absolute(linux.readonly_paths)?,
            hostname: spec.hostname,
            domain_name: spec.domainname,
            settings: settings(&linux.resources)?,
            device_rules: linux.resources.devices,
            process: ProcessPlan::new(process, user)?,
            init,
        })
    }
}

/// The namespaces, and whether there is one for users.
fn namespaces(linux: &Linux) -> Result<(CloneFlags, bool)> {
    let mut flags = CloneFlags::empty();
    let mut user = false;
    for namespace in &linux.namespaces {
        if namespace.path.is_some() {
            return Err(unsupported("the agent cannot join namespaces by path"));
        }
        flags |= match namespace.kind {
            NamespaceKind::Mount => CloneFlags::CLONE_NEWNS,
            NamespaceKind::Pid => CloneFlags::CLONE_NEWPID,
            NamespaceKind::Network => CloneFlags::CLONE_NEWNET,
            NamespaceKind::Ipc => CloneFlags::CLONE_NEWIPC,
            NamespaceKind::Uts => CloneFlags::CLONE_NEWUTS,
            NamespaceKind::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            NamespaceKind::User => {
                user = true;
                CloneFlags::empty()
            }
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
fn absolute(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    match paths.iter().find(|path| !path.is_absolute()) {
        None => Ok(paths),
        Some(path) => Err(invalid(format!("the path {path:?} is not absolute"))),
    }
}

/// Files under /proc/sys, and their values. Only what a namespace of the container holds may be set.
fn sysctls(sysctls: &BTreeMap<String, String>, namespaces: CloneFlags) -> Result<Vec<(PathBuf, String)>> {
    let check = |(name, value): (&String, &String)| {
        let path = name.replace('.', "/");
        let plain = path.split('/').all(|part| !part.is_empty() && part != "..");
        let namespace = namespace_of(&path).filter(|namespace| plain && namespaces.contains(*namespace));
        match namespace {
            Some(_) => Ok((Path::new("/proc/sys").join(path), value.clone())),
            None => Err(invalid(format!("the sysctl {} does not belong to the container", quote(name)))),
        }
    };
    sysctls.iter().map(check).collect()
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
