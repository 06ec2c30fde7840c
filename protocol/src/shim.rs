//! The requests that the command line and the API server send to the shim of a VM.
//!
//! One request per connection: the client sends [`Call`], the shim answers with [`Reply`]. A request that attaches turns
//! the connection, after [`Reply::Started`] or [`Reply::Attached`], into a [`crate::session`].

use crate::agent::{ProcessEntry, TerminalSize, Usage};
use crate::exit;
use crate::id::{ContainerId, ExecId};
use oci_spec::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The one version of this protocol. A client of another version may still send [`Request::Status`] and
/// [`Request::StopVm`]; everything else is refused by name.
pub const VERSION: u32 = 2;

/// The first and only frame from a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The client's [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub request: Request,
}

/// What is asked of a shim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start a container that the engine has prepared. Answered with [`Reply::Started`].
    Start(Box<ContainerPlan>, Option<Attach>),
    /// Attach to a running container. Answered with [`Reply::Attached`].
    Attach(ContainerId, Attach),
    /// Run one more process. Answered with [`Reply::Started`].
    Exec(Box<ExecPlan>, Option<Attach>),
    /// Send a signal to a container's first process. Answered with [`Reply::Done`].
    Signal(ContainerId, u8),
    /// Stop a container: its stop signal, then after `timeout_seconds` `SIGKILL`. Answered with [`Reply::Ended`].
    Stop {
        /// Which container.
        container: ContainerId,
        /// In place of the plan's stop signal.
        signal: Option<u8>,
        /// In place of the plan's time; negative: wait for ever.
        timeout_seconds: Option<i64>,
    },
    /// Wait for a container's end. Answered with [`Reply::Ended`].
    Wait(ContainerId),
    /// Change the size of a terminal. Answered with [`Reply::Done`].
    Resize(ContainerId, Option<ExecId>, TerminalSize),
    /// Answered with [`Reply::Usage`].
    Usage(ContainerId),
    /// Answered with [`Reply::Processes`].
    Processes(ContainerId),
    /// What only the shim knows of the VM. Answered with [`Reply::Status`].
    Status,
    /// Stop every container (as [`Request::Stop`] without options), then the VM. Answered with [`Reply::Done`].
    StopVm,
}

/// What the shim answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It was done.
    Done,
    /// The process runs.
    Started {
        /// Its process id in the VM.
        pid: u32,
    },
    /// The connection is now a session.
    Attached,
    /// The container has ended.
    Ended {
        /// Its exit status.
        code: u8,
    },
    /// Resource use.
    Usage(Usage),
    /// The container's processes.
    Processes(Vec<ProcessEntry>),
    /// The VM.
    Status(VmStatus),
    /// It failed.
    Error(ShimError),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ShimError {
    /// What kind of failure.
    pub code: ShimErrorCode,
    /// One line for a person.
    pub message: String,
}

/// The closed set of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShimErrorCode {
    /// The command does not exist.
    CommandNotFound,
    /// The command cannot be executed.
    CommandNotExecutable,
    /// No such container, or it does not run.
    NotFound,
    /// It runs already.
    AlreadyExists,
    /// The versions differ; the message says which.
    Version,
    /// The VM is ending or has failed; the message says why.
    VmGone,
    /// Anything else.
    Internal,
}

impl ShimErrorCode {
    /// The exit status that Docker's command line gives to it.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::CommandNotFound => exit::NOT_FOUND,
            Self::CommandNotExecutable => exit::NOT_EXECUTABLE,
            _ => exit::HULL,
        }
    }
}

/// Which streams a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Send what the client sends to the process's standard input.
    pub stdin: bool,
    /// Send the process's standard output to the client.
    pub stdout: bool,
    /// Send the process's standard error to the client.
    pub stderr: bool,
    /// Size of the client's terminal, if it has one.
    pub size: Option<TerminalSize>,
}

/// Everything a shim needs to run one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// Which container; its directory in the state root holds the data file, log and state.
    pub container: ContainerId,
    /// The OCI runtime-spec document, complete but for what only the guest can know.
    pub spec: Spec,
    /// Docker's `--user`, resolved in the guest.
    pub user: String,
    /// Run a small init as PID 1.
    pub init: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep standard input open though nobody is attached.
    pub open_stdin: bool,
    /// Close standard input when the first client that attached to it leaves.
    pub stdin_once: bool,
    /// The image's root file system, an EROFS image: files that are mapped one behind the other.
    pub image: Vec<PathBuf>,
    /// Linux signal number that asks it to stop.
    pub stop_signal: u8,
    /// Seconds between that and `SIGKILL`; negative: for ever.
    pub stop_timeout_seconds: i64,
    /// Remove the container when it ends (Docker's `--rm`).
    pub auto_remove: bool,
}

/// Everything a shim needs to run one more process in a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// In which container.
    pub container: ContainerId,
    /// Its name.
    pub exec: ExecId,
    /// The OCI process object.
    pub process: Process,
    /// Docker's `--user`, resolved in the guest.
    pub user: String,
    /// Whether standard input is connected.
    pub open_stdin: bool,
}

/// What only the shim knows of its VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStatus {
    /// `uname -r` of its kernel, once the agent has said it.
    pub kernel: Option<String>,
    /// Process ids on the host: the shim's, the vmm's, and of a helper such as QEMU.
    pub processes: Vec<VmProcess>,
    /// The layers of the jail that hold the vmm, by name; empty until it has said so.
    pub jail: Vec<String>,
}

/// A host process of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmProcess {
    /// `shim`, `vmm` or `qemu`.
    pub role: String,
    /// Its process id.
    pub pid: u32,
}
