//! The streams of an attached process: the terminal of the person, the session with the shim, and what goes between.
//!
//! This thread takes what the process prints; one more reads standard input and sends it; a third watches signals
//! ([`SignalProxy`]). All of them block, none polls.

mod detach_keys;
mod signal_proxy;

pub use detach_keys::DetachKeys;
pub use signal_proxy::{Mode, SignalProxy, terminal_size};

use crate::failure::Failure;
use crate::output;
use detach_keys::Detector;
use hull_engine::{Engine, Session, SessionEnd};
use hull_platform::terminal::{self, RawMode, Standard};
use hull_protocol::session::{self, Ended, Kind};
use hull_protocol::shim::Attach;
use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What is read from standard input at once.
const READ_SIZE: usize = 32 << 10;

/// Which streams are attached, and how.
#[derive(Debug, Clone)]
pub struct Streams {
    /// For the shim.
    pub attach: Attach,
    /// The process has a terminal.
    pub tty: bool,
    /// The keys that detach.
    pub detach_keys: DetachKeys,
}

/// How a session ended for the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended.
    Ended(SessionEnd),
    /// The person detached; the process goes on.
    Detached,
}

impl Streams {
    /// Streams of a process, with the terminal's size if it gets one.
    pub fn new(stdin: bool, tty: bool, detach_keys: DetachKeys) -> Self {
        let size = if tty { terminal_size() } else { None };
        Self { attach: Attach { stdin, stdout: true, stderr: true, size }, tty, detach_keys }
    }

    /// Refuses what cannot work: a terminal for a process whose input is none.
    pub fn check(&self) -> Result<(), Failure> {
        if self.tty && self.attach.stdin && !terminal::is_terminal(Standard::Input) {
            return Err(Failure::new("the input device is not a TTY (leave out -t, or give hull a terminal)"));
        }
        Ok(())
    }
}

/// Carries the streams until the process ends or the person detaches.
pub fn carry(engine: &Engine, session: Session, streams: &Streams, signals: &SignalProxy) -> Result<Outcome, Failure> {
    let raw = match streams.tty && streams.attach.stdin && terminal::is_terminal(Standard::Input) {
        true => Some(RawMode::enter().map_err(|error| Failure::new(format!("cannot set the terminal up: {error}")))?),
        false => None,
    };
    let session = Arc::new(session);
    signals.running(engine, &session);
    let detached = Arc::new(AtomicBool::new(false));
    if streams.attach.stdin {
        let input = Input {
            session: Arc::clone(&session),
            detached: Arc::clone(&detached),
            detector: streams.tty.then(|| Detector::new(streams.detach_keys.clone())),
        };
        // It ends with the process: nothing can interrupt a read of standard input.
        let spawned = thread::Builder::new().name("stdin".to_owned()).spawn(move || input.run());
        spawned.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    }
    let ended = print(&session);
    drop(raw);
    match ended? {
        _ if detached.load(Ordering::Acquire) => Ok(Outcome::Detached),
        Some(ended) => Ok(Outcome::Ended(engine.session_ended(&session, ended))),
        None => Ok(Outcome::Ended(engine.session_lost(&session)?)),
    }
}

/// Prints what the process prints, until the session ends; without an [`Ended`] it broke off.
fn print(session: &Session) -> Result<Option<Ended>, Failure> {
    let mut payload = Vec::with_capacity(session::MAX_CHUNK);
    loop {
        match session::read(&mut &session.stream, &mut payload) {
            Ok(Some(Kind::Stdout)) => output::write(&mut io::stdout().lock(), &payload)?,
            Ok(Some(Kind::Stderr)) => output::write(&mut io::stderr().lock(), &payload)?,
            Ok(Some(Kind::Ended)) => {
                let ended = serde_json::from_slice(&payload);
                return ended.map(Some).map_err(|_| Failure::new("the VM's shim does not answer as it should"));
            }
            Ok(Some(Kind::Stdin)) => {}
            // What the connection's end means is found out from the VM.
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}

struct Input {
    session: Arc<Session>,
    detached: Arc<AtomicBool>,
    detector: Option<Detector>,
}

impl Input {
    fn run(mut self) {
        let mut typed = vec![0; READ_SIZE];
        let mut passed = Vec::new();
        loop {
            let count = match io::stdin().lock().read(&mut typed) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An end, or a terminal that went away.
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            let detach = match &mut self.detector {
                None => {
                    passed.clear();
                    passed.extend_from_slice(&typed[..count]);
                    false
                }
                Some(detector) => {
                    passed.clear();
                    detector.feed(&typed[..count], &mut passed)
                }
            };
            if !passed.is_empty() && self.send(&passed).is_err() {
                return;
            }
            if detach {
                self.detached.store(true, Ordering::Release);
                // Wakes the thread that prints; for the shim it means that we leave. It may have gone already.
                drop(self.session.stream.shutdown(Shutdown::Both));
                return;
            }
        }
        // An empty chunk is the end of the input. The process may have ended.
        drop(self.send(&[]));
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        session::write(&mut &self.session.stream, Kind::Stdin, bytes)
    }
}
