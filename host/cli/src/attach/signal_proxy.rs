//! Signals that reach the command line while it is attached.
//!
//! Before the process runs, signals wait to be passed on. The first that means "end" besides stops the VM that boots
//! for the process alone, so that the start fails and leaves nothing behind; a named VM boots for others too. A
//! second one ends the command at once. Afterwards signals go to the container, or end the command alone if they are
//! not to be passed on; a change of the terminal's size goes to the process's terminal. Each travels on a connection
//! of its own, so that a process which does not read its standard input holds up none of them.

use hull_engine::{Engine, Session};
use hull_platform::signals::{self, LinuxSignal};
use hull_platform::terminal;
use hull_protocol::agent::TerminalSize;
use hull_state::VmDir;
use std::process;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What may happen to signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They are passed on.
    Proxy,
    /// Those that end a process end the command line; the container goes on.
    Own,
}

/// Signals that are passed on: all that can be caught, but those that the kernel sends for the process's own faults,
/// children and pipes, and those with which a shell stops a background process that uses the terminal.
const NOT_PASSED_ON: [&str; 14] =
    ["ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "SEGV", "PIPE", "CHLD", "STOP", "TTIN", "TTOU", "URG", "SYS"];

/// Signals that end a process, and leave the container alone when they are not passed on.
const ENDING: [LinuxSignal; 4] = [LinuxSignal::HUP, LinuxSignal::INT, LinuxSignal::QUIT, LinuxSignal::TERM];

/// Watches signals on a thread for as long as the command lives.
#[derive(Debug)]
pub struct SignalProxy {
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug)]
enum Phase {
    Starting {
        /// Signals for the process.
        waiting: Vec<LinuxSignal>,
        /// The VM that boots for it alone.
        vm: Option<VmDir>,
    },
    Running(Arc<Session>),
}

impl SignalProxy {
    /// From now on signals do what [`Mode`] says. Where the host has no signals nothing is watched.
    pub fn start(engine: &Arc<Engine>, mode: Mode) -> Self {
        let phase = Arc::new(Mutex::new(Phase::Starting { waiting: Vec::new(), vm: None }));
        if let Ok(signals) = signals::subscribe(&watched(mode)) {
            let watcher = Watcher { engine: Arc::clone(engine), mode, phase: Arc::clone(&phase) };
            // Without the thread signals would vanish; but a system that cannot make one is about to fail anyway.
            drop(thread::Builder::new().name("signals".to_owned()).spawn(move || watcher.run(&signals)));
        }
        Self { phase }
    }

    /// A VM boots for the process alone: if the person gives up, it goes too.
    pub fn booting(&self, engine: &Arc<Engine>, booting: &VmDir) {
        if let Phase::Starting { waiting, vm } = &mut *lock(&self.phase) {
            *vm = Some(booting.clone());
            if first_ending(waiting).is_some() {
                stop(engine, booting);
            }
        }
    }

    /// The start failed. If that is because the person gave up, the command ends in here, with the signal's exit
    /// status.
    pub fn failed(&self) {
        if let Phase::Starting { waiting, .. } = &*lock(&self.phase)
            && let Some(signal) = first_ending(waiting)
        {
            end(signal);
        }
    }

    /// The process runs: what waited is passed on.
    pub fn running(&self, engine: &Engine, session: &Arc<Session>) {
        let before = std::mem::replace(&mut *lock(&self.phase), Phase::Running(Arc::clone(session)));
        if let Phase::Starting { waiting, .. } = before {
            waiting.into_iter().for_each(|signal| deliver(engine, session, signal));
        }
    }
}

fn lock(phase: &Mutex<Phase>) -> MutexGuard<'_, Phase> {
    phase.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watched(mode: Mode) -> Vec<LinuxSignal> {
    match mode {
        Mode::Own => ENDING.into_iter().chain([LinuxSignal::WINCH]).collect(),
        Mode::Proxy => {
            let kept: Vec<LinuxSignal> = NOT_PASSED_ON.iter().filter_map(|name| name.parse().ok()).collect();
            LinuxSignal::all_named().filter(|signal| !kept.contains(signal)).collect()
        }
    }
}

struct Watcher {
    engine: Arc<Engine>,
    mode: Mode,
    phase: Arc<Mutex<Phase>>,
}

impl Watcher {
    fn run(&self, signals: &Receiver<LinuxSignal>) {
        for signal in signals {
            let running = match &mut *lock(&self.phase) {
                Phase::Starting { waiting, vm } => {
                    match (ENDING.contains(&signal), first_ending(waiting), vm) {
                        (true, Some(_), _) => end(signal),
                        (true, None, Some(vm)) => stop(&self.engine, vm),
                        _ => {}
                    }
                    waiting.push(signal);
                    continue;
                }
                Phase::Running(session) => Arc::clone(session),
            };
            if self.mode == Mode::Own && signal != LinuxSignal::WINCH {
                end(signal);
            }
            deliver(&self.engine, &running, signal);
        }
    }
}

fn first_ending(waiting: &[LinuxSignal]) -> Option<LinuxSignal> {
    waiting.iter().copied().find(|signal| ENDING.contains(signal))
}

/// On a thread of its own: a VM may take its time to end, and a second signal must be heard.
fn stop(engine: &Arc<Engine>, vm: &VmDir) {
    let (engine, vm) = (Arc::clone(engine), vm.clone());
    // Nothing can be done about a VM that does not want to go.
    drop(thread::Builder::new().name("stop".to_owned()).spawn(move || drop(engine.stop_vm(&vm))));
}

/// As the signal itself would, but with the terminal as it was.
fn end(signal: LinuxSignal) -> ! {
    terminal::restore();
    process::exit(128 + i32::from(signal.number()));
}

/// Whatever it was meant for may have ended by now, or have no terminal.
fn deliver(engine: &Engine, session: &Session, signal: LinuxSignal) {
    match terminal_size().filter(|_| signal == LinuxSignal::WINCH) {
        Some(size) => drop(engine.resize(session, size)),
        None => drop(engine.kill(session.container(), signal)),
    }
}

/// The size of the terminal that the command line runs in.
pub fn terminal_size() -> Option<TerminalSize> {
    terminal::size().map(|(rows, columns)| TerminalSize { rows, columns })
}
