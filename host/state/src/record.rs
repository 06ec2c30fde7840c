//! The records: what the user asked, what became of it, and what a VM is.

use hull_protocol::{ContainerId, VmId};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container as it was created; never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// [`crate::VERSION`].
    pub version: u32,
    /// Its id.
    pub id: ContainerId,
    /// Its name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 128 characters.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// The image as the user wrote it.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// The image's root file system, an EROFS image: files that are mapped one behind the other.
    #[serde(deserialize_with = "one_or_many")]
    pub image_rootfs: Vec<PathBuf>,
    /// What the user asked, completed from the image.
    pub config: ContainerConfig,
}

/// Records of before images had layers name one file.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Paths {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }
    Ok(match Paths::deserialize(deserializer)? {
        Paths::One(path) => vec![path],
        Paths::Many(paths) => paths,
    })
}

/// The settings of a container, by Docker's names and rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerConfig {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Empty: `/`.
    pub working_dir: String,
    /// `[name|uid][:group|gid]`, empty for root.
    pub user: String,
    /// Host name in the container.
    pub hostname: String,
    /// NIS domain name in the container.
    pub domainname: String,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep standard input open though nobody is attached.
    pub open_stdin: bool,
    /// Close standard input when the first client that attached to it leaves.
    pub stdin_once: bool,
    /// The client that created it attaches standard input.
    pub attach_stdin: bool,
    /// The client that created it attaches standard output.
    pub attach_stdout: bool,
    /// The client that created it attaches standard error.
    pub attach_stderr: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Linux number of the signal that asks it to stop.
    pub stop_signal: u8,
    /// Seconds between that and `SIGKILL`; negative: for ever.
    pub stop_timeout_seconds: i64,
    /// Its root file system is read-only.
    pub read_only: bool,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Capabilities beyond the default.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default.
    pub cap_drop: Vec<String>,
    /// All capabilities and devices of the VM.
    pub privileged: bool,
    /// Resource limits of its processes.
    pub ulimits: Vec<Ulimit>,
    /// `--memory`.
    pub memory_bytes: Option<u64>,
    /// `--cpus`, in thousand-millionths.
    pub nano_cpus: Option<u64>,
    /// `--pids-limit`.
    pub pids_limit: Option<i64>,
    /// Run a small init as its PID 1.
    pub init: bool,
    /// Remove it when it ends.
    pub auto_remove: bool,
    /// Give it a user namespace.
    pub user_namespace: bool,
    /// The VM that it runs in.
    pub vm: VmConfig,
}

impl Default for ContainerConfig {
    /// Nothing asked: Docker's stop signal and time-out, and empty otherwise.
    fn default() -> Self {
        Self {
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            hostname: String::new(),
            domainname: String::new(),
            tty: false,
            open_stdin: false,
            stdin_once: false,
            attach_stdin: false,
            attach_stdout: false,
            attach_stderr: false,
            labels: BTreeMap::new(),
            stop_signal: 15,
            stop_timeout_seconds: 10,
            read_only: false,
            tmpfs: Vec::new(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            privileged: false,
            ulimits: Vec::new(),
            memory_bytes: None,
            nano_cpus: None,
            pids_limit: None,
            init: false,
            auto_remove: false,
            user_namespace: false,
            vm: VmConfig::default(),
        }
    }
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Where it is mounted.
    pub target: String,
    /// Mount options.
    pub options: Vec<String>,
}

/// A resource limit of a process, by getrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile` and so on.
    pub name: String,
    /// The limit in force; -1 for none.
    pub soft: i64,
    /// What it may be raised to; -1 for none.
    pub hard: i64,
}

/// What the user asked of the VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmConfig {
    /// `--vm`; none: a VM of its own.
    pub name: Option<String>,
    /// `--vm-memory`.
    pub memory_mib: Option<u32>,
    /// `--vm-cpus`.
    pub cpus: Option<u8>,
    /// `--backend`.
    pub backend: Option<String>,
    /// `--kernel`.
    pub kernel: Option<PathBuf>,
    /// Seconds without a container after which a named VM ends.
    pub idle_timeout_seconds: Option<u64>,
}

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Where it is in its life.
    pub status: Status,
    /// The VM that it runs in.
    pub vm: Option<VmId>,
    /// Its first process as the VM sees it.
    pub pid: Option<u32>,
    /// When it last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// Its last exit status, 128 + signal number if a signal ended it.
    pub exit_code: u8,
    /// The kernel killed a process of it because its memory limit was reached.
    pub oom_killed: bool,
    /// Why it ended or did not start, where the status does not tell.
    pub error: Option<String>,
}

impl ContainerState {
    /// That of a container to which nothing has happened.
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            vm: None,
            pid: None,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            error: None,
        }
    }
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has never run.
    Created,
    /// It runs, unless its VM's shim is dead.
    Running,
    /// It has ended.
    Exited,
}

/// A VM as it was made; never changes. `P` is the plan of its machine, which this crate does not look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRecord<P> {
    /// [`crate::VERSION`].
    pub version: u32,
    /// Its id.
    pub id: VmId,
    /// Its name, if it is shared.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What runs it.
    pub backend: String,
    /// What the machine is.
    pub machine: P,
    /// Seconds without a container after which it ends; none: never.
    pub idle_timeout_seconds: Option<u64>,
    /// What ends it.
    pub lifetime: Lifetime,
}

/// What ends a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// The end of its container.
    WithContainer,
    /// A command, or idleness.
    Named,
}
