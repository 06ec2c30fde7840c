//! The shim: one process per VM, which outlives the command that started it and keeps everything that must not be lost.
//!
//! It is the parent of the vmm and of QEMU, holds the VM's lock, alone writes the states of its running containers, keeps
//! their logs, and opens every file that the VM gets to see. It parses what the guest's *agent* says, but nothing that
//! reaches a virtio queue.
//!
//! ```text
//!   commands ──socket──> server ──> container, exec, stop, session          supervisor <── ends of vmm, QEMU, agent
//!                                      │          │         │                   │
//!                          vmm_link <──┴── agent <┘         └── process ── outbox (one for each attached client)
//!                             │              │                     │
//!                            vmm         guest agent          streams of the process
//! ```
//!
//! The end of a VM, by who calls what; each arrow is a wait that ends:
//!
//! ```text
//!   first thread: Running::until_gone        thread of each container: Run            thread of each client
//!   supervise: facts, until one is a cause <─ its end: Shim::end, or give_up <──────── StopVm: Shim::end
//!     Life::begin_end: nobody comes in
//!     Children::kill, until all are dead
//!     Roster::vm_ended ─────────────────────> Process::wait
//!     Life::ended ──────────────────────────> Life::wait_ended
//!                                             Run::record: state, or removal; logs
//!   Life::wait_recorded <──────────────────── Run::depart: drops its Member
//!   wait_for_starter
//!   clear_away: socket, directory
//!   Life::gone ─────────────────────────────> Life::wait_gone
//!                                             Process::finish, Gate::open ───────────> last chunk, answer
//!   Connections::wait_until_served <────────────────────────────────────────────────── Connection::leave
//!   the process ends: connections close
//! ```

mod agent;
mod connections;
mod console;
mod container;
mod disks;
mod entry;
mod exec;
mod findings;
mod gate;
mod life;
mod outbox;
mod process;
mod roster;
mod server;
mod session;
mod stdio;
mod stop;
mod supervisor;
#[cfg(test)]
mod tests;
mod vmm_link;
mod windows;

pub use entry::{CONTROL, shim};

use crate::control::MachineEnd;
use agent::{Agent, CallError, Lost};
use connections::Connections;
use disks::Disks;
use findings::Fact;
use hull_protocol::ContainerId;
use hull_protocol::agent::{ErrorCode, ProcessRef};
use hull_protocol::shim::{ShimError, ShimErrorCode};
use hull_state::{StateRoot, VmDir};
use life::Life;
use roster::Roster;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use vmm_link::Vmm;

/// For the agent to answer a request that starts nothing.
const REQUEST: Duration = Duration::from_secs(30);

/// What a thread's deepest call needs, JSON of the greatest depth that is accepted included, with room to spare.
const STACK: usize = 256 << 10;

/// Starts a thread.
fn thread<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}

/// What the threads of a shim share.
#[derive(Debug)]
struct Shim {
    state: StateRoot,
    vm: VmDir,
    /// The VM belongs to one container and ends with it.
    own: bool,
    /// The container of a VM of its own.
    only: OnceLock<ContainerId>,
    idle_timeout: Option<Duration>,
    /// Role and process id of each child, for whoever asks.
    children: Vec<(&'static str, u32)>,
    life: Arc<Life>,
    facts: Sender<Fact>,
    roster: Arc<Roster>,
    agent: Agent,
    vmm: Vmm,
    disks: Disks,
    connections: Arc<Connections>,
}

impl Shim {
    /// Whether a container may be started here at all: a VM of its own takes one.
    fn admits(&self, container: &ContainerId) -> bool {
        !self.own || self.only.set(container.clone()).is_ok()
    }

    /// Ends the VM at once, because that is what everybody wants.
    fn end(&self) {
        self.life.intend_end();
        self.tell(Fact::EndNow);
    }

    /// Ends the VM at once, because it is of no use any more.
    fn give_up(&self, why: String) {
        self.tell(Fact::Failure(why));
    }

    /// Has deadlines computed again.
    fn recount(&self) {
        self.tell(Fact::Recount);
    }

    fn tell(&self, fact: Fact) {
        // The supervisor is gone only after the VM.
        let _ = self.facts.send(fact);
    }
}

/// Passes on what the agent tells by itself.
struct AgentNews {
    life: Arc<Life>,
    roster: Arc<Roster>,
    facts: Sender<Fact>,
}

impl agent::Listener for AgentNews {
    fn ready(&self, kernel: &str) {
        self.life.ready(kernel);
        let _ = self.facts.send(Fact::Recount);
    }

    fn exited(&self, process: &ProcessRef, code: u8, oom_killed: bool) -> bool {
        self.roster.exited(process, code, oom_killed)
    }

    fn lost(&self, lost: Lost) {
        let _ = self.facts.send(Fact::Agent(lost));
    }
}

/// Passes on what the vmm tells by itself.
struct VmmNews {
    life: Arc<Life>,
    facts: Sender<Fact>,
}

impl vmm_link::Listener for VmmNews {
    fn confined(&self, layers: Vec<String>) {
        self.life.confined(layers);
    }

    fn machine_ended(&self, end: MachineEnd) {
        let _ = self.facts.send(Fact::Machine(end));
    }

    fn lost(&self) {
        let _ = self.facts.send(Fact::VmmSilent);
    }
}

/// What a client is told about a request that the agent did not fulfil.
fn call_code(error: &CallError) -> ShimErrorCode {
    match error {
        CallError::Agent(error) => match error.code {
            ErrorCode::CommandNotFound => ShimErrorCode::CommandNotFound,
            ErrorCode::CommandNotExecutable => ShimErrorCode::CommandNotExecutable,
            ErrorCode::NotFound => ShimErrorCode::NotFound,
            ErrorCode::AlreadyExists => ShimErrorCode::AlreadyExists,
            ErrorCode::UnknownUser | ErrorCode::Invalid | ErrorCode::Unsupported | ErrorCode::Internal => {
                ShimErrorCode::Internal
            }
        },
        CallError::Gone => ShimErrorCode::VmGone,
        _ => ShimErrorCode::Internal,
    }
}

fn call_error(error: &CallError) -> ShimError {
    ShimError { code: call_code(error), message: crate::text::chain(error) }
}
