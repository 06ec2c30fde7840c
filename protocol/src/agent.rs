//! The agent protocol, spoken over vsock between the shim and PID 1 of the guest.
//!
//! Nothing in the guest listens. The agent dials [`CONTROL_PORT`] of the host as soon as it runs and sends [`Hello`];
//! the host answers with [`Welcome`] and from then on sends [`HostFrame`]s, the agent [`GuestFrame`]s. The standard
//! streams of each process travel raw, each on a connection of its own, which the agent dials to the port that the
//! request named.
//!
//! OCI documents are a parameter of the requests that carry them: the host's end writes what `oci-spec` knows, the agent reads
//! with types of its own.

use crate::id::{ContainerId, ExecId, Port};
use serde::{Deserialize, Serialize};

/// OCI runtime-spec document of a container, unless a request names another type for it.
#[cfg(feature = "oci")]
pub type Spec = oci_spec::runtime::Spec;
/// OCI runtime-spec process object, unless a request names another type for it.
#[cfg(feature = "oci")]
pub type Process = oci_spec::runtime::Process;
/// Without the feature `oci` there is no such type: every request names one.
#[cfg(not(feature = "oci"))]
pub type Spec = std::convert::Infallible;
/// Without the feature `oci` there is no such type: every request names one.
#[cfg(not(feature = "oci"))]
pub type Process = std::convert::Infallible;

/// The one version of this protocol; both sides must state the same.
pub const VERSION: u32 = 1;

/// The host's port for the control connection.
pub const CONTROL_PORT: Port = Port(1024);

/// The first frame, from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The agent's [`VERSION`].
    pub version: u32,
    /// `uname -r` of the guest.
    pub kernel: String,
    /// Nanoseconds since the guest's kernel started (`CLOCK_BOOTTIME`).
    pub uptime_ns: u64,
}

/// The host's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The host's [`VERSION`].
    pub version: u32,
    /// The host's wall clock: the guest has no clock of its own that anyone vouches for.
    pub time: WallClock,
    /// Host name of the VM itself (containers have their own).
    pub hostname: String,
}

/// Time since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallClock {
    /// Whole seconds.
    pub seconds: u64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
}

/// A frame from the host, after the handshake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFrame<S = Spec, P = Process> {
    /// Chosen by the host; the agent's [`Answer`] bears the same.
    pub id: u64,
    /// What is asked.
    pub request: Request<S, P>,
}

/// A frame from the agent, after the handshake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum GuestFrame {
    /// The outcome of one request.
    Answer(Answer),
    /// Something that happened by itself.
    Event(Event),
}

/// The outcome of the request with the same `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The request's number.
    pub id: u64,
    /// What came of it.
    pub result: Result<Outcome, AgentError>,
}

/// What the host asks of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Request<S = Spec, P = Process> {
    /// Sets a container up and starts its first process. Answered with [`Outcome::Started`] once `execve` succeeded.
    Start(Box<StartContainer<S>>),
    /// Starts one more process in a running container. Answered with [`Outcome::Started`].
    Exec(Box<ExecProcess<P>>),
    /// Sends a signal. Answered with [`Outcome::Done`].
    Signal(SignalProcess),
    /// Changes the size of a process's terminal. Answered with [`Outcome::Done`].
    Resize(ResizeTerminal),
    /// Forgets a container whose end was told, and removes its cgroup. Its disks were given up before the end was told;
    /// once this is answered, with [`Outcome::Done`], the host unmaps the extents. Refused for a container that was
    /// started with `discard`; one whose start failed is forgotten already, and not found.
    Remove(ContainerRef),
    /// Reads a container's cgroup. Answered with [`Outcome::Usage`].
    Usage(ContainerRef),
    /// Lists the processes of a container. Answered with [`Outcome::Processes`].
    Processes(ContainerRef),
    /// Sets the wall clock if it is off by more than 100 ms. Answered with [`Outcome::Done`].
    SetTime(WallClock),
    /// Ends every container with `SIGKILL`, writes everything to disk and ends the VM. Answered with [`Outcome::Done`]
    /// right before the end.
    End,
}

/// A container, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerRef {
    /// Which one.
    pub container: ContainerId,
}

/// A process that the host started.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRef {
    /// In which container.
    pub container: ContainerId,
    /// Which exec; none: the container's first process.
    pub exec: Option<ExecId>,
}

/// [`Request::Start`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartContainer<S = Spec> {
    /// The name that later requests use.
    pub container: ContainerId,
    /// OCI runtime-spec document. `root.path` and `process.user` are placeholders: see `root` and `user`.
    pub spec: S,
    /// Where the root file system is.
    pub root: RootDisk,
    /// Docker's `--user`: `[name|uid][:group|gid]`, empty for root. Names are looked up in the image's files, which
    /// only the guest can read.
    pub user: String,
    /// Run a small init as the container's PID 1, which forwards signals and reaps (Docker's `--init`).
    pub init: bool,
    /// Nobody will read its writable layer once it has ended, and the VM ends with it. The agent then tells of the end
    /// at once, and neither writes out nor unmounts anything; [`Request::Remove`] is refused.
    pub discard: bool,
    /// Where the standard streams go.
    pub stdio: Stdio,
}

/// [`Request::Exec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecProcess<P = Process> {
    /// The name of the new process.
    pub process: ProcessRef,
    /// OCI runtime-spec process object; `user` is a placeholder.
    pub spec: P,
    /// As in [`StartContainer::user`].
    pub user: String,
    /// Where the standard streams go.
    pub stdio: Stdio,
}

/// The disks of a root file system: overlayfs of an EROFS below and an ext4 above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootDisk {
    /// The image's EROFS, in the `images` window.
    pub image: Extent,
    /// The writable layer's ext4, in the `data` window; the host made it with the size that it should have.
    pub data: Extent,
}

/// A range of one of the two window disks; both fields are multiples of 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Length in bytes, not zero.
    pub length: u64,
}

/// Where a process's standard streams go. A stream without a port is `/dev/null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Stdio {
    /// Three pipes. The agent half-closes or closes a connection when its stream ends, and closes the process's stdin
    /// when the host does.
    Pipes {
        /// Host to process.
        stdin: Option<Port>,
        /// Process to host.
        stdout: Option<Port>,
        /// Process to host.
        stderr: Option<Port>,
    },
    /// A pseudo-terminal; both directions on one connection.
    Terminal {
        /// The connection. The end of the host's direction does not end the process's input.
        port: Port,
        /// Its size at the start.
        size: TerminalSize,
    },
}

/// Character cells of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// [`Request::Signal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalProcess {
    /// To whom.
    pub process: ProcessRef,
    /// Linux signal number, 1 to 64.
    pub signal: u8,
}

/// [`Request::Resize`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeTerminal {
    /// Whose terminal.
    pub process: ProcessRef,
    /// The new size.
    pub size: TerminalSize,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// A process runs.
    Started {
        /// Its process id as the VM sees it.
        pid: u32,
    },
    /// A container's resource use.
    Usage(Usage),
    /// A container's processes.
    Processes(Vec<ProcessEntry>),
}

/// What a container's cgroup says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// `usage_usec` of `cpu.stat`.
    pub cpu_usec: u64,
    /// `memory.current` without the inactive file cache, as Docker counts it.
    pub memory_bytes: u64,
    /// `memory.max`; none without a limit.
    pub memory_limit: Option<u64>,
    /// `pids.current`.
    pub pids: u64,
}

/// One line of `top`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessEntry {
    /// Process id in the container.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Effective user id.
    pub uid: u32,
    /// Command line, arguments joined by spaces.
    pub command: String,
}

/// What the agent tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Event {
    /// A process that the host started has ended, and with a container's first process all others in it; unless it was
    /// started with `discard`, the container's file systems are then unmounted, so that every byte it wrote has reached
    /// the host.
    Exited {
        /// Which.
        process: ProcessRef,
        /// Exit status, 128 + signal number if a signal ended it.
        code: u8,
        /// The kernel killed a process of the container because its memory limit was reached.
        oom_killed: bool,
    },
    /// The agent cannot go on; the VM ends.
    Fatal {
        /// One line.
        message: String,
    },
    /// Something a person who looks for a fault wants to know.
    Warning {
        /// One line.
        message: String,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct AgentError {
    /// What kind of failure, for the host's decisions.
    pub code: ErrorCode,
    /// One line for a person, without the container's name.
    pub message: String,
}

/// The closed set of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The command does not exist (exit status 127).
    CommandNotFound,
    /// The command cannot be executed, or the working directory not entered (exit status 126).
    CommandNotExecutable,
    /// The user or group is not in the image.
    UnknownUser,
    /// No such container or process, or it has ended.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The request makes no sense.
    Invalid,
    /// The guest's kernel or this agent cannot do it.
    Unsupported,
    /// Anything else.
    Internal,
}
