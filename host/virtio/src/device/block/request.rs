//! One request of the block device (virtio 1.2 §5.2.6).

use super::config::{MAX_ERASE_RANGES, MAX_ERASE_SECTORS, SECTOR};
use super::limits::SharedLimits;
use super::window::{Access, Erase, Failure, Window};
use crate::queue::{Buffers, Chain, GuestMemory, Queue, QueueError, QueueHandler};
use std::ops::Range;
use std::time::Instant;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
    VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};

const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// Length of `struct virtio_blk_discard_write_zeroes`.
const ERASE_RANGE: usize = 16;

/// Serves one queue of a window.
pub(super) struct BlockHandler {
    window: Window,
    id: [u8; ID_BYTES],
    limits: SharedLimits,
    chain: Chain,
}

impl BlockHandler {
    /// `name` is what the guest reads as serial number, cut after 20 bytes.
    pub(super) fn new(window: Window, name: &str, limits: SharedLimits) -> Self {
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        Self { window, id, limits, chain: Chain::default() }
    }

    /// Serves the chain at hand; returns how many bytes of its writable part were written. `durable`: what is written is
    /// to survive a crash of the host as soon as the request is completed.
    fn serve(&self, memory: &GuestMemory, durable: bool) -> Result<usize, QueueError> {
        let malformed = |problem| QueueError::Request { head: self.chain.head(), problem };
        let mut readable = self.chain.readable(memory);
        let mut writable = self.chain.writable(memory);
        let header = Header::read(&mut readable).ok_or_else(|| malformed("has no room for a request header"))?;
        let Some(room) = writable.len().checked_sub(1) else {
            return Err(malformed("has no room for a status"));
        };
        let data = writable.split(room);
        self.limits.charge(header.transferred(&readable, &data));
        let (status, written) = match self.execute(&header, readable, data, durable) {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(Failure::Io) => (VIRTIO_BLK_S_IOERR, 0),
            Err(Failure::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
        };
        match writable.write(&status.to_le_bytes()[..1]) {
            Ok(1) => Ok(written + 1),
            _ => Err(malformed("has no room for a status")),
        }
    }

    /// What the request is about; returns how many bytes of `to_guest` were written.
    fn execute(
        &self,
        header: &Header,
        from_guest: Buffers<'_>,
        mut to_guest: Buffers<'_>,
        durable: bool,
    ) -> Result<usize, Failure> {
        match header.kind {
            VIRTIO_BLK_T_IN => {
                let length = whole_sectors(&to_guest)?;
                self.window.read(header.position()?, to_guest).map(|()| length)
            }
            VIRTIO_BLK_T_OUT => {
                self.check_writable()?;
                let (start, length) = (header.position()?, whole_sectors(&from_guest)?);
                self.window.write(start, from_guest)?;
                self.settle(start..start.saturating_add(length as u64), durable).map(|()| 0)
            }
            VIRTIO_BLK_T_FLUSH => self.window.flush().map(|()| 0),
            VIRTIO_BLK_T_GET_ID if to_guest.len() >= ID_BYTES => to_guest.write(&self.id).map_err(|_| Failure::Io),
            VIRTIO_BLK_T_GET_ID => Err(Failure::Io),
            VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES => {
                self.erase(header.kind, from_guest, durable).map(|()| 0)
            }
            _ => Err(Failure::Unsupported),
        }
    }

    fn erase(&self, kind: u32, mut ranges: Buffers<'_>, durable: bool) -> Result<(), Failure> {
        self.check_writable()?;
        let count = ranges.len() / ERASE_RANGE;
        if count == 0 || count > MAX_ERASE_RANGES as usize || !ranges.len().is_multiple_of(ERASE_RANGE) {
            return Err(Failure::Io);
        }
        for _ in 0..count {
            let mut bytes = [0; ERASE_RANGE];
            ranges.read(&mut bytes).map_err(|_| Failure::Io)?;
            let (sector, sectors, flags) = (le64(&bytes, 0), le32(&bytes, 8), le32(&bytes, 12));
            let how = match (kind, flags) {
                (VIRTIO_BLK_T_DISCARD, 0) => Erase::Deallocate,
                (VIRTIO_BLK_T_WRITE_ZEROES, 0) => Erase::Zero,
                (VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) => Erase::Deallocate,
                // Reserved flags, or an unmap flag on a discard (§5.2.6.2).
                _ => return Err(Failure::Unsupported),
            };
            if sectors > MAX_ERASE_SECTORS {
                return Err(Failure::Io);
            }
            let start = sector.checked_mul(SECTOR).ok_or(Failure::Io)?;
            let end = start.checked_add(u64::from(sectors) * SECTOR).ok_or(Failure::Io)?;
            self.window.erase(start..end, how)?;
            self.settle(start..end, durable)?;
        }
        Ok(())
    }

    /// Ends a request that has changed `range`.
    fn settle(&self, range: Range<u64>, durable: bool) -> Result<(), Failure> {
        if durable { self.window.flush_within(range) } else { Ok(()) }
    }

    fn check_writable(&self) -> Result<(), Failure> {
        match self.window.access() {
            Access::ReadWrite | Access::Scratch => Ok(()),
            Access::ReadOnly => Err(Failure::Io),
        }
    }
}

impl QueueHandler for BlockHandler {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        if !queue.pop(&mut self.chain)? {
            return Ok(false);
        }
        // A driver that has no way to flush takes a completed write for a durable one (§5.2.6.2): it sees a
        // write-through cache.
        let written = self.serve(queue.memory(), !queue.has(VIRTIO_BLK_F_FLUSH))?;
        queue.push(self.chain.head(), written)?;
        Ok(true)
    }

    fn pause(&mut self) -> Option<Instant> {
        self.limits.pause()
    }
}

/// `struct virtio_blk_req` up to the data.
struct Header {
    kind: u32,
    sector: u64,
}

impl Header {
    fn read(from: &mut Buffers<'_>) -> Option<Self> {
        let mut bytes = [0; 16];
        match from.read(&mut bytes) {
            Ok(count) if count == bytes.len() => Some(Self { kind: le32(&bytes, 0), sector: le64(&bytes, 8) }),
            _ => None,
        }
    }

    /// How many bytes of data the request asks to move.
    fn transferred(&self, from_guest: &Buffers<'_>, to_guest: &Buffers<'_>) -> u64 {
        match self.kind {
            VIRTIO_BLK_T_IN => to_guest.len() as u64,
            VIRTIO_BLK_T_OUT => from_guest.len() as u64,
            _ => 0,
        }
    }

    fn position(&self) -> Result<u64, Failure> {
        self.sector.checked_mul(SECTOR).ok_or(Failure::Io)
    }
}

fn whole_sectors(buffers: &Buffers<'_>) -> Result<usize, Failure> {
    let whole = (buffers.len() as u64).is_multiple_of(SECTOR);
    if whole { Ok(buffers.len()) } else { Err(Failure::Io) }
}

fn le32(bytes: &[u8; 16], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn le64(bytes: &[u8; 16], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
