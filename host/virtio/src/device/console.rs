//! The console (virtio 1.2 §5.3): one port, `hvc0` to Linux, and only what the guest writes to it.
//!
//! Linux waits for the device with a lock held and interrupts off, so the device keeps no text for long: when its output
//! takes no more, the guest is made to wait once for [`PATIENCE`](handler::PATIENCE), and from then on what does not fit is lost, until
//! the output takes some again. The output is the caller's; a pipe whose reader sleeps cannot hang a guest, nor a guest's
//! chatter this process.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handler;
mod output;
#[cfg(test)]
mod tests;

pub use output::FileOutput;

use crate::device::{Description, QueueState, StartError, VirtioDevice, features, read_space};
use crate::queue::{ActiveQueue, warn_failed};
use crate::worker::{FIRST_TOKEN, Service, Worker};
use handler::ConsoleHandler;
use hull_platform::wait::{Interest, Ready, WaitSet};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

/// Descriptors in each queue: Linux has one piece of text at a time on its way.
const QUEUE_SIZE: u16 = 16;

// The queues of the first port (§5.3.2).
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// The device.
pub struct ConsoleDevice {
    output: Arc<FileOutput>,
    /// The driver's buffers for input, of which there is none.
    receive: Option<ActiveQueue>,
    transmit: Option<Worker<ConsoleService>>,
}

impl ConsoleDevice {
    /// A console that writes to `output`, which becomes non-blocking for all who share it: see [`FileOutput::new`].
    ///
    /// # Errors
    /// None that is expected.
    pub fn new(output: File) -> io::Result<Self> {
        Ok(Self { output: Arc::new(FileOutput::new(output)?), receive: None, transmit: None })
    }
}

impl VirtioDevice for ConsoleDevice {
    fn describe(&self) -> Description {
        Description { device_id: VIRTIO_ID_CONSOLE, features: features(&[]), queue_sizes: vec![QUEUE_SIZE; 2] }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // Size, number of ports and emergency write have features of their own (§5.3.4), which are not offered.
        read_space(&[], offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        match index {
            RECEIVE if self.receive.is_none() => self.receive = Some(queue),
            TRANSMIT if self.transmit.is_none() => {
                let handler = ConsoleHandler::new(Arc::clone(&self.output));
                let service = ConsoleService { handler, queue, wake_at: None, watched: false };
                let worker = Worker::start("console".to_owned(), service);
                self.transmit = Some(worker.map_err(|(source, _)| StartError::Worker { index, source })?);
            }
            RECEIVE | TRANSMIT => return Err(StartError::Running { index }),
            _ => return Err(StartError::NoSuchQueue { index }),
        }
        Ok(())
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        match index {
            RECEIVE => Some(self.receive.take()?.state()),
            TRANSMIT => {
                let mut service = self.transmit.take()?.stop();
                service.queue.attempt(|queue, _| service.handler.give_up(queue));
                Some(service.queue.state())
            }
            _ => None,
        }
    }
}

/// What the worker runs.
struct ConsoleService {
    handler: ConsoleHandler<Arc<FileOutput>>,
    queue: ActiveQueue,
    wake_at: Option<Instant>,
    /// The wait set has the output.
    watched: bool,
}

impl ConsoleService {
    const OUTPUT: u64 = FIRST_TOKEN + 1;

    fn serve(&mut self, waits: &WaitSet) {
        self.wake_at = self.queue.serve(&mut self.handler);
        let wanted = self.handler.awaits_output();
        if wanted == self.watched {
            return;
        }
        let file = self.handler.output().file();
        let changed = if wanted { waits.add(file, Self::OUTPUT, Interest::WRITE) } else { waits.remove(file) };
        match changed {
            Ok(()) => self.watched = wanted,
            // Unwatched, the output is tried again with the guest's next words.
            Err(error) => warn_failed("watch the console's output", Err(error)),
        }
    }
}

impl Service for ConsoleService {
    fn begin(&mut self, waits: &WaitSet) -> io::Result<()> {
        waits.add(self.queue.kick(), FIRST_TOKEN, Interest::READ)?;
        self.serve(waits);
        Ok(())
    }

    fn ready(&mut self, waits: &WaitSet, ready: &[Ready]) {
        self.queue.clear_kick();
        for ready in ready.iter().filter(|ready| ready.token == Self::OUTPUT) {
            if ready.hangup {
                self.handler.output_has_gone();
            } else {
                self.handler.output_is_ready();
            }
        }
        self.serve(waits);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }
}
