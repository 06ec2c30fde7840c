//! The extents of a window: who maps what where, and requests that reach the files.

#[cfg(test)]
mod tests;

use crate::guest_io;
use crate::queue::Buffers;
use hull_platform::file;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Size of every window.
pub const CAPACITY: u64 = 16 << 40;

/// Reads as zeros; nothing can be mapped here.
const RESERVED: u64 = 1 << 20;

/// Both ends of an extent are multiples of this.
const ALIGNMENT: u64 = 4096;

/// What a guest may do with an extent, or with the whole device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read, write, discard.
    ReadWrite,
    /// The same, for an extent whose file nobody needs after a crash of the host: a flush does not sync it.
    Scratch,
}

/// Why an extent cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The range is empty, not aligned to 4096, in the reserved first MiB, or beyond the window.
    #[error("{:#x}..{:#x} is no range that a window can map", .0.start, .0.end)]
    Range(Range<u64>),
    /// Something is mapped there.
    #[error("{:#x}..{:#x} overlaps {:#x}..{:#x}, which is mapped", .range.start, .range.end, .mapped.start, .mapped.end)]
    Overlap {
        /// What should have been mapped.
        range: Range<u64>,
        /// What is.
        mapped: Range<u64>,
    },
    /// The device is read-only.
    #[error("a read-only device can map nothing for writing")]
    ReadOnlyDevice,
    /// The file ends before the extent does.
    #[error("file of {file} bytes is too short for an extent that ends at {end}")]
    FileTooShort {
        /// Length of the file.
        file: u64,
        /// Where the extent would end in it.
        end: u64,
    },
    /// The file cannot be examined.
    #[error("cannot examine the file to map")]
    Io(#[from] io::Error),
}

/// Why an extent cannot be unmapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:#x}..{:#x} is not mapped as one extent", .0.start, .0.end)]
pub struct UnmapError(pub Range<u64>);

/// Why a request failed; virtio-blk has no more than these to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// `VIRTIO_BLK_S_IOERR`.
    Io,
    /// `VIRTIO_BLK_S_UNSUPP`.
    Unsupported,
}

/// The handle to map and unmap with. Clones are the same window; it can be used from any thread.
#[derive(Debug, Clone)]
pub struct Window(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: Access,
    extents: RwLock<BTreeMap<u64, Arc<Extent>>>,
}

/// A file in the window.
#[derive(Debug)]
struct Extent {
    range: Range<u64>,
    offset: u64,
    access: Access,
    /// Requests read-lock it while they use the file; unmapping write-locks it, which waits for them, and takes the file
    /// away from those that found the extent but had not locked it yet.
    file: RwLock<Option<File>>,
    /// Locked during a sync, so that a second flush cannot overtake the first and report as durable what is still on its
    /// way. Whoever locks it has read-locked `file` before: the other way round, a flush and a write would wait for each
    /// other once an unmapping, which new readers let go first, stands between them.
    durability: Mutex<Durability>,
}

/// How an extent's file and its storage stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// Nothing was written since the last sync.
    Synced,
    /// Something was.
    Unsynced,
    /// A sync failed. The kernel says so once and forgets what it could not write (fsync(2)), so a later sync that
    /// succeeds means nothing: the extent's flushes fail until it is unmapped.
    Lost,
}

impl Window {
    pub(super) fn new(access: Access) -> Self {
        Self(Arc::new(Shared { access, extents: RwLock::default() }))
    }

    /// What the device as a whole allows.
    pub fn access(&self) -> Access {
        self.0.access
    }

    /// Puts `file`, from `offset` on, at `range` of the window. The guest can use it at once.
    ///
    /// # Errors
    /// [`MapError`]; nothing has changed then.
    pub fn map(&self, range: Range<u64>, file: File, offset: u64, access: Access) -> Result<(), MapError> {
        let aligned = range.start.is_multiple_of(ALIGNMENT) && range.end.is_multiple_of(ALIGNMENT);
        if !aligned || range.is_empty() || range.start < RESERVED || range.end > CAPACITY {
            return Err(MapError::Range(range));
        }
        if self.0.access == Access::ReadOnly && access != Access::ReadOnly {
            return Err(MapError::ReadOnlyDevice);
        }
        let length = file.metadata()?.len();
        let end = offset.saturating_add(range.end - range.start);
        if end > length {
            return Err(MapError::FileTooShort { file: length, end });
        }
        let mut extents = write(&self.0.extents);
        // Extents do not overlap, so the last one that starts before our end is the only one that can reach into us.
        if let Some((_, other)) = extents.range(..range.end).next_back()
            && other.range.end > range.start
        {
            return Err(MapError::Overlap { range, mapped: other.range.clone() });
        }
        let (file, durability) = (RwLock::new(Some(file)), Mutex::new(Durability::Synced));
        let extent = Extent { range, offset, access, file, durability };
        extents.insert(extent.range.start, Arc::new(extent));
        Ok(())
    }

    /// Takes back what was mapped at exactly `range`. When this returns, no request uses the file any more and it is
    /// closed. Nothing is synced: whoever wants that has the guest flush.
    ///
    /// # Errors
    /// [`UnmapError`] if no extent has this range.
    pub fn unmap(&self, range: Range<u64>) -> Result<(), UnmapError> {
        let mut extents = write(&self.0.extents);
        let mapped = extents.get(&range.start).is_some_and(|extent| extent.range == range);
        let extent = if mapped { extents.remove(&range.start) } else { None };
        drop(extents);
        let extent = extent.ok_or(UnmapError(range))?;
        *write(&extent.file) = None;
        Ok(())
    }

    /// Reads from `offset` on until `into` is full.
    pub(super) fn read(&self, offset: u64, mut into: Buffers<'_>) -> Result<(), Failure> {
        let mut position = bounded(offset, into.len())?;
        if position < RESERVED {
            let mut zeros = into.split(length(RESERVED - position));
            position += zeros.len() as u64;
            while !zeros.is_empty() {
                zeros.write(&[0; 4096]).map_err(|_| Failure::Io)?;
            }
        }
        self.each_piece(position, into, |extent, file, offset, piece| {
            extent.report(guest_io::read_at(file.as_fd(), offset, piece))
        })
    }

    /// Writes all of `from` at `offset`.
    pub(super) fn write(&self, offset: u64, from: Buffers<'_>) -> Result<(), Failure> {
        let position = bounded(offset, from.len())?;
        self.each_piece(position, from, |extent, file, offset, piece| {
            extent.modify(|| guest_io::write_at(file.as_fd(), offset, piece))
        })
    }

    /// Zeroes `range`, giving back its storage if `deallocate` says so.
    pub(super) fn erase(&self, range: Range<u64>, kind: Erase) -> Result<(), Failure> {
        if range.end > CAPACITY {
            return Err(Failure::Io);
        }
        let mut position = range.start;
        while position < range.end {
            let extent = self.find(position).ok_or(Failure::Io)?;
            let end = range.end.min(extent.range.end);
            let length = end - position;
            extent.with_file(position, |file, offset| {
                extent.modify(|| match kind {
                    Erase::Deallocate => file::punch_hole(file, offset, length),
                    Erase::Zero => file::zero_range(file, offset, length),
                })
            })?;
            position = end;
        }
        Ok(())
    }

    /// Makes every completed write durable, but those to scratch. Only files written since their last sync are synced.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.flush_within(0..CAPACITY)
    }

    /// The same for the writes to extents that `range` touches.
    pub(super) fn flush_within(&self, range: Range<u64>) -> Result<(), Failure> {
        let concerned = |extent: &&Arc<Extent>| extent.access == Access::ReadWrite && range.start < extent.range.end;
        let extents: Vec<_> =
            read(&self.0.extents).range(..range.end).map(|(_, extent)| extent).filter(concerned).cloned().collect();
        let mut outcome = Ok(());
        for extent in &extents {
            // All of them even if one fails: each belongs to somebody else.
            outcome = outcome.and(extent.flush(File::sync_data));
        }
        outcome
    }

    /// Holds the file at `position` as a request does, for tests.
    #[cfg(test)]
    pub(super) fn hold(&self, position: u64, work: impl FnOnce()) {
        let extent = self.find(position).expect("the test has mapped it");
        let held = extent.with_file(position, |_, _| {
            work();
            Ok(())
        });
        held.expect("the test has not unmapped it");
    }

    /// Whether the next flush would sync the file at `position`, for tests.
    #[cfg(test)]
    pub(super) fn is_unsynced(&self, position: u64) -> bool {
        self.find(position).is_some_and(|extent| *lock(&extent.durability) == Durability::Unsynced)
    }

    /// Writes to the extent at `position` and has a flush of it fail as on a disk that does, for tests.
    #[cfg(test)]
    pub(super) fn fail_sync(&self, position: u64) {
        let extent = self.find(position).expect("the test has mapped it");
        extent.modify(|| Ok(())).expect("the test has mapped it for writing");
        assert!(extent.flush(|_| Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    fn find(&self, position: u64) -> Option<Arc<Extent>> {
        let extents = read(&self.0.extents);
        let (_, extent) = extents.range(..=position).next_back()?;
        extent.range.contains(&position).then(|| Arc::clone(extent))
    }

    /// Cuts `buffers` at the borders of extents, and calls `work` with the file and the offset in it for each piece.
    fn each_piece(
        &self,
        mut position: u64,
        mut buffers: Buffers<'_>,
        work: impl Fn(&Extent, &File, u64, Buffers<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while !buffers.is_empty() {
            let extent = self.find(position).ok_or(Failure::Io)?;
            let piece = buffers.split(length(extent.range.end - position));
            let next = position + piece.len() as u64;
            extent.with_file(position, |file, offset| work(&extent, file, offset, piece))?;
            position = next;
        }
        Ok(())
    }
}

/// How to make a range read as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Erase {
    /// Give the storage back.
    Deallocate,
    /// Keep it.
    Zero,
}

impl Extent {
    /// Calls `work`, during which the file stays, with it and the offset in it that `position` of the window stands for.
    fn with_file(&self, position: u64, work: impl FnOnce(&File, u64) -> Result<(), Failure>) -> Result<(), Failure> {
        let file = read(&self.file);
        let file = file.as_ref().ok_or(Failure::Io)?;
        // Cannot overflow: `map` saw the extent end within the file.
        work(file, self.offset + (position - self.range.start))
    }

    fn modify(&self, change: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        if self.access == Access::ReadOnly {
            return Err(Failure::Io);
        }
        let result = change();
        // After the write and before the guest hears of it: a flush that the guest sends then finds the mark, and one
        // that ran meanwhile cannot have taken it away. Also if it failed, for it may have written something.
        let mut durability = lock(&self.durability);
        if *durability == Durability::Synced {
            *durability = Durability::Unsynced;
        }
        drop(durability);
        self.report(result)
    }

    /// Makes what was written durable, by way of `sync`.
    fn flush(&self, sync: impl FnOnce(&File) -> io::Result<()>) -> Result<(), Failure> {
        let file = read(&self.file);
        // Nobody can read any more what was written to a file that was unmapped meanwhile.
        let Some(file) = &*file else { return Ok(()) };
        let mut durability = lock(&self.durability);
        match *durability {
            Durability::Synced => Ok(()),
            Durability::Lost => Err(Failure::Io),
            Durability::Unsynced => match sync(file) {
                Ok(()) => {
                    *durability = Durability::Synced;
                    Ok(())
                }
                Err(error) => {
                    *durability = Durability::Lost;
                    // Once for each time that the owner of the window maps something.
                    let Range { start, end } = self.range;
                    log::warn!("extent {start:#x}..{end:#x}: what was written is lost, it cannot be synced: {error}");
                    Err(Failure::Io)
                }
            },
        }
    }

    fn report(&self, result: io::Result<()>) -> Result<(), Failure> {
        result.map_err(|error| {
            // A full disk is worth a line each time somebody asks, but a guest can ask without end: debug level.
            log::debug!("request at extent {:#x}..{:#x} failed: {error}", self.range.start, self.range.end);
            if error.kind() == io::ErrorKind::Unsupported { Failure::Unsupported } else { Failure::Io }
        })
    }
}

/// `offset`, if `length` bytes from there on are within the window.
fn bounded(offset: u64, length: usize) -> Result<u64, Failure> {
    let end = offset.checked_add(length as u64).filter(|&end| end <= CAPACITY);
    end.map(|_| offset).ok_or(Failure::Io)
}

/// A length for a buffer, which is never as long as what does not fit in `usize`.
fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

// A thread that panicked left these locks poisoned but nothing behind them half done.

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
