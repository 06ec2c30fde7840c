//! A process in the guest that the host started, and whoever is attached to it.
//!
//! ```text
//!   guest ── vsock ── stream ──> pump ──┬──> log of the container
//!                                       ├──> outbox of client 1
//!                                       └──> outbox of client 2
//! ```
//! It is over when its exit status has come *and* its pumps have seen the end of its streams; the status travels on the
//! control connection and can overtake output.

use super::outbox::Outbox;
use hull_platform::socket::LocalStream;
use hull_protocol::session::{Ended, Kind};
use hull_state::log::{LogWriter, Stream};
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit status.
    pub code: u8,
    /// The memory limit of its container was reached.
    pub oom_killed: bool,
    /// Why, if the status does not tell: the VM died under it.
    pub error: Option<String>,
}

/// How long output may still come after a process has ended.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without a byte.
    pub quiet: Duration,
    /// At all.
    pub total: Duration,
}

/// A client that is attached.
#[derive(Debug, Clone)]
pub struct Client {
    /// What is on its way to it.
    pub outbox: Arc<Outbox>,
    /// It wants standard output.
    pub stdout: bool,
    /// It wants standard error.
    pub stderr: bool,
}

/// A process and its clients.
#[derive(Debug)]
pub struct Process {
    state: Mutex<State>,
    changed: Condvar,
    /// Where output is recorded, for a container's first process.
    log: Option<Mutex<Option<LogWriter>>>,
}

#[derive(Debug, Default)]
struct State {
    clients: Vec<Client>,
    stdin: Option<LocalStream>,
    /// The host's ends of the streams that pumps read, to cut them off.
    sources: Vec<LocalStream>,
    pumps: usize,
    delivered: u64,
    exit: Option<Exit>,
    ended: Option<Ended>,
}

impl Process {
    /// A process that is about to be started, with the client that starts it.
    pub fn new(log: Option<LogWriter>, client: Option<Client>) -> Self {
        let state = State { clients: client.into_iter().collect(), ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new(), log: log.map(|log| Mutex::new(Some(log))) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it the stream that leads to its standard input.
    pub fn set_stdin(&self, stream: LocalStream) {
        self.lock().stdin = Some(stream);
    }

    /// The stream to its standard input, for a thread of its own: writing to it can block.
    pub fn stdin(&self) -> Option<LocalStream> {
        self.lock().stdin.as_ref().and_then(|stream| stream.try_clone().ok())
    }

    /// Ends its standard input.
    pub fn close_stdin(&self) {
        // A stream whose other end is gone is as closed as it can be.
        self.lock().stdin.take().map(|stream| stream.shutdown(Shutdown::Write));
    }

    /// Starts the thread that delivers what comes on `source`.
    ///
    /// # Errors
    /// If the thread or its descriptor cannot be had.
    pub fn pump(self: &Arc<Self>, source: LocalStream, kind: Kind) -> io::Result<()> {
        let mut state = self.lock();
        state.sources.push(source.try_clone()?);
        let process = Arc::clone(self);
        super::thread("output", move || process.run_pump(&source, kind))?;
        state.pumps += 1;
        Ok(())
    }

    fn run_pump(&self, mut source: &LocalStream, kind: Kind) {
        let mut buffer = vec![0; hull_protocol::session::MAX_CHUNK];
        loop {
            match io::Read::read(&mut source, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // An error is what an end looks like when the other side has died.
                Ok(0) | Err(_) => break,
                Ok(count) => self.deliver(kind, buffer.get(..count).unwrap_or_default()),
            }
        }
        self.lock().pumps -= 1;
        self.changed.notify_all();
    }

    fn deliver(&self, kind: Kind, bytes: &[u8]) {
        self.record(kind, bytes);
        let clients = {
            let mut state = self.lock();
            state.delivered = state.delivered.wrapping_add(1);
            state.clients.clone()
        };
        for client in clients {
            let wanted = if kind == Kind::Stderr { client.stderr } else { client.stdout };
            if wanted && client.outbox.push(kind, bytes).is_err() {
                self.detach(&client.outbox);
            }
        }
    }

    fn record(&self, kind: Kind, bytes: &[u8]) {
        let Some(log) = &self.log else { return };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = if kind == Kind::Stderr { Stream::Stderr } else { Stream::Stdout };
        let recorded = log.as_mut().map(|log| log.append(stream, jiff::Timestamp::now(), bytes));
        if let Some(Err(error)) = recorded {
            // The process must not suffer because the disk is full; the log says less than it did.
            log::error!("a container's log is given up: {}", crate::text::chain(&error));
            *log = None;
        }
    }

    /// Adds a client; with a process that is over it gets the end at once.
    pub fn attach(&self, client: Client) {
        let mut state = self.lock();
        if state.exit.is_some() {
            client.outbox.expect_the_last();
        }
        match &state.ended {
            Some(ended) => client.outbox.end(ended.clone()),
            None => state.clients.push(client),
        }
    }

    /// Lets a client go.
    pub fn detach(&self, outbox: &Arc<Outbox>) {
        outbox.close();
        self.lock().clients.retain(|client| !Arc::ptr_eq(&client.outbox, outbox));
    }

    /// Says how it ended. The first word counts: `false` if there was one.
    pub fn exited(&self, exit: Exit) -> bool {
        let mut state = self.lock();
        let first = state.exit.is_none();
        state.exit.get_or_insert(exit);
        self.changed.notify_all();
        first
    }

    /// Waits for its end, but not for longer than `limit`.
    pub fn wait_exit(&self, limit: Duration) {
        let waiting = self.changed.wait_timeout_while(self.lock(), limit, |state| state.exit.is_none());
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until it has ended and everything it wrote is delivered or on its way to clients.
    pub fn wait(&self, patience: Patience) -> Exit {
        let mut state = self.lock();
        let exit = loop {
            match state.exit.clone() {
                Some(exit) => break exit,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        state.clients.iter().for_each(|client| client.outbox.expect_the_last());
        // Whoever is stuck in a write to it is freed.
        state.stdin.take().map(|stream| stream.shutdown(Shutdown::Write));
        self.wait_for_pumps(state, patience);
        exit
    }

    fn wait_for_pumps(&self, mut state: MutexGuard<'_, State>, patience: Patience) {
        let last = Instant::now() + patience.total;
        let mut delivered = None;
        while state.pumps > 0 {
            let quiet = delivered.replace(state.delivered) == Some(state.delivered);
            if quiet || Instant::now() >= last {
                // Whatever holds the streams open outlived the process. The pumps see the end now.
                state.sources.drain(..).for_each(|source| drop(source.shutdown(Shutdown::Both)));
            }
            let more = |state: &mut State| state.pumps > 0;
            state =
                self.changed.wait_timeout_while(state, patience.quiet, more).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sources.clear();
    }

    /// Tells every client the end; nothing comes after it.
    pub fn finish(&self, ended: &Ended) {
        let mut state = self.lock();
        state.ended = Some(ended.clone());
        state.clients.drain(..).for_each(|client| client.outbox.end(ended.clone()));
    }
}

#[cfg(test)]
mod tests;
