//! The memory balloon (virtio 1.2 §5.5): a guest's way of giving memory back.
//!
//! - *Free page reporting* (§5.5.6.7) is what matters: the guest's kernel reports large runs of pages that it has no use
//!   for, without being asked, and takes them again without a word: it then finds zeros there.
//! - The balloon proper takes pages away from the guest for as long as the host wants it to hold them. Its size is zero
//!   until somebody uses the [`Balloon`] handle.
//!
//! What a guest names is handed to a [`Release`], which knows what the guest's memory is made of and checks every range
//! against it; a guest can lose nothing but its own pages.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod pages;
#[cfg(test)]
mod tests;

use crate::device::{Description, QueueState, StartError, VirtioDevice, features, read_space};
use crate::queue::{ActiveQueue, warn_failed};
use crate::worker::{FIRST_TOKEN, Service, Worker};
use hull_platform::event::Event;
use hull_platform::wait::{Interest, Ready, WaitSet};
use pages::{Kind, PagesHandler};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_bindings::virtio_ids::VIRTIO_ID_BALLOON;

/// `VIRTIO_BALLOON_F_DEFLATE_ON_OOM` (§5.5.3): the guest takes pages out of the balloon rather than kill a process.
const DEFLATE_ON_OOM: u32 = 2;
/// `VIRTIO_BALLOON_F_REPORTING`.
const REPORTING: u32 = 5;

/// Descriptors in each queue: Linux reports 32 runs of pages in one request, and has one request at a time.
const QUEUE_SIZE: u16 = 64;

/// The queues. §5.5.2 counts from 0 to 4, but the driver leaves out those of features that were not offered (statistics,
/// hints), and all the world's devices do the same.
const KINDS: [Kind; 3] = [Kind::Inflate, Kind::Deflate, Kind::Report];

// Offsets in the configuration space (§5.5.4).
const NUM_PAGES: usize = 0;
const ACTUAL: usize = 4;
const SPACE: usize = 8;

/// Gives memory of the guest back to the host.
pub trait Release: Send + Sync {
    /// The guest has no use for what is in these bytes, and expects nothing but zeros in what it takes again.
    ///
    /// The range is the guest's word, checked in no way: it may overflow, lie anywhere, be empty or unaligned. Only whole
    /// pages within it, which are the guest's memory, can be given back; to do nothing is always right.
    fn release(&self, guest_address: u64, length: u64);
}

/// What the device and its handles share.
#[derive(Debug)]
struct Shared {
    wanted: AtomicU32,
    actual: AtomicU32,
    changed: Event,
}

/// The handle to the size of the balloon. Clones are the same; it can be used from any thread.
#[derive(Debug, Clone)]
pub struct Balloon(Arc<Shared>);

impl Balloon {
    /// Has the guest put this many pages of 4 KiB into the balloon, or take out what is more. It takes its time, and may
    /// not obey.
    ///
    /// # Errors
    /// None that is expected.
    pub fn set_pages(&self, pages: u32) -> io::Result<()> {
        self.0.wanted.store(pages, Ordering::Release);
        self.0.changed.signal()
    }

    /// How many pages the guest says are in the balloon.
    pub fn actual_pages(&self) -> u32 {
        self.0.actual.load(Ordering::Acquire)
    }
}

/// The device.
pub struct BalloonDevice {
    shared: Arc<Shared>,
    release: Arc<dyn Release>,
    worker: Option<Worker<BalloonService>>,
    /// All of them while there is no worker, else none.
    queues: Queues,
}

type Queues = [Option<ActiveQueue>; KINDS.len()];

impl BalloonDevice {
    /// A device with an empty balloon.
    ///
    /// # Errors
    /// Too many open files.
    pub fn new(release: Arc<dyn Release>) -> io::Result<Self> {
        let shared = Shared { wanted: AtomicU32::new(0), actual: AtomicU32::new(0), changed: Event::new()? };
        Ok(Self { shared: Arc::new(shared), release, worker: None, queues: Queues::default() })
    }

    /// The handle to the balloon's size; it works whether or not the guest has found the device yet.
    pub fn handle(&self) -> Balloon {
        Balloon(Arc::clone(&self.shared))
    }

    /// Takes the queues back from the worker, if there is one.
    fn pause(&mut self) {
        if let Some(worker) = self.worker.take() {
            self.queues = worker.stop().queues;
        }
    }

    /// Starts a worker, if there are queues for it.
    fn resume(&mut self) -> io::Result<()> {
        if self.queues.iter().all(Option::is_none) {
            return Ok(());
        }
        let handlers = KINDS.map(|kind| PagesHandler::new(kind, Arc::clone(&self.release)));
        let queues = std::mem::take(&mut self.queues);
        let service = BalloonService { shared: Arc::clone(&self.shared), handlers, queues };
        match Worker::start("balloon".to_owned(), service) {
            Ok(worker) => {
                self.worker = Some(worker);
                Ok(())
            }
            Err((error, service)) => {
                self.queues = service.queues;
                Err(error)
            }
        }
    }
}

impl VirtioDevice for BalloonDevice {
    fn describe(&self) -> Description {
        Description {
            device_id: VIRTIO_ID_BALLOON,
            features: features(&[DEFLATE_ON_OOM, REPORTING]),
            queue_sizes: vec![QUEUE_SIZE; KINDS.len()],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut space = [0; SPACE];
        space[NUM_PAGES..ACTUAL].copy_from_slice(&self.shared.wanted.load(Ordering::Acquire).to_le_bytes());
        space[ACTUAL..].copy_from_slice(&self.shared.actual.load(Ordering::Acquire).to_le_bytes());
        read_space(&space, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        // A driver writes `actual`, as a whole.
        if let (true, Ok(actual)) = (offset == ACTUAL as u64, <[u8; 4]>::try_from(data)) {
            self.shared.actual.store(u32::from_le_bytes(actual), Ordering::Release);
        }
    }

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        if usize::from(index) >= KINDS.len() {
            return Err(StartError::NoSuchQueue { index });
        }
        self.pause();
        let slot = &mut self.queues[usize::from(index)];
        let running = slot.is_some();
        if !running {
            *slot = Some(queue);
        }
        let resumed = self.resume();
        if running {
            return Err(StartError::Running { index });
        }
        resumed.map_err(|source| {
            self.queues[usize::from(index)] = None;
            StartError::Worker { index, source }
        })
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        self.pause();
        let queue = self.queues.get_mut(usize::from(index)).and_then(Option::take);
        warn_failed("go on with the balloon's other queues", self.resume());
        Some(queue?.state())
    }
}

/// What the worker runs: all queues, none of which has much to do.
struct BalloonService {
    shared: Arc<Shared>,
    handlers: [PagesHandler; KINDS.len()],
    queues: Queues,
}

impl BalloonService {
    /// The token of the event for a new size; the queues have those from [`FIRST_TOKEN`] on, by index.
    const CHANGED: u64 = FIRST_TOKEN + KINDS.len() as u64;

    fn serve(&mut self) {
        for (queue, handler) in self.queues.iter_mut().zip(&mut self.handlers) {
            if let Some(queue) = queue {
                queue.clear_kick();
                queue.serve(handler);
            }
        }
    }
}

impl Service for BalloonService {
    fn begin(&mut self, waits: &WaitSet) -> io::Result<()> {
        for (token, queue) in (FIRST_TOKEN..).zip(&self.queues) {
            if let Some(queue) = queue {
                waits.add(queue.kick(), token, Interest::READ)?;
            }
        }
        waits.add(&self.shared.changed, Self::CHANGED, Interest::READ)?;
        self.serve();
        Ok(())
    }

    fn ready(&mut self, _waits: &WaitSet, ready: &[Ready]) {
        if ready.iter().any(|ready| ready.token == Self::CHANGED) {
            warn_failed("clear the balloon's event", self.shared.changed.clear().map(drop));
            if let Some(queue) = self.queues.iter().flatten().next() {
                queue.configuration_changed();
            }
        }
        self.serve();
    }
}
