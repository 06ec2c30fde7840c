//! The block device (virtio 1.2 §5.2): a *window*.
//!
//! Its capacity is huge and virtual; what backs it are extents `range -> (file, offset, access)`, which the owner of
//! the [`Window`] handle maps and unmaps while the guest runs. So one device serves any number of images or data files,
//! no device is ever plugged in, and the guest boots before anybody knows what it will be given.
//!
//! ```text
//!   0        1 MiB                                                                    16 TiB
//!   ├─ zeros ──┼── I/O error ──┬── extent: file A ──┬── I/O error ──┬── extent: file B ──┬──┤
//! ```
//!
//! The first MiB reads as zeros, so that a kernel which looks for a partition table there finds none, and no error
//! either; nothing can be mapped there.

mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod limits;
mod request;
#[cfg(test)]
mod tests;
mod window;

pub use limits::Limits;
pub use window::{Access, CAPACITY, MapError, UnmapError, Window};

use super::read_space;
use crate::device::{Description, QueueState, StartError, VirtioDevice};
use crate::queue::ActiveQueue;
use crate::worker::{QueueService, Worker};
use limits::SharedLimits;
use request::BlockHandler;
use std::num::NonZeroU16;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

/// Descriptors in the queue: what QEMU's vhost-user front-end gives by default.
const QUEUE_SIZE: u16 = 128;

/// A window as a virtio device.
pub struct BlockDevice {
    name: String,
    window: Window,
    limits: SharedLimits,
    queues: Vec<Option<Worker<QueueService<BlockHandler>>>>,
}

impl BlockDevice {
    /// A device in which nothing is mapped. `name` is for messages, threads and the guest's `/sys/block/*/serial`. With
    /// [`Access::ReadOnly`] the guest sees a read-only disk, and nothing can be mapped for writing. It has one queue and
    /// no limits.
    pub fn new(name: &str, access: Access) -> Self {
        Self { name: name.to_owned(), window: Window::new(access), limits: SharedLimits::default(), queues: vec![None] }
    }

    /// The same with this many queues, each served by a thread of its own. A guest uses no more than it has vCPUs.
    #[must_use]
    pub fn with_queues(mut self, queues: NonZeroU16) -> Self {
        self.queues.resize_with(queues.get().into(), || None);
        self
    }

    /// The same, slowed down to these limits; all queues share them.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = SharedLimits::new(limits);
        self
    }

    /// The handle to map and unmap with; it works whether or not the guest has found the device yet.
    pub fn window(&self) -> Window {
        self.window.clone()
    }
}

impl VirtioDevice for BlockDevice {
    fn describe(&self) -> Description {
        Description {
            device_id: VIRTIO_ID_BLOCK,
            features: config::features(self.window.access()),
            queue_sizes: vec![QUEUE_SIZE; self.queues.len()],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let queues = u16::try_from(self.queues.len()).unwrap_or(u16::MAX);
        read_space(&config::space(QUEUE_SIZE, queues), offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {
        // Only the cache mode could be written, and it is not offered: a guest flushes, or has said that it cannot (§5.2.5).
    }

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        let slot = self.queues.get_mut(usize::from(index)).ok_or(StartError::NoSuchQueue { index })?;
        if slot.is_some() {
            return Err(StartError::Running { index });
        }
        let handler = BlockHandler::new(self.window.clone(), &self.name, self.limits.clone());
        let worker = Worker::start(format!("{}{index}", self.name), QueueService::new(handler, queue));
        *slot = Some(worker.map_err(|(source, _)| StartError::Worker { index, source })?);
        Ok(())
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        let worker = self.queues.get_mut(usize::from(index))?.take()?;
        Some(worker.stop().queue().state())
    }
}
