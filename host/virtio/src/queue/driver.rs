//! The driver's side of a queue, for tests: it writes what it is told, sound or not.

use super::{GuestMemory, Layout, Queue};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

// The flags of a descriptor (virtio 1.2 §2.7.5); the bindings have them in a wider type.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Memory is one region below this and two adjacent ones around [`SEAM`]; nothing is between [`HOLE`] and [`ISLAND`].
pub(crate) const HOLE: u64 = 1 << 20;
/// First byte after the hole.
pub(crate) const ISLAND: u64 = 2 << 20;
/// Where two regions meet.
pub(crate) const SEAM: u64 = 3 << 20;
/// First byte after all memory.
pub(crate) const END: u64 = 4 << 20;
/// From here on tests put buffers.
pub(crate) const BUFFERS: u64 = 0x1_0000;

/// A buffer of a chain to offer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) flags: u16,
}

/// A buffer for the device to read.
pub(crate) fn readable(address: u64, length: u32) -> Part {
    Part { address, length, flags: 0 }
}

/// A buffer for the device to write.
pub(crate) fn writable(address: u64, length: u32) -> Part {
    Part { address, length, flags: WRITE }
}

/// A driver of one queue.
pub(crate) struct Driver {
    memory: Arc<GuestMemory>,
    layout: Layout,
    /// Next descriptor to use.
    descriptor: u16,
    available: u16,
    used: u16,
}

impl Driver {
    pub(crate) fn new(size: u16) -> Self {
        let length = |bytes: u64| usize::try_from(bytes).unwrap();
        let regions = [
            (GuestAddress(0), length(HOLE)),
            (GuestAddress(ISLAND), length(SEAM - ISLAND)),
            (GuestAddress(SEAM), length(END - SEAM)),
        ];
        Self::with_memory(Arc::new(GuestMemory::from_ranges(&regions).unwrap()), size)
    }

    /// A driver in memory that a test has made; the queue is in its first 64 KiB.
    pub(crate) fn with_memory(memory: Arc<GuestMemory>, size: u16) -> Self {
        let layout = Layout { size, descriptors: 0x1000, available: 0x6000, used: 0x8000 };
        Self { memory, layout, descriptor: 0, available: 0, used: 0 }
    }

    pub(crate) fn memory(&self) -> Arc<GuestMemory> {
        Arc::clone(&self.memory)
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The device's side of it.
    pub(crate) fn queue(&self, features: u64) -> Queue {
        Queue::new(self.memory(), self.layout, features, 0).unwrap()
    }

    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    }

    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    fn read_u16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.read(address, 2).try_into().unwrap())
    }

    fn read_u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.read(address, 4).try_into().unwrap())
    }

    /// Writes a descriptor into the table at `table`.
    pub(crate) fn describe_at(&self, table: u64, index: u16, part: Part, next: u16) {
        let address = table + 16 * u64::from(index);
        self.write(address, &part.address.to_le_bytes());
        self.write(address + 8, &part.length.to_le_bytes());
        self.write(address + 12, &part.flags.to_le_bytes());
        self.write(address + 14, &next.to_le_bytes());
    }

    /// Writes a descriptor of the queue itself.
    pub(crate) fn describe(&self, index: u16, part: Part, next: u16) {
        self.describe_at(self.layout.descriptors, index, part, next);
    }

    /// Makes a chain available whose first descriptor is `head`.
    pub(crate) fn offer(&mut self, head: u16) {
        let slot = u64::from(self.available % self.layout.size);
        self.write(self.layout.available + 4 + 2 * slot, &head.to_le_bytes());
        self.available = self.available.wrapping_add(1);
        self.set_available(self.available);
    }

    /// Sets the index of the available ring.
    pub(crate) fn set_available(&self, index: u16) {
        self.write(self.layout.available + 2, &index.to_le_bytes());
    }

    /// Makes a chain of these buffers available; returns its first descriptor.
    pub(crate) fn offer_chain(&mut self, parts: &[Part]) -> u16 {
        let size = self.layout.size;
        let head = self.descriptor;
        for (position, part) in parts.iter().enumerate() {
            let index = self.descriptor;
            self.descriptor = (self.descriptor + 1) % size;
            let more = if position + 1 < parts.len() { NEXT } else { 0 };
            self.describe(index, Part { flags: part.flags | more, ..*part }, self.descriptor);
        }
        self.offer(head);
        head
    }

    /// Chains that were used since this was asked last, with the length written.
    pub(crate) fn used(&mut self) -> Vec<(u16, u32)> {
        let mut used = Vec::new();
        while self.used != self.read_u16(self.layout.used + 2) {
            let slot = self.layout.used + 4 + 8 * u64::from(self.used % self.layout.size);
            used.push((u16::try_from(self.read_u32(slot)).unwrap(), self.read_u32(slot + 4)));
            self.used = self.used.wrapping_add(1);
        }
        used
    }

    /// Sets `used_event`: the driver wants an interrupt when the used index passes it.
    pub(crate) fn set_used_event(&self, index: u16) {
        let address = self.layout.available + 4 + 2 * u64::from(self.layout.size);
        self.write(address, &index.to_le_bytes());
    }

    /// Wants an interrupt for the next chain that is used.
    #[cfg(target_os = "linux")]
    pub(crate) fn want_interrupt(&self) {
        self.set_used_event(self.used);
    }

    /// Sets the flags of the available ring.
    pub(crate) fn set_flags(&self, flags: u16) {
        self.write(self.layout.available, &flags.to_le_bytes());
    }

    /// Reads `avail_event`: the device wants a kick when the available index passes it.
    pub(crate) fn avail_event(&self) -> u16 {
        self.read_u16(self.layout.used + 4 + 8 * u64::from(self.layout.size))
    }
}

/// Pseudo-random numbers (xorshift64*): the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// A buffer that is sometimes sound, often nearly so.
    pub(crate) fn part(&mut self) -> Part {
        let near = self.pick(&[0, BUFFERS, BUFFERS, HOLE, ISLAND, SEAM, END, u64::MAX]);
        let address = near.wrapping_add(self.below(64)).wrapping_sub(self.pick(&[0, 32]));
        let length = self.pick(&[0, 1, 16, 44, 512, 4096, u32::MAX]);
        Part { address, length, flags: self.pick(&[0, WRITE]) }
    }

    /// Writes a descriptor of such a buffer, with any flags and any successor.
    pub(crate) fn describe(&mut self, driver: &Driver, table: u64, index: u16) {
        let flags = u16::try_from(self.below(8)).unwrap();
        let next = u16::try_from(self.below(u64::from(driver.layout.size) + 2)).unwrap();
        driver.describe_at(table, index, Part { flags, ..self.part() }, next);
    }
}
