//! What a fuzzer drives: functions that take any bytes, have a hostile guest do what the bytes say, and panic only if a
//! promise was broken.
//!
//! The targets around them are in `fuzz/`, the inputs worth keeping in `fuzz/corpus/`, which the tests replay. There are no
//! threads here, so that an input does the same each time.

#[cfg(test)]
mod tests;

use crate::queue::{ActiveQueue, GuestMemory, Layout, Queue, QueueInterrupt};
use hull_platform::event::Event;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

pub use crate::device::balloon::fuzzing::balloon;
pub use crate::device::block::fuzzing::block;
pub use crate::device::console::fuzzing::console;
pub use crate::device::vsock::fuzzing::{rings as vsock_rings, vsock};
pub use crate::queue::fuzzing::queue;
pub use crate::transport::mmio::fuzzing::registers;

/// Length of the memory's first region, which an input can write. Two more adjoin each other at [`SECOND`]` + `[`FIRST`].
pub(crate) const FIRST: u64 = 0x1_0000;
/// Where memory goes on after a hole.
pub(crate) const SECOND: u64 = 0x2_0000;

/// A queue of 16 descriptors whose parts leave room for little but them, so that short inputs reach them.
pub(crate) const LAYOUT: Layout = Layout { size: 16, descriptors: 0, available: 0x100, used: 0x140 };

/// An input that is taken from the front; behind its end are zeros.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let (front, rest) = self.0.split_at(N.min(self.0.len()));
        array[..front.len()].copy_from_slice(front);
        self.0 = rest;
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Up to this many bytes.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        front
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Memory that begins with these bytes.
pub(crate) fn memory(image: &[u8]) -> Arc<GuestMemory> {
    let length = usize::try_from(FIRST).expect("64 KiB");
    let regions = [0, SECOND, SECOND + FIRST].map(|start| (GuestAddress(start), length));
    let memory = GuestMemory::from_ranges(&regions).expect("regions do not overlap");
    let image = &image[..image.len().min(length)];
    memory.write_slice(image, GuestAddress(0)).expect("the first region holds it");
    Arc::new(memory)
}

/// A queue whose driver nobody tells anything.
pub(crate) fn active(queue: Queue) -> ActiveQueue {
    struct Silent;
    impl QueueInterrupt for Silent {
        fn used(&self) {}
        fn broken(&self) {}
    }
    ActiveQueue::new("fuzz".to_owned(), queue, Event::new().expect("there are files to open"), Box::new(Silent))
}
