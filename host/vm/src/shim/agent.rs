//! The connection to the guest agent: handshake, requests with their answers, events.
//!
//! The guest is hostile. A frame that is oversized, truncated or not of the protocol ends the connection, and with it
//! the VM; an answer or an event that belongs to nothing is counted, and too many of them end it as well. Requests go
//! out through a thread of their own, so that a guest that does not read holds up nobody who has a deadline.

use crate::rate::LineLimit;
use crate::text;
use hull_platform::socket::LocalStream;
use hull_protocol::agent::{
    AgentError, Answer, Event, GuestFrame, Hello, HostFrame, Outcome, ProcessRef, Request, VERSION, WallClock, Welcome,
};
use hull_protocol::frame::{self, FrameError};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Frames that may wait for a guest that does not read.
const OUTGOING: usize = 64;

/// Answers and events that belong to nothing, before the guest is given up. A late answer to a request whose time was
/// up is among them, so a few are normal.
const MAX_STRAYS: u32 = 1000;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The agent says so.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The agent answered with something else than the request asks for.
    #[error("the agent gave an answer that does not fit the request")]
    Mismatch,
    /// Nothing came in time.
    #[error("the guest did not answer within {0} s")]
    Deadline(u64),
    /// It does not even read.
    #[error("the guest does not read its requests")]
    Blocked,
    /// The request is too large.
    #[error("cannot send the request to the guest")]
    Frame(#[from] FrameError),
    /// It has not come up yet.
    #[error("the guest is not ready")]
    Silent,
    /// The VM is ending.
    #[error("the VM has ended")]
    Gone,
}

/// What the agent tells by itself, and what becomes of the connection.
pub trait Listener: Send + Sync {
    /// The handshake is done.
    fn ready(&self, kernel: &str);
    /// A process ended; `false` if nobody knows it.
    fn exited(&self, process: &ProcessRef, code: u8, oom_killed: bool) -> bool;
    /// The connection is of no further use.
    fn lost(&self, lost: Lost);
}

/// What an answer says.
type Answered = Result<Outcome, AgentError>;

/// Sends requests to the agent.
#[derive(Debug)]
pub struct Agent {
    outgoing: SyncSender<Vec<u8>>,
    pending: Arc<Pending>,
}

/// The requests that wait for their answers.
#[derive(Debug, Default)]
struct Pending(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    waiting: HashMap<u64, SyncSender<Answered>>,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing may be asked before the handshake.
    #[default]
    Silent,
    Open,
    Closed,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self) -> Result<(u64, Receiver<Answered>), CallError> {
        let mut table = self.lock();
        match table.stage {
            Stage::Silent => return Err(CallError::Silent),
            Stage::Closed => return Err(CallError::Gone),
            Stage::Open => {}
        }
        table.last += 1;
        let id = table.last;
        let (sender, receiver) = sync_channel(1);
        table.waiting.insert(id, sender);
        Ok((id, receiver))
    }

    fn forget(&self, id: u64) {
        self.lock().waiting.remove(&id);
    }

    /// Whether somebody waited for it.
    fn answer(&self, answer: Answer) -> bool {
        let waiting = self.lock().waiting.remove(&answer.id);
        waiting.is_some_and(|sender| sender.send(answer.result).is_ok())
    }

    fn open(&self) {
        self.lock().stage = Stage::Open;
    }

    fn close(&self) {
        let mut table = self.lock();
        table.stage = Stage::Closed;
        table.waiting.clear();
    }
}

impl Agent {
    /// Begins to serve the host's end of the control connection; the guest may take its time to speak.
    ///
    /// # Errors
    /// If the threads or the descriptor for them cannot be had.
    pub fn start(stream: LocalStream, hostname: String, listener: Arc<dyn Listener>) -> std::io::Result<Self> {
        let (outgoing, frames) = sync_channel::<Vec<u8>>(OUTGOING);
        let pending = Arc::new(Pending::default());
        let writer = stream.try_clone()?;
        super::thread("agent-out", move || write_frames(&writer, &frames))?;
        let reader = Reader {
            stream,
            outgoing: outgoing.clone(),
            pending: Arc::clone(&pending),
            listener,
            strays: 0,
            limit: LineLimit::new(Instant::now()),
        };
        super::thread("agent-in", move || reader.run(hostname))?;
        Ok(Self { outgoing, pending })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&self, request: Request, limit: Duration) -> Result<Outcome, CallError> {
        let (id, answer) = self.pending.add()?;
        let outcome = self.send(&HostFrame { id, request }).and_then(|()| match answer.recv_timeout(limit) {
            Ok(result) => result
                .map_err(|AgentError { code, message }| AgentError { code, message: text::one_line(&message) }.into()),
            Err(RecvTimeoutError::Timeout) => Err(CallError::Deadline(limit.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err(CallError::Gone),
        });
        self.pending.forget(id);
        outcome
    }

    /// As [`Agent::call`], for requests that are answered with [`Outcome::Done`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn order(&self, request: Request, limit: Duration) -> Result<(), CallError> {
        match self.call(request, limit)? {
            Outcome::Done => Ok(()),
            _ => Err(CallError::Mismatch),
        }
    }

    /// As [`Agent::call`], for requests that are answered with [`Outcome::Started`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn start_process(&self, request: Request, limit: Duration) -> Result<u32, CallError> {
        match self.call(request, limit)? {
            Outcome::Started { pid } => Ok(pid),
            _ => Err(CallError::Mismatch),
        }
    }

    fn send(&self, frame: &HostFrame) -> Result<(), CallError> {
        self.outgoing.try_send(frame::encode(frame)?).map_err(|error| match error {
            TrySendError::Full(_) => CallError::Blocked,
            TrySendError::Disconnected(_) => CallError::Gone,
        })
    }
}

fn write_frames(mut stream: &LocalStream, frames: &Receiver<Vec<u8>>) {
    while let Ok(frame) = frames.recv() {
        // The reader notices that the connection is gone, and says so.
        if stream.write_all(&frame).is_err() {
            return;
        }
    }
}

/// Why the connection ended. Texts in it are one line and harmless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It just ended, as it does when something else has died.
    #[error("the guest's agent closed its connection")]
    Closed,
    /// The agent said that it cannot go on.
    #[error("the guest's agent said: {0}")]
    Said(String),
    /// What came is not the protocol.
    #[error("the guest's agent broke the protocol: {0}")]
    Broken(String),
    /// It is another version of the protocol.
    #[error("the guest's agent speaks version {theirs} of the protocol, this hull speaks {VERSION}")]
    Version {
        /// The agent's.
        theirs: u32,
    },
}

impl From<FrameError> for Lost {
    fn from(error: FrameError) -> Self {
        match error {
            // How a connection ends when the guest or the vmm died.
            FrameError::Io(_) => Self::Closed,
            error => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                Self::Broken(text::one_line(&format!("{error}{cause}")))
            }
        }
    }
}

struct Reader {
    stream: LocalStream,
    outgoing: SyncSender<Vec<u8>>,
    pending: Arc<Pending>,
    listener: Arc<dyn Listener>,
    strays: u32,
    limit: LineLimit,
}

impl Reader {
    fn run(mut self, hostname: String) {
        let Err(lost) = self.shake_hands(hostname).and_then(|()| self.read_frames());
        self.pending.close();
        // The guest must not wait for us to read what it still sends.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.listener.lost(lost);
    }

    fn shake_hands(&mut self, hostname: String) -> Result<(), Lost> {
        let hello: Hello = frame::read(&mut &self.stream)?.ok_or(Lost::Closed)?;
        if hello.version != VERSION {
            return Err(Lost::Version { theirs: hello.version });
        }
        let welcome = frame::encode(&Welcome { version: VERSION, time: now(), hostname })?;
        // Before anybody was told that the agent is ready, nobody has sent anything: there is room.
        self.outgoing.send(welcome).map_err(|_| Lost::Closed)?;
        self.pending.open();
        self.listener.ready(&text::one_line(&hello.kernel));
        Ok(())
    }

    fn read_frames(&mut self) -> Result<std::convert::Infallible, Lost> {
        loop {
            match frame::read(&mut &self.stream)?.ok_or(Lost::Closed)? {
                GuestFrame::Answer(answer) => {
                    if !self.pending.answer(answer) {
                        self.stray("an answer that nobody waits for")?;
                    }
                }
                GuestFrame::Event(event) => self.event(event)?,
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Exited { process, code, oom_killed } => {
                if !self.listener.exited(&process, code, oom_killed) {
                    self.stray("the end of an unknown process")?;
                }
            }
            Event::Fatal { message } => return Err(Lost::Said(text::one_line(&message))),
            Event::Warning { message } => self.note(&text::one_line(&message)),
        }
        Ok(())
    }

    fn stray(&mut self, what: &str) -> Result<(), Lost> {
        self.note(what);
        self.strays += 1;
        if self.strays > MAX_STRAYS {
            return Err(Lost::Broken(format!("over {MAX_STRAYS} frames that belong to nothing")));
        }
        Ok(())
    }

    fn note(&mut self, what: &str) {
        match self.limit.allow(Instant::now()) {
            Some(0) => log::warn!("guest: {what}"),
            Some(left_out) => log::warn!("guest: {what} ({left_out} lines left out before this one)"),
            None => {}
        }
    }
}

/// The host's wall clock, in the protocol's form.
pub fn now() -> WallClock {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallClock { seconds: since_epoch.as_secs(), nanoseconds: since_epoch.subsec_nanos() }
}

#[cfg(test)]
mod tests;
