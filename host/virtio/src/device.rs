//! The one trait through which every transport drives a device.
//!
//! It speaks per queue, because vhost-user does: the transport negotiates, builds the queue and *moves* it into the
//! device, so that there is no lock on the data path; stopping a queue gives back where it stood.

#[cfg(unix)]
pub mod balloon;
#[cfg(unix)]
pub mod block;
#[cfg(unix)]
pub mod console;
#[cfg(unix)]
pub mod rng;
#[cfg(unix)]
pub mod vsock;

use crate::queue::ActiveQueue;

/// What a device is, before anything is negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Device ID (virtio 1.2 §5).
    pub device_id: u32,
    /// Feature bits offered, `VIRTIO_F_VERSION_1` included.
    pub features: u64,
    /// The most descriptors that each queue can have, one entry per queue.
    pub queue_sizes: Vec<u16>,
}

/// Where a stopped queue stood, enough to start it again (vhost-user's `GET_VRING_BASE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueState {
    /// Index of the next available entry that the device would have taken.
    pub next_available: u16,
    /// Index of the next used entry that the device would have written.
    pub next_used: u16,
}

/// Why a queue could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The device has no such queue.
    #[error("queue {index} does not exist")]
    NoSuchQueue {
        /// The queue asked for.
        index: u16,
    },
    /// It was started before and not stopped since.
    #[error("queue {index} runs already")]
    Running {
        /// The queue asked for.
        index: u16,
    },
    /// The worker thread or its descriptors could not be made.
    #[error("queue {index} could not get its worker")]
    Worker {
        /// The queue asked for.
        index: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A virtio device.
///
/// Every method is called by the transport, on one thread at a time. `start_queue` comes after negotiation; for one
/// index it alternates with `stop_queue`. Nothing here may block for longer than it takes a worker to finish the
/// request that it is at.
pub trait VirtioDevice: Send {
    /// What the device is; the same at every call.
    fn describe(&self) -> Description;

    /// Reads from the device-specific configuration (virtio 1.2 §5.x.4); what lies beyond it reads as zeros.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Writes to the device-specific configuration; what lies beyond it, or is read-only, is ignored.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// Takes a queue and begins to serve it.
    ///
    /// # Errors
    /// See [`StartError`].
    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError>;

    /// Stops serving a queue, after the request in progress; `None` if it did not run.
    fn stop_queue(&mut self, index: u16) -> Option<QueueState>;
}

/// What a device offers whose own features are `own`: those, and modern virtio, event indices, indirect tables.
#[cfg(unix)]
fn features(own: &[u32]) -> u64 {
    use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
    use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
    let always = [VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC];
    always.iter().chain(own).fold(0, |features, bit| features | 1 << bit)
}

/// Reads from a configuration space, which is followed by zeros.
#[cfg(unix)]
fn read_space(space: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let rest = usize::try_from(offset).ok().and_then(|offset| space.get(offset..)).unwrap_or_default();
    let count = rest.len().min(data.len());
    data[..count].copy_from_slice(&rest[..count]);
}
