//! One chain of descriptors (virtio 1.2 §2.7.5), followed to its end and checked before a device sees it.

use super::{Buffers, GuestMemory, Layout};
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// Size of a descriptor in a table.
const DESCRIPTOR: u32 = 16;

/// What is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It points past the table.
    #[error("descriptor {index} is beyond the table of {size}")]
    Index {
        /// The descriptor.
        index: u16,
        /// Length of the table.
        size: u16,
    },
    /// It has more descriptors than the queue, as every loop does (§2.7.5.1).
    #[error("it has more descriptors than the queue")]
    TooLong,
    /// A buffer or a table is not within guest memory.
    #[error("{length} bytes at {address:#x} are not within guest memory")]
    Memory {
        /// Guest physical address.
        address: u64,
        /// Length in bytes.
        length: u32,
    },
    /// All buffers together are longer than 2^32 - 1 bytes (§2.7.5.2).
    #[error("it is longer than 4 GiB")]
    TotalLength,
    /// A buffer for the device to read comes after one for it to write (§2.7.4.2).
    #[error("a readable buffer follows a writable one")]
    Order,
    /// An indirect table though the feature was not negotiated, within another one, or followed by a descriptor
    /// (§2.7.5.3.1).
    #[error("an indirect table is not allowed there")]
    Indirect,
    /// An indirect table is empty, cut, or longer than the queue.
    #[error("an indirect table of {0} bytes is not valid")]
    IndirectLength(u32),
}

/// A buffer of a chain, within guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: u64,
    pub(super) length: usize,
}

/// A sound chain. It is meant to be used again for the next one, so that serving a request allocates nothing.
#[derive(Debug, Default)]
pub struct Chain {
    head: u16,
    readable: Vec<Segment>,
    writable: Vec<Segment>,
}

impl Chain {
    /// Its first descriptor, which names it.
    pub fn head(&self) -> u16 {
        self.head
    }

    /// What the driver wrote for the device. `memory` is that of the queue which the chain was popped from.
    pub fn readable<'a>(&'a self, memory: &'a GuestMemory) -> Buffers<'a> {
        Buffers::new(memory, &self.readable)
    }

    /// Where the device is to write. `memory` is that of the queue which the chain was popped from.
    pub fn writable<'a>(&'a self, memory: &'a GuestMemory) -> Buffers<'a> {
        Buffers::new(memory, &self.writable)
    }

    /// Where in guest memory the device may write: address and length of each buffer, within the memory of the queue which
    /// the chain was popped from.
    pub fn writable_ranges(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.writable.iter().map(|segment| (segment.address, segment.length))
    }

    /// Follows the chain that begins at `head` of the table in `layout`.
    pub(super) fn walk(
        &mut self,
        memory: &GuestMemory,
        layout: Layout,
        head: u16,
        indirect_allowed: bool,
    ) -> Result<(), ChainError> {
        self.head = head;
        self.readable.clear();
        self.writable.clear();
        let mut table = Table { address: layout.descriptors, size: layout.size, nested: !indirect_allowed };
        let (mut index, mut total) = (head, 0_u32);
        for _ in 0..layout.size {
            let mut descriptor = table.read(memory, index)?;
            if descriptor.refers_to_indirect_table() {
                table = table.indirect(&descriptor, layout.size)?;
                descriptor = table.read(memory, 0)?;
                if descriptor.refers_to_indirect_table() {
                    return Err(ChainError::Indirect);
                }
            }
            total = total.checked_add(descriptor.len()).ok_or(ChainError::TotalLength)?;
            self.add(memory, &descriptor)?;
            if !has(&descriptor, VRING_DESC_F_NEXT) {
                return Ok(());
            }
            index = descriptor.next();
        }
        Err(ChainError::TooLong)
    }

    fn add(&mut self, memory: &GuestMemory, descriptor: &Descriptor) -> Result<(), ChainError> {
        let (address, length) = (descriptor.addr().0, descriptor.len());
        let writable = has(descriptor, VRING_DESC_F_WRITE);
        if !writable && !self.writable.is_empty() {
            return Err(ChainError::Order);
        }
        let outside = ChainError::Memory { address, length };
        let length = usize::try_from(length).map_err(|_| outside)?;
        if length == 0 {
            // Nothing forbids it, and there is nothing to access.
            return Ok(());
        }
        if address.checked_add(length as u64).is_none() || !memory.check_range(GuestAddress(address), length) {
            return Err(outside);
        }
        let side = if writable { &mut self.writable } else { &mut self.readable };
        side.push(Segment { address, length });
        Ok(())
    }
}

fn has(descriptor: &Descriptor, flag: u32) -> bool {
    u32::from(descriptor.flags()) & flag != 0
}

/// A table that a chain runs in.
struct Table {
    address: u64,
    size: u16,
    /// No indirect table may start from here.
    nested: bool,
}

impl Table {
    fn read(&self, memory: &GuestMemory, index: u16) -> Result<Descriptor, ChainError> {
        if index >= self.size {
            return Err(ChainError::Index { index, size: self.size });
        }
        let outside = ChainError::Memory { address: self.address, length: u32::from(self.size) * DESCRIPTOR };
        let address = self.address.checked_add(u64::from(index) * u64::from(DESCRIPTOR)).ok_or(outside)?;
        // The driver may change the descriptor while it is read: any value that can come of it is checked like every
        // other, and it is not read again.
        memory.read_obj(GuestAddress(address)).map_err(|_| outside)
    }

    /// The table that `descriptor` names; its flag for writable buffers has no meaning (§2.7.5.3.2).
    fn indirect(&self, descriptor: &Descriptor, queue_size: u16) -> Result<Self, ChainError> {
        if self.nested || has(descriptor, VRING_DESC_F_NEXT) {
            return Err(ChainError::Indirect);
        }
        let length = descriptor.len();
        let size = u16::try_from(length / DESCRIPTOR).ok();
        match size.filter(|size| length.is_multiple_of(DESCRIPTOR) && (1..=queue_size).contains(size)) {
            Some(size) => Ok(Self { address: descriptor.addr().0, size, nested: true }),
            None => Err(ChainError::IndirectLength(length)),
        }
    }
}

const _: () = assert!(VRING_DESC_F_INDIRECT == 4, "Descriptor::refers_to_indirect_table tests this flag");
