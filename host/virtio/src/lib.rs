//! virtio (OASIS virtio 1.2): queues, devices and the transports that drive them.
//!
//! - [`device`]: the [`VirtioDevice`] trait, which every transport speaks, and the devices behind it: [`device::block`],
//!   [`device::vsock`], [`device::rng`], [`device::console`] and [`device::balloon`].
//! - [`queue`]: a split virtqueue, and chains of descriptors that were checked before anybody follows them.
//! - [`transport`]: what connects devices to a machine; [`transport::vhost_user`] for QEMU, [`transport::mmio`] for
//!   machines of our own.
//! - [`rate_limit`]: how much may pass in a time.
//!
//! ```text
//!   transport ──start_queue(index, ActiveQueue)──▶ device ──moves it into──▶ worker thread ──▶ QueueHandler
//!       ◀──────────stop_queue(index) -> QueueState──┘                        {kick, stop, sources}   (thread-free)
//! ```
//!
//! Everything that a guest can write is hostile. A chain that breaks the rules stops its ring and is told to the guest's
//! driver and, once, to the log; it never ends the process.
//!
//! On hosts that are not Unix only [`VirtioDevice`] and what it names exist: the queue library does not compile there.

pub mod device;
#[cfg(all(unix, any(test, feature = "fuzzing")))]
pub mod fuzzing;
#[cfg(unix)]
pub mod queue;
#[cfg(not(unix))]
pub mod queue {
    //! Names what [`VirtioDevice`](crate::VirtioDevice) mentions; this host has no queues yet.

    /// A queue, which nobody can make on this host.
    #[derive(Debug)]
    pub enum ActiveQueue {}
}
pub mod rate_limit;
#[cfg(unix)]
pub mod transport;

#[cfg(unix)]
mod guest_io;
#[cfg(unix)]
pub mod tally;
#[cfg(unix)]
mod worker;

pub use device::{Description, QueueState, StartError, VirtioDevice};
