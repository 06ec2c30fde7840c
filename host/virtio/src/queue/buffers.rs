//! A run of bytes scattered over guest memory: the readable or the writable part of a chain.

use super::GuestMemory;
use super::chain::Segment;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, VolatileSlice};

/// What is left of the readable or the writable part of a chain. Taking bytes from the front moves it on.
#[derive(Debug, Clone)]
pub struct Buffers<'a> {
    memory: &'a GuestMemory,
    segments: &'a [Segment],
    /// Bytes of the first segment that were taken already.
    skip: usize,
    length: usize,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(memory: &'a GuestMemory, segments: &'a [Segment]) -> Self {
        // Cannot overflow: the walk bounds the sum by 2^32 - 1.
        let length = segments.iter().map(|segment| segment.length).sum();
        Self { memory, segments, skip: 0, length }
    }

    /// Bytes that are left.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the first `count` bytes off as a run of their own, or all if there are fewer.
    pub fn split(&mut self, count: usize) -> Self {
        let mut front = self.clone();
        front.length = count.min(self.length);
        self.skip(count);
        front
    }

    /// Moves on by `count` bytes, or to the end.
    pub fn skip(&mut self, count: usize) {
        let mut count = count.min(self.length);
        self.length -= count;
        while let Some(first) = self.segments.first() {
            let rest = first.length - self.skip;
            if count < rest {
                self.skip += count;
                return;
            }
            count -= rest;
            self.skip = 0;
            self.segments = &self.segments[1..];
        }
    }

    /// Copies bytes from the front into `bytes`; returns how many there were.
    ///
    /// # Errors
    /// If the memory is not the one that the chain was checked against.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, GuestMemoryError> {
        self.copy(bytes.len(), |slice, done| slice.read_slice(&mut bytes[done..done + slice.len()], 0))
    }

    /// Copies `bytes` to the front; returns how many fitted.
    ///
    /// # Errors
    /// If the memory is not the one that the chain was checked against.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, GuestMemoryError> {
        self.copy(bytes.len(), |slice, done| slice.write_slice(&bytes[done..done + slice.len()], 0))
    }

    /// The bytes that are left, piece by piece.
    pub fn slices(&self) -> impl Iterator<Item = Result<VolatileSlice<'a>, GuestMemoryError>> + use<'a> {
        let (memory, mut skip, mut left) = (self.memory, self.skip, self.length);
        self.segments.iter().flat_map(move |segment| {
            let length = (segment.length - skip).min(left);
            let address = GuestAddress(segment.address + skip as u64);
            (skip, left) = (0, left - length);
            memory.get_slices(address, length)
        })
    }

    fn copy(
        &mut self,
        limit: usize,
        mut copy: impl FnMut(&VolatileSlice<'a>, usize) -> Result<(), vm_memory::VolatileMemoryError>,
    ) -> Result<usize, GuestMemoryError> {
        let front = self.split(limit);
        let mut done = 0;
        for slice in front.slices() {
            let slice = slice?;
            copy(&slice, done)?;
            done += slice.len();
        }
        Ok(done)
    }
}
