//! The containers that run in a VM, and the processes in them.

use super::gate::Gate;
use super::process::{Exit, Process};
use hull_protocol::agent::ProcessRef;
use hull_protocol::{ContainerId, ExecId, exit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A container from before its start until its end is recorded.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub id: ContainerId,
    /// Its first process.
    pub process: Arc<Process>,
    /// The other processes that the host started in it.
    execs: Mutex<BTreeMap<ExecId, Arc<Process>>>,
    /// Opens when its end is recorded and nothing is left to do.
    pub gate: Gate,
    /// Settings that requests need.
    pub settings: Settings,
}

/// Settings of a container that requests need.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// It has a terminal.
    pub tty: bool,
    /// Close standard input when the first client that attached to it leaves.
    pub stdin_once: bool,
    /// Linux signal number that asks it to stop.
    pub stop_signal: u8,
    /// Seconds between that and `SIGKILL`; negative: for ever.
    pub stop_timeout_seconds: i64,
}

impl Container {
    /// A container that is about to be started.
    pub fn new(id: ContainerId, process: Arc<Process>, settings: Settings) -> Self {
        Self { id, process, execs: Mutex::default(), gate: Gate::default(), settings }
    }

    fn execs(&self) -> MutexGuard<'_, BTreeMap<ExecId, Arc<Process>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a process that is about to be started; `false` if the name is taken.
    pub fn add_exec(&self, exec: ExecId, process: Arc<Process>) -> bool {
        let mut execs = self.execs();
        let free = !execs.contains_key(&exec);
        if free {
            execs.insert(exec, process);
        }
        free
    }

    /// Forgets a process.
    pub fn remove_exec(&self, exec: &ExecId) {
        self.execs().remove(exec);
    }

    /// A process by its name.
    pub fn exec(&self, exec: &ExecId) -> Option<Arc<Process>> {
        self.execs().get(exec).cloned()
    }

    /// What else ran in it has ended with it.
    pub fn end_execs(&self, error: Option<&str>) {
        for process in self.execs().values() {
            process.exited(killed(error));
        }
    }
}

fn killed(error: Option<&str>) -> Exit {
    Exit { code: exit::KILLED, oom_killed: false, error: error.map(str::to_owned) }
}

/// The containers of a VM.
#[derive(Debug, Default)]
pub struct Roster(Mutex<BTreeMap<ContainerId, Arc<Container>>>);

impl Roster {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Arc<Container>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a container; `false` if it is there already.
    pub fn add(&self, container: &Arc<Container>) -> bool {
        let mut all = self.lock();
        let free = !all.contains_key(&container.id);
        if free {
            all.insert(container.id.clone(), Arc::clone(container));
        }
        free
    }

    /// Takes a container off.
    pub fn remove(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// A container.
    pub fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.lock().get(id).cloned()
    }

    /// All containers.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.lock().values().cloned().collect()
    }

    /// The agent says that a process has ended; `false` if it is unknown.
    pub fn exited(&self, name: &ProcessRef, code: u8, oom_killed: bool) -> bool {
        let Some(container) = self.get(&name.container) else { return false };
        let process = match &name.exec {
            Some(exec) => container.exec(exec),
            None => Some(Arc::clone(&container.process)),
        };
        process.is_some_and(|process| process.exited(Exit { code, oom_killed, error: None }))
    }

    /// The VM has ended, and with it every process.
    pub fn vm_ended(&self, why: &str) {
        for container in self.all() {
            container.process.exited(killed(Some(why)));
            container.end_execs(Some(why));
        }
    }
}
