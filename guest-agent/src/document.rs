//! The parts of the OCI runtime specification that the agent carries out, as its JSON has them (`config.md`,
//! `config-linux.md`).
//!
//! What is not here is not ignored but refused by name, so that nothing a host asks for is silently missing. The types of
//! the `oci-spec` crate know everything, and would make up half of the agent.

use crate::error::{Result, invalid, unsupported};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A document that has not been read yet.
pub type Unread = Box<RawValue>;

/// Reads a document.
///
/// # Errors
/// It is not of that kind, or asks for something that the agent does not know.
pub fn read<T: DeserializeOwned>(document: &RawValue) -> Result<T> {
    serde_json::from_str(document.get()).map_err(|error| {
        let error = error.to_string();
        let message = format!("the agent cannot carry the OCI document out: {error}");
        if error.starts_with("unknown ") { unsupported(message) } else { invalid(message) }
    })
}

/// A container (`config.md`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    #[serde(default, rename = "ociVersion")]
    _version: IgnoredAny,
    #[serde(default, rename = "annotations")]
    _annotations: IgnoredAny,
    /// Root file system.
    #[serde(default)]
    pub root: Root,
    /// Mounts on it, in order.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// First process.
    pub process: Option<Process>,
    /// Host name.
    pub hostname: Option<String>,
    /// Domain name.
    pub domainname: Option<String>,
    /// What Linux alone has.
    #[serde(default)]
    pub linux: Linux,
}

/// Root file system.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    #[serde(default, rename = "path")]
    _path: IgnoredAny,
    /// Nothing can be written to it.
    #[serde(default)]
    pub readonly: bool,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Path in the container.
    pub destination: PathBuf,
    /// Type of file system.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Device, or path to bind.
    pub source: Option<PathBuf>,
    /// As fstab(5) has them.
    #[serde(default)]
    pub options: Vec<String>,
}

/// A process (`config.md`, Process).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Process {
    #[serde(default, rename = "terminal")]
    _terminal: IgnoredAny,
    #[serde(default, rename = "consoleSize")]
    _console_size: IgnoredAny,
    /// Who it runs as.
    #[serde(default)]
    pub user: User,
    /// Program and arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Capability sets.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Resource limits.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
    /// Give up gaining privileges by `execve`.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Adjustment of its score when memory runs out.
    pub oom_score_adj: Option<i32>,
}

/// A process's user, but for who it is, which the image decides.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    #[serde(default, rename = "uid")]
    _uid: IgnoredAny,
    #[serde(default, rename = "gid")]
    _gid: IgnoredAny,
    #[serde(default, rename = "username")]
    _username: IgnoredAny,
    /// Mode bits that its files do not get.
    pub umask: Option<u32>,
    /// Groups besides those that the image knows.
    #[serde(default)]
    pub additional_gids: Vec<u32>,
}

/// Names of capabilities.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// What can ever be gained.
    pub bounding: Vec<String>,
    /// What holds.
    pub effective: Vec<String>,
    /// What survives `execve` if the program's file says so.
    pub inheritable: Vec<String>,
    /// What can be made effective.
    pub permitted: Vec<String>,
    /// What survives `execve` of any program.
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// `RLIMIT_…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What holds.
    pub soft: u64,
    /// What it can be raised to.
    pub hard: u64,
}

/// What Linux alone has (`config-linux.md`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Linux {
    #[serde(rename = "cgroupsPath")]
    _cgroups_path: IgnoredAny,
    /// Users of the user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Groups of the user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Kernel parameters of its namespaces.
    pub sysctl: BTreeMap<String, String>,
    /// Limits.
    pub resources: Resources,
    /// Namespaces of its own.
    pub namespaces: Vec<Namespace>,
    /// Device nodes besides the default ones.
    pub devices: Vec<Device>,
    /// Propagation of mounts to and from its root.
    pub rootfs_propagation: Option<String>,
    /// Hidden paths.
    pub masked_paths: Vec<PathBuf>,
    /// Paths that are read-only.
    pub readonly_paths: Vec<PathBuf>,
}

/// A range of ids of a user namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Of what.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// An existing one, to be joined.
    pub path: Option<PathBuf>,
}

/// What namespaces there are of (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum NamespaceKind {
    Mount,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
    User,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Path in the container.
    pub path: PathBuf,
    /// What kind of node.
    #[serde(rename = "type")]
    pub kind: DeviceKind,
    /// Major number.
    #[serde(default)]
    pub major: u32,
    /// Minor number.
    #[serde(default)]
    pub minor: u32,
    /// Mode.
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(default)]
    pub uid: u32,
    /// Owning group.
    #[serde(default)]
    pub gid: u32,
}

/// Kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// All, in a rule.
    A,
    /// Block device.
    B,
    /// Character device.
    C,
    /// The same, unbuffered.
    U,
    /// FIFO.
    P,
}

/// Limits (`config-linux.md`, Control groups).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Which devices can be used, the last rule that fits deciding.
    pub devices: Vec<DeviceRule>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Processes.
    pub pids: Option<Pids>,
    /// Files of control groups, version 2, and what to write to them.
    pub unified: BTreeMap<String, String>,
}

/// A rule of the device controller; an absent number stands for any.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRule {
    /// Allows, or denies.
    pub allow: bool,
    /// Kind of device.
    #[serde(rename = "type")]
    pub kind: Option<DeviceKind>,
    /// Major number.
    pub major: Option<i64>,
    /// Minor number.
    pub minor: Option<i64>,
    /// Letters of read, write and mknod.
    pub access: Option<String>,
}

/// Limits of memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Memory {
    /// At most.
    pub limit: Option<i64>,
    /// What it keeps when others want more.
    pub reservation: Option<i64>,
    /// Memory and swap together.
    pub swap: Option<i64>,
    /// No killing when the limit is reached.
    #[serde(rename = "disableOOMKiller")]
    pub disable_oom_killer: bool,
}

/// Limits of processors.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Cpu {
    /// Weight against others, as version 1 of control groups counts it.
    pub shares: Option<u64>,
    /// Microseconds in a period.
    pub quota: Option<i64>,
    /// Microseconds that can be saved up.
    pub burst: Option<u64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// Use what nobody else wants.
    pub idle: Option<i64>,
    /// Which processors.
    pub cpus: Option<String>,
    /// Which memory nodes.
    pub mems: Option<String>,
}

/// Limit of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pids {
    /// At most.
    pub limit: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_protocol::agent::ErrorCode;

    fn spec(json: &str) -> Result<Spec> {
        read(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn what_the_agent_does_not_know_is_refused_by_name() {
        for (json, name) in [
            (r#"{"hooks":{}}"#, "hooks"),
            (r#"{"linux":{"seccomp":{}}}"#, "seccomp"),
            (r#"{"linux":{"resources":{"blockIO":{}}}}"#, "blockIO"),
            (r#"{"linux":{"resources":{"cpu":{"realtimeRuntime":1}}}}"#, "realtimeRuntime"),
            (r#"{"linux":{"namespaces":[{"type":"time"}]}}"#, "time"),
            (r#"{"process":{"cwd":"/","apparmorProfile":"x"}}"#, "apparmorProfile"),
        ] {
            let error = spec(json).unwrap_err();
            assert!(error.code == ErrorCode::Unsupported && error.message.contains(name), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_document_is_invalid() {
        for json in ["[]", r#"{"process":{}}"#, r#"{"mounts":{}}"#, r#"{"linux":{"resources":{"pids":{"limit":"x"}}}}"#]
        {
            assert_eq!(spec(json).unwrap_err().code, ErrorCode::Invalid, "{json}");
        }
    }

    #[test]
    fn everything_has_a_default_but_what_is_needed() {
        assert_eq!(spec("{}").unwrap(), Spec::default());
        let everything = oci_spec::runtime::Spec::default();
        let json = serde_json::to_string(&everything).unwrap();
        assert!(spec(&json).unwrap().process.is_some(), "what oci-spec writes can be read");
    }
}
