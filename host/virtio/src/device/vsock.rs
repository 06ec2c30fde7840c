//! The socket device (virtio 1.2 §5.10): stream sockets between the guest and the host, for connections that the guest
//! opens.
//!
//! The device opens nothing. Whoever holds the [`Vsock`] handle says that one connection to a host port is expected, and
//! gives the local stream that it is to be spliced to; a guest that dials any other port, or the same again, is refused.
//! CIDs, credit and everything else that a packet says are the guest's word and are checked.
//!
//! - [`packet`]: the header on the wire.
//! - [`connection`]: one connection: credit, half-closes, what is owed to the guest.
//! - [`hub`]: all connections, and the two queues. Thread-free: it reads and writes streams that never block.
//! - [`stream`]: what is spliced to a guest's socket.
//! - [`service`]: the hub on a worker thread.

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), expect(dead_code, reason = "fuzz targets need less of it than tests"))]
#[expect(clippy::unwrap_used, reason = "nothing but tests and fuzz targets comes here")]
mod bench;
mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod hub;
mod packet;
mod service;
mod stream;
#[cfg(test)]
mod tests;

use super::{features, read_space};
use crate::device::{Description, QueueState, StartError, VirtioDevice};
use crate::queue::ActiveQueue;
use crate::worker::Worker;
use hub::{Expected, Hub};
use hull_platform::socket::LocalStream;
use service::VsockService;
use std::io;
use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

/// `VIRTIO_VSOCK_F_STREAM` (§5.10.3).
const VIRTIO_VSOCK_F_STREAM: u32 = 0;

/// Descriptors in each queue: what QEMU's vhost-user front-end has.
const QUEUE_SIZE: u16 = 128;

// The queues (§5.10.2).
const RX: usize = 0;
const TX: usize = 1;
const QUEUES: usize = 3;

/// The device.
pub struct VsockDevice {
    guest_cid: u32,
    expected: Expected<LocalStream>,
    state: State,
    /// Queues that no worker has: the event queue, on which nothing is ever sent because a VM is not moved while it
    /// runs, and one of the other two while its sibling is stopped.
    queues: [Option<ActiveQueue>; QUEUES],
}

enum State {
    Stopped(Box<Hub<LocalStream>>),
    Running(Worker<VsockService>),
}

impl VsockDevice {
    /// A device for the guest with this CID, which must be over 2.
    pub fn new(guest_cid: u32) -> Self {
        let expected = Expected::default();
        let state = State::Stopped(Box::new(Hub::new(guest_cid, expected.clone())));
        Self { guest_cid, expected, state, queues: Default::default() }
    }

    /// The handle to expect connections with; it works whether or not the guest has found the device yet.
    pub fn handle(&self) -> Vsock {
        Vsock(self.expected.clone())
    }

    /// Starts the worker once it has both queues.
    fn run(&mut self) -> io::Result<()> {
        let State::Stopped(hub) = &mut self.state else { return Ok(()) };
        let [rx, tx, _] = &mut self.queues;
        if rx.is_none() || tx.is_none() {
            return Ok(());
        }
        let (Some(rx), Some(tx)) = (rx.take(), tx.take()) else { return Ok(()) };
        let hub = std::mem::replace(hub, Box::new(Hub::new(self.guest_cid, self.expected.clone())));
        match Worker::start("vsock".to_owned(), VsockService::new(hub, rx, tx)) {
            Ok(worker) => {
                self.state = State::Running(worker);
                Ok(())
            }
            Err((error, service)) => {
                self.take_back(service);
                Err(error)
            }
        }
    }

    fn take_back(&mut self, service: VsockService) {
        let (hub, rx, tx) = service.into_parts();
        self.state = State::Stopped(hub);
        self.queues[RX] = Some(rx);
        self.queues[TX] = Some(tx);
    }

    fn pause(&mut self) {
        let idle = State::Stopped(Box::new(Hub::new(self.guest_cid, self.expected.clone())));
        match std::mem::replace(&mut self.state, idle) {
            State::Running(worker) => self.take_back(worker.stop()),
            stopped @ State::Stopped(_) => self.state = stopped,
        }
    }
}

impl VirtioDevice for VsockDevice {
    fn describe(&self) -> Description {
        Description {
            device_id: VIRTIO_ID_VSOCK,
            features: features(&[VIRTIO_VSOCK_F_STREAM]),
            queue_sizes: vec![QUEUE_SIZE; QUEUES],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_space(&u64::from(self.guest_cid).to_le_bytes(), offset, data);
    }

    fn write_config(&mut self, _offset: u64, _data: &[u8]) {
        // The CID is for the guest to read (§5.10.4).
    }

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        let running = matches!(self.state, State::Running(_)) && usize::from(index) <= TX;
        let slot = self.queues.get_mut(usize::from(index)).ok_or(StartError::NoSuchQueue { index })?;
        if running || slot.is_some() {
            return Err(StartError::Running { index });
        }
        *slot = Some(queue);
        self.run().map_err(|source| {
            self.queues[usize::from(index)] = None;
            StartError::Worker { index, source }
        })
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        if usize::from(index) <= TX {
            self.pause();
        }
        let queue = self.queues.get_mut(usize::from(index))?.take()?;
        Some(queue.state())
    }
}

/// Why a connection cannot be expected.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// One is expected on this port already.
    #[error("a connection to port {0} is expected already")]
    Taken(u32),
    /// The stream cannot be used.
    #[error("cannot use the stream for port {port}")]
    Stream {
        /// The port that it was meant for.
        port: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The handle to expect connections with. Clones are the same device; it can be used from any thread.
#[derive(Debug, Clone)]
pub struct Vsock(Expected<LocalStream>);

impl Vsock {
    /// Splices the next connection that the guest opens to host port `port` with `stream`, which is made non-blocking.
    /// That connection uses the expectation up.
    ///
    /// # Errors
    /// [`ExpectError`].
    pub fn expect(&self, port: u32, stream: LocalStream) -> Result<(), ExpectError> {
        stream.set_nonblocking(true).map_err(|source| ExpectError::Stream { port, source })?;
        if self.0.add(port, stream) { Ok(()) } else { Err(ExpectError::Taken(port)) }
    }

    /// Expects no connection on `port` any more; false if none was, or if the guest has connected meanwhile.
    pub fn cancel(&self, port: u32) -> bool {
        self.0.take(port).is_some()
    }
}
