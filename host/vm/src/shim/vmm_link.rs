//! The shim's side of the control connection to the vmm.
//!
//! Orders go out and are answered in order. The vmm parses what the guest writes and may have been taken over by it:
//! what it says is not believed beyond the outcome of an order.

use crate::control::{self, MachineEnd, Order, Report};
use crate::text;
use hull_platform::handle::Handle;
use hull_platform::socket::LocalStream;
use hull_protocol::frame::FrameError;
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An order takes microseconds, but for a launch, which starts threads, and an unmap, which waits for the host's disk.
const LIMIT: Duration = Duration::from_secs(30);

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum VmmError {
    /// The vmm says so; one line.
    #[error("the vmm refused: {0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("the vmm did not answer within {} s", LIMIT.as_secs())]
    Deadline,
    /// The vmm is gone.
    #[error("the VM has ended")]
    Gone,
    /// The order could not be sent.
    #[error("cannot tell the vmm")]
    Send(#[source] FrameError),
}

/// What the vmm tells by itself.
pub trait Listener: Send + 'static {
    /// It has confined itself.
    fn confined(&self, layers: Vec<String>);
    /// The machine has ended.
    fn machine_ended(&self, end: MachineEnd);
    /// Nothing more will come.
    fn lost(&self);
}

/// Gives orders to the vmm.
#[derive(Debug)]
pub struct Vmm {
    stream: LocalStream,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: VecDeque<SyncSender<Result<(), String>>>,
    closed: bool,
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vmm {
    /// Begins to serve the shim's end of the control connection.
    ///
    /// # Errors
    /// If the thread or its descriptor cannot be had.
    pub fn start(stream: LocalStream, listener: impl Listener) -> io::Result<Self> {
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (reader, answers) = (stream.try_clone()?, Arc::clone(&waiting));
        super::thread("vmm-in", move || {
            read_reports(&reader, &answers, &listener);
            let mut waiting = lock(&answers);
            waiting.closed = true;
            waiting.answers.clear();
            drop(waiting);
            listener.lost();
        })?;
        Ok(Self { stream, waiting })
    }

    /// Gives an order, with the files and sockets that it is about, and waits until it is carried out.
    ///
    /// # Errors
    /// See [`VmmError`].
    pub fn order(&self, order: &Order, handles: &[&Handle]) -> Result<(), VmmError> {
        let (sender, answer) = sync_channel(1);
        {
            // Sending under the lock keeps answers in the order of their senders. It does not wait: the vmm reads at
            // once, and if it does not, an order fits into the socket's buffer.
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Err(VmmError::Gone);
            }
            control::send(&self.stream, order, handles).map_err(VmmError::Send)?;
            waiting.answers.push_back(sender);
        }
        match answer.recv_timeout(LIMIT) {
            Ok(result) => result.map_err(|why| VmmError::Refused(text::one_line(&why))),
            Err(RecvTimeoutError::Timeout) => Err(VmmError::Deadline),
            Err(RecvTimeoutError::Disconnected) => Err(VmmError::Gone),
        }
    }
}

fn read_reports(stream: &LocalStream, waiting: &Mutex<Waiting>, listener: &impl Listener) {
    loop {
        match hull_protocol::frame::read(&mut &*stream) {
            Ok(Some(Report::Answer(result))) => match lock(waiting).answers.pop_front() {
                // Whoever waited may have given up.
                Some(sender) => drop(sender.send(result)),
                None => return log::error!("the vmm answered what nobody ordered"),
            },
            // Before it has seen anything of a guest's, it is believed.
            Ok(Some(Report::Confined(layers))) => listener.confined(layers),
            Ok(Some(Report::Ended(MachineEnd::Failed(why)))) => {
                listener.machine_ended(MachineEnd::Failed(text::one_line(&why)));
            }
            Ok(Some(Report::Ended(MachineEnd::Ended))) => listener.machine_ended(MachineEnd::Ended),
            Ok(None) | Err(FrameError::Io(_)) => return,
            Err(error) => return log::error!("the vmm's reports make no sense: {error}"),
        }
    }
}
