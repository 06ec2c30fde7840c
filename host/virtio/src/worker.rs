//! The thread that serves a device: it waits for {kick, stop, the device's own sources, its time}, and gives its state
//! back when it is stopped, so that a queue can be moved out again.

use crate::queue::{ActiveQueue, QueueHandler, warn_failed};
use hull_platform::event::Event;
use hull_platform::jail::{self, Role};
use hull_platform::wait::{Interest, Ready, WaitSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// The token of the stop event; a service uses those from [`FIRST_TOKEN`] on.
const STOP: u64 = 0;

/// The smallest token that a service may give its sources.
pub(crate) const FIRST_TOKEN: u64 = 1;

/// What a worker does; its state, too.
pub(crate) trait Service: Send + 'static {
    /// Registers the sources and does what is due already. Called once, on the worker's thread.
    fn begin(&mut self, waits: &WaitSet) -> io::Result<()>;

    /// Serves the sources that are ready; none of them if it is called because its time has come.
    fn ready(&mut self, waits: &WaitSet, ready: &[Ready]);

    /// When to call [`Service::ready`] at the latest; `None` to wait for a source. Asked before each wait.
    fn wake_at(&self) -> Option<Instant> {
        None
    }
}

/// A thread that runs a [`Service`]. Dropping it stops the thread.
pub(crate) struct Worker<S: Service> {
    stop: Event,
    thread: Option<JoinHandle<S>>,
}

impl<S: Service> Worker<S> {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system said, and the service back.
    pub(crate) fn start(name: String, service: S) -> Result<Self, (io::Error, S)> {
        let prepare = || -> io::Result<_> {
            let (waits, stop) = (WaitSet::new()?, Event::new()?);
            waits.add(&stop, STOP, Interest::READ)?;
            Ok((waits, stop))
        };
        let (waits, stop) = match prepare() {
            Ok(parts) => parts,
            Err(error) => return Err((error, service)),
        };
        // `spawn` drops its closure if it fails; from here the service can be taken back.
        let slot = Arc::new(Mutex::new(Some(service)));
        let theirs = Arc::clone(&slot);
        let take = |slot: &Mutex<Option<S>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let spawned = thread::Builder::new().name(name).spawn(move || {
            let mut service = take(&theirs).expect("only this thread takes the service once it runs");
            drop(theirs);
            match jail::narrow(Role::Device) {
                Ok(()) => run(&mut service, &waits),
                // A device that cannot be confined is not served: its driver waits, the VM can be stopped.
                Err(error) => log::error!("{error}: {}", error.source),
            }
            service
        });
        match spawned {
            Ok(thread) => Ok(Self { stop, thread: Some(thread) }),
            Err(error) => Err((error, take(&slot).expect("no thread was started to take it"))),
        }
    }

    /// Stops the thread after what it is at, and returns the state.
    pub(crate) fn stop(mut self) -> S {
        self.join().expect("the thread is joined here or when dropped, not twice")
    }

    fn join(&mut self) -> Option<S> {
        let thread = self.thread.take()?;
        warn_failed("stop a worker", self.stop.signal());
        match thread.join() {
            Ok(service) => Some(service),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl<S: Service> Drop for Worker<S> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.join();
        }
    }
}

/// One queue and its handler: all that most devices need.
pub(crate) struct QueueService<H> {
    handler: H,
    queue: ActiveQueue,
    paused_until: Option<Instant>,
}

impl<H: QueueHandler> QueueService<H> {
    pub(crate) fn new(handler: H, queue: ActiveQueue) -> Self {
        Self { handler, queue, paused_until: None }
    }

    pub(crate) fn queue(&self) -> &ActiveQueue {
        &self.queue
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }
}

impl<H: QueueHandler> Service for QueueService<H> {
    fn begin(&mut self, waits: &WaitSet) -> io::Result<()> {
        waits.add(self.queue.kick(), FIRST_TOKEN, Interest::READ)?;
        // What became available before the queue was started is not kicked for again.
        self.paused_until = self.queue.serve(&mut self.handler);
        Ok(())
    }

    fn ready(&mut self, _waits: &WaitSet, _ready: &[Ready]) {
        self.queue.clear_kick();
        self.paused_until = self.queue.serve(&mut self.handler);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.paused_until
    }
}

fn run(service: &mut impl Service, waits: &WaitSet) {
    if let Err(error) = service.begin(waits) {
        log::error!("worker {} cannot begin: {error}", thread_name());
        return;
    }
    loop {
        let timeout = service.wake_at().map(|at| at.saturating_duration_since(Instant::now()));
        match waits.wait(timeout) {
            Ok(ready) if ready.iter().any(|ready| ready.token == STOP) => return,
            Ok(ready) => service.ready(waits, &ready),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::error!("worker {} cannot wait: {error}", thread_name());
                return;
            }
        }
    }
}

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}
