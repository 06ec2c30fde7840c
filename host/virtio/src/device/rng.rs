//! The entropy device (virtio 1.2 §5.4): random bytes from the host's own generator.
//!
//! A guest's kernel asks for a few dozen bytes when it boots and now and then after that; one that asks without end gets
//! a bounded number in each request, and no more requests served than the rate limit allows.

#[cfg(test)]
mod tests;

use crate::device::{Description, QueueState, StartError, VirtioDevice, features, read_space};
use crate::queue::{ActiveQueue, Chain, Queue, QueueError, QueueHandler};
use crate::rate_limit::RateLimit;
use crate::worker::{QueueService, Worker};
use hull_platform::random;
use std::num::NonZeroU64;
use std::time::Instant;
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

/// Descriptors in the queue: Linux has one request at a time.
const QUEUE_SIZE: u16 = 8;

/// Most bytes for one request. The device may give less than there is room for (§5.4.6.2), Linux asks for 64 at a time,
/// and this is as much as the host's generator gives in one piece whatever happens (getrandom(2)).
const MOST: usize = 256;

/// Bytes a second, and at once: a thousand times what a guest needs, and for the host a thousandth of a CPU.
const PER_SECOND: NonZeroU64 = NonZeroU64::new(256 << 10).expect("not zero");
const BURST: NonZeroU64 = NonZeroU64::new(64 << 10).expect("not zero");

/// The device.
pub struct RngDevice {
    /// As the last worker left it, so that a driver which starts the queue again and again gains nothing by that.
    limit: RateLimit,
    worker: Option<Worker<QueueService<RngHandler>>>,
}

impl RngDevice {
    /// A device that no driver has started.
    pub fn new() -> Self {
        Self { limit: RateLimit::new(PER_SECOND, BURST), worker: None }
    }
}

impl Default for RngDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtioDevice for RngDevice {
    fn describe(&self) -> Description {
        Description { device_id: VIRTIO_ID_RNG, features: features(&[]), queue_sizes: vec![QUEUE_SIZE] }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&[], offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {
        // There is no configuration (§5.4.4).
    }

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        if index != 0 {
            return Err(StartError::NoSuchQueue { index });
        }
        if self.worker.is_some() {
            return Err(StartError::Running { index });
        }
        let worker = Worker::start("rng0".to_owned(), QueueService::new(RngHandler::new(self.limit), queue));
        self.worker = Some(worker.map_err(|(source, _)| StartError::Worker { index, source })?);
        Ok(())
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        if index != 0 {
            return None;
        }
        let service = self.worker.take()?.stop();
        self.limit = service.handler().limit;
        Some(service.queue().state())
    }
}

/// Serves the queue.
pub(crate) struct RngHandler {
    limit: RateLimit,
    chain: Chain,
}

impl RngHandler {
    fn new(limit: RateLimit) -> Self {
        Self { limit, chain: Chain::default() }
    }

    fn fill(&self, queue: &Queue) -> Result<usize, QueueError> {
        let mut room = self.chain.writable(queue.memory());
        if room.is_empty() || !self.chain.readable(queue.memory()).is_empty() {
            return Err(QueueError::Request { head: self.chain.head(), problem: "is no room for random bytes alone" });
        }
        let bytes: [u8; MOST] =
            random::array().map_err(|source| QueueError::Host { action: "get random bytes", source })?;
        room.write(&bytes)
            .map_err(|_| QueueError::Request { head: self.chain.head(), problem: "moved its memory away" })
    }
}

impl QueueHandler for RngHandler {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        if !queue.pop(&mut self.chain)? {
            return Ok(false);
        }
        let written = self.fill(queue)?;
        // A request costs the host as much whether it is for one byte or for all.
        self.limit.charge(MOST as u64, Instant::now());
        queue.push(self.chain.head(), written)?;
        Ok(true)
    }

    fn pause(&mut self) -> Option<Instant> {
        self.limit.pause(Instant::now())
    }
}
