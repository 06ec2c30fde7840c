//! A split virtqueue (virtio 1.2 §2.7) as a device sees it.
//!
//! [`Queue`] is the ring and the memory, without threads or descriptors, so that tests drive it directly;
//! [`ActiveQueue`] adds the kick and the interrupt. Ring indices and notification suppression are `virtio-queue`'s;
//! the walk along a chain is ours ([`Chain`]), because there a hostile guest has the most to say, and `virtio-queue`'s
//! iterator ends a malformed chain as if it were complete.

mod buffers;
mod chain;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), expect(dead_code, reason = "fuzz targets need less of it than tests"))]
#[expect(clippy::unwrap_used, reason = "nothing but tests and fuzz targets comes here")]
pub(crate) mod driver;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

pub use buffers::Buffers;
pub use chain::{Chain, ChainError};

use crate::device::QueueState;
use crate::tally::Tally;
use hull_platform::event::Event;
use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_F_NO_INTERRUPT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

/// The guest's memory, as mapped into this process.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// Where the driver put the three parts of a queue, in guest physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number of descriptors.
    pub size: u16,
    /// Descriptor table (§2.7.5).
    pub descriptors: u64,
    /// Available ring (§2.7.6).
    pub available: u64,
    /// Used ring (§2.7.8).
    pub used: u64,
}

/// What a driver did that no queue can go on after.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The layout is misaligned, of a wrong size, or not within guest memory.
    #[error("queue layout is not usable: {0:?}")]
    Layout(Layout),
    /// The rings contradict themselves.
    #[error("ring is malformed")]
    Ring(#[from] virtio_queue::Error),
    /// The descriptors contradict themselves.
    #[error("descriptor chain {head} is malformed")]
    Chain {
        /// The chain's first descriptor.
        head: u16,
        /// What is wrong with it.
        #[source]
        source: ChainError,
    },
    /// The chain is sound but can carry no request of this device.
    #[error("descriptor chain {head} {problem}")]
    Request {
        /// The chain's first descriptor.
        head: u16,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The guest did nothing wrong, but this host cannot serve it.
    #[error("the host cannot {action}")]
    Host {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Most chains that are served in one go, and for how long: a request may move gigabytes.
const BATCH: usize = 128;
const SLICE: Duration = Duration::from_millis(20);

/// The rings and the memory of one queue.
#[derive(Debug)]
pub struct Queue {
    memory: Arc<GuestMemory>,
    ring: virtio_queue::Queue,
    layout: Layout,
    features: u64,
}

impl Queue {
    /// A queue as the driver laid it out. `features` are those negotiated; `next_available` is where to go on in the
    /// available ring (zero for a new queue), while the used ring says itself how far it was written.
    ///
    /// # Errors
    /// [`QueueError::Layout`] unless every part is aligned and within `memory`.
    pub fn new(
        memory: Arc<GuestMemory>,
        layout: Layout,
        features: u64,
        next_available: u16,
    ) -> Result<Self, QueueError> {
        let unusable = |_| QueueError::Layout(layout);
        let mut ring = virtio_queue::Queue::new(layout.size).map_err(unusable)?;
        ring.try_set_size(layout.size).map_err(unusable)?;
        ring.try_set_desc_table_address(GuestAddress(layout.descriptors)).map_err(unusable)?;
        ring.try_set_avail_ring_address(GuestAddress(layout.available)).map_err(unusable)?;
        ring.try_set_used_ring_address(GuestAddress(layout.used)).map_err(unusable)?;
        ring.set_event_idx(features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0);
        ring.set_ready(true);
        if layout.available == 0 || !ring.is_valid(&*memory) {
            return Err(QueueError::Layout(layout));
        }
        ring.set_next_avail(next_available);
        let used = ring.used_idx(&*memory, Ordering::Acquire)?;
        ring.set_next_used(used.0);
        Ok(Self { memory, ring, layout, features })
    }

    /// The memory that chains of this queue point into.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Takes the next available chain into `chain`; false if there is none.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        let Some(head) = self.ring.iter(&*self.memory)?.next().map(|unchecked| unchecked.head_index()) else {
            return Ok(false);
        };
        chain
            .walk(&self.memory, self.layout, head, self.has(VIRTIO_RING_F_INDIRECT_DESC))
            .map_err(|source| QueueError::Chain { head, source })?;
        Ok(true)
    }

    /// Makes the chain that was popped last available again.
    pub fn undo_pop(&mut self) {
        self.ring.go_to_previous_position();
    }

    /// Gives a chain back to the driver, of whose writable part the first `written` bytes were written.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    pub fn push(&mut self, head: u16, written: usize) -> Result<(), QueueError> {
        // A chain is at most 2^32 - 1 bytes long: the walk sees to it.
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        Ok(self.ring.add_used(&*self.memory, head, written)?)
    }

    /// Asks the driver not to kick.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    pub fn disable_kicks(&mut self) -> Result<(), QueueError> {
        Ok(self.ring.disable_notification(&*self.memory)?)
    }

    /// Asks the driver to kick; true if there are chains that it may not kick for, because they came before.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    pub fn enable_kicks(&mut self) -> Result<bool, QueueError> {
        Ok(self.ring.enable_notification(&*self.memory)?)
    }

    /// Whether the driver wants an interrupt for what was pushed since this was asked last.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    pub fn wants_interrupt(&mut self) -> Result<bool, QueueError> {
        // With event indices, only `virtio-queue` knows the range since the last time; it also has the fence that
        // orders the used index before what is read here.
        let wanted = self.ring.needs_notification(&*self.memory)?;
        if self.has(VIRTIO_RING_F_EVENT_IDX) {
            return Ok(wanted);
        }
        let flags: u16 = self
            .memory
            .load(GuestAddress(self.layout.available), Ordering::Relaxed)
            .map_err(virtio_queue::Error::GuestMemory)?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Whether the feature of this bit was negotiated.
    pub fn has(&self, feature: u32) -> bool {
        self.features & (1 << feature) != 0
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.layout.size
    }

    /// Where it stands.
    pub fn state(&self) -> QueueState {
        QueueState { next_available: self.ring.next_avail(), next_used: self.ring.next_used() }
    }
}

/// The request logic of one queue: no threads, no waiting, so that tests and fuzzers drive it directly.
pub trait QueueHandler: Send + 'static {
    /// Serves one request; false if none is available, or if it cannot be finished before [`QueueHandler::pause`] says so.
    ///
    /// # Errors
    /// [`QueueError`]; the queue is then of no further use.
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError>;

    /// Until when nothing is to be served; `None` to go on. Asked before each request.
    fn pause(&mut self) -> Option<Instant> {
        None
    }
}

/// How a queue's owner reaches the driver.
pub trait QueueInterrupt: Send {
    /// Chains were used.
    fn used(&self);
    /// The queue is broken and was stopped: `DEVICE_NEEDS_RESET` (§2.1.2), or vhost-user's error descriptor.
    fn broken(&self);
    /// The device's configuration has changed (§2.3). Over vhost-user nobody is told: no device of ours that is served
    /// there changes its configuration.
    fn configuration_changed(&self) {}
}

/// What came of serving a queue.
enum Served {
    /// The driver has promised to kick for the next chain.
    All,
    /// There may be more at once.
    Some,
    /// There may be more, for later.
    Paused(Instant),
}

/// A queue with its kick and its interrupt, as the transport moves it into a device.
pub struct ActiveQueue {
    name: String,
    queue: Queue,
    kick: Event,
    interrupt: Box<dyn QueueInterrupt>,
    broken: bool,
}

impl ActiveQueue {
    /// Puts the parts together. `name` is for messages.
    pub fn new(name: String, queue: Queue, kick: Event, interrupt: Box<dyn QueueInterrupt>) -> Self {
        Self { name, queue, kick, interrupt, broken: false }
    }

    /// What the driver kicks.
    pub fn kick(&self) -> &Event {
        &self.kick
    }

    /// Forgets past kicks.
    pub(crate) fn clear_kick(&self) {
        if let Err(error) = self.kick.clear() {
            log::warn!("{}: cannot clear the kick: {error}", self.name);
        }
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Where it stands.
    pub fn state(&self) -> QueueState {
        self.queue.state()
    }

    /// Tells the driver that the device's configuration has changed.
    pub(crate) fn configuration_changed(&self) {
        self.interrupt.configuration_changed();
    }

    /// Lets `handler` serve every chain that is available, until the driver has promised to kick for the next, or until
    /// the handler pauses: then this says until when. After a good many chains, or a good while, it kicks itself instead,
    /// so that a driver which never pauses cannot keep its worker from being stopped.
    pub(crate) fn serve(&mut self, handler: &mut impl QueueHandler) -> Option<Instant> {
        let served = self.attempt(|queue, interrupt| {
            let (mut count, begun) = (0, Instant::now());
            loop {
                queue.disable_kicks()?;
                while handler.pause().is_none() && handler.serve_one(queue)? {
                    count += 1;
                    // At once rather than after a batch, so that no request waits for a slower one behind it; the
                    // driver suppresses what it has no use for.
                    if queue.wants_interrupt()? {
                        interrupt.used();
                    }
                    if count >= BATCH || begun.elapsed() > SLICE {
                        return Ok(Served::Some);
                    }
                }
                if let Some(until) = handler.pause() {
                    return Ok(Served::Paused(until));
                }
                if !queue.enable_kicks()? {
                    return Ok(Served::All);
                }
                // This counts, too: where a driver has put one ring over the other, what is written to one can make a
                // chain appear in the other, and vanish again.
                count += 1;
                if count >= BATCH {
                    return Ok(Served::Some);
                }
            }
        });
        match served {
            Some(Served::Paused(until)) => Some(until),
            Some(Served::Some) => {
                warn_failed("kick a queue", self.kick.signal());
                None
            }
            Some(Served::All) | None => None,
        }
    }

    /// Works on the queue unless it is broken. An error breaks it for good: the driver is told, and nothing of this
    /// queue is touched any more. `None` if it is broken.
    pub(crate) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Queue, &dyn QueueInterrupt) -> Result<T, QueueError>,
    ) -> Option<T> {
        if self.broken {
            return None;
        }
        match work(&mut self.queue, &*self.interrupt) {
            Ok(value) => Some(value),
            Err(error) => {
                self.broken = true;
                report_broken(&self.name, &error);
                self.interrupt.broken();
                None
            }
        }
    }
}

/// Logs that the queue `name` is broken, which is its driver's doing. Counted over the whole process, which serves one VM: a driver that
/// resets its device and breaks it again, without end, must not fill the log.
pub(crate) fn report_broken(name: &str, error: &dyn Error) {
    static BROKEN: Mutex<Tally> = Mutex::new(Tally::new());
    if let Some(count) = BROKEN.lock().unwrap_or_else(PoisonError::into_inner).count() {
        log::warn!("{name}: broken (broken queues so far: {count}): {}", with_causes(error));
    }
}

/// What an operating system said about an event that should have worked.
pub(crate) fn warn_failed(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("cannot {what}: {error}");
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
