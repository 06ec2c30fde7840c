//! Guest memory: one file mapping, so that it can be shared, punched and, later, mapped copy-on-write.
#![expect(unsafe_code, reason = "the hypervisor is told where guest memory lies")]

use super::layout::{HIGH_MEMORY, LOW_MEMORY_END};
use crate::backend::MachineError;
use hull_hypervisor::{HostMemory, MemoryRegion};
use hull_platform::file::punch_hole;
use hull_virtio::device::balloon::Release;
use hull_virtio::queue::GuestMemory;
use std::fs::File;
use std::io;
use std::sync::Arc;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend as _, GuestMemoryRegion as _};

/// Maps `bytes` of memory: from 0, and from 4 GiB on what does not fit below the devices.
pub fn allocate(bytes: u64) -> Result<Arc<GuestMemory>, MachineError> {
    let failed = |source| MachineError::Io { action: format!("get {} MiB of memory", bytes >> 20), source };
    let file = hull_platform::memory::shared("guest", bytes).map_err(failed)?;
    let low = bytes.min(LOW_MEMORY_END);
    let mut ranges = Vec::with_capacity(2);
    for (address, offset, length) in [(0, 0, low), (HIGH_MEMORY, low, bytes - low)] {
        if length > 0 {
            let file = file.try_clone().map_err(failed)?;
            let length = usize::try_from(length).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
            ranges.push((GuestAddress(address), length, Some(FileOffset::new(file, offset))));
        }
    }
    let memory = GuestMemory::from_ranges_with_files(&ranges).map_err(|error| failed(io::Error::other(error)))?;
    Ok(Arc::new(memory))
}

/// The same memory as the hypervisor wants it.
pub fn regions(memory: &Arc<GuestMemory>) -> Vec<MemoryRegion> {
    let region = |(index, region): (usize, &vm_memory::GuestRegionMmap<()>)| MemoryRegion {
        guest_address: region.start_addr().0,
        memory: Arc::new(Region { memory: Arc::clone(memory), index }),
    };
    memory.iter().enumerate().map(region).collect()
}

/// The unit in which memory is given back: the host's page and the guest's.
const PAGE: u64 = 4096;

/// Gives pages of guest memory back, by punching them out of the file: they are gone from this process and from the
/// hypervisor's tables, and read as zeros until the guest writes to them again.
pub struct Pages(pub Arc<GuestMemory>);

impl Release for Pages {
    fn release(&self, guest_address: u64, length: u64) {
        let Some((file, offset, length)) = hole(&self.0, guest_address, length) else { return };
        if let Err(error) = punch_hole(file, offset, length) {
            // Nothing is lost but memory, and a guest can have this said without end: debug level.
            log::debug!("cannot give {length} bytes of guest memory back: {error}");
        }
    }
}

/// Where the whole pages within a range are in the file; `None` unless there are some and all are of one region.
fn hole(memory: &GuestMemory, guest_address: u64, length: u64) -> Option<(&File, u64, u64)> {
    let start = guest_address.checked_next_multiple_of(PAGE)?;
    let end = guest_address.checked_add(length)? / PAGE * PAGE;
    let length = end.checked_sub(start).filter(|length| *length > 0)?;
    let region = memory.find_region(GuestAddress(start))?;
    let within = start - region.start_addr().0;
    let file = region.file_offset()?;
    (length <= region.len() - within).then_some((file.file(), file.start().checked_add(within)?, length))
}

/// One region, by its index.
struct Region {
    memory: Arc<GuestMemory>,
    index: usize,
}

impl Region {
    fn get(&self) -> &vm_memory::GuestRegionMmap<()> {
        self.memory.iter().nth(self.index).expect("regions are neither added nor removed")
    }
}

// SAFETY: the mapping is readable and writable and lives as long as `memory`, of which this value has a share; vm-memory
// accesses it by volatile reads and writes alone and gives out no references into it.
unsafe impl HostMemory for Region {
    fn start(&self) -> *mut u8 {
        self.get().as_ptr()
    }

    fn length(&self) -> usize {
        self.get().size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;
    use vm_memory::Bytes as _;

    const MIB: u64 = 1 << 20;

    /// Memory of a machine that has 4 MiB below the devices' hole and 4 MiB above 4 GiB, all of it written to.
    fn memory() -> (Arc<GuestMemory>, File) {
        let file = hull_platform::memory::shared("test", 8 * MIB).unwrap();
        let part = |address, offset| {
            (GuestAddress(address), 4 << 20, Some(FileOffset::new(file.try_clone().unwrap(), offset)))
        };
        let memory = GuestMemory::from_ranges_with_files(&[part(0, 0), part(HIGH_MEMORY, 4 * MIB)]).unwrap();
        for start in [0, HIGH_MEMORY] {
            memory.write_slice(&[7; 4 << 20], GuestAddress(start)).unwrap();
        }
        (Arc::new(memory), file)
    }

    #[test]
    fn released_pages_are_gone_from_the_file_and_read_as_zeros() {
        let (memory, file) = memory();
        let before = file.metadata().unwrap().blocks();
        Pages(Arc::clone(&memory)).release(MIB, MIB);
        Pages(Arc::clone(&memory)).release(HIGH_MEMORY + MIB - 1, 4096 + 2);
        assert_eq!((before - file.metadata().unwrap().blocks()) * 512, MIB + 4096);
        let byte = |address| memory.read_obj::<u8>(GuestAddress(address)).unwrap();
        assert_eq!([byte(MIB - 1), byte(MIB), byte(2 * MIB - 1), byte(2 * MIB)], [7, 0, 0, 7]);
        assert_eq!([byte(HIGH_MEMORY + MIB - 1), byte(HIGH_MEMORY + MIB), byte(HIGH_MEMORY + MIB + 4096)], [7, 0, 7]);
        memory.write_obj(9_u8, GuestAddress(MIB)).unwrap();
        assert_eq!(byte(MIB), 9);
    }

    #[test]
    fn what_is_not_whole_pages_of_one_region_is_nothing() {
        let (memory, _) = memory();
        let whole = [(0, 4 * MIB), (4 * MIB - 4096, 4096), (HIGH_MEMORY, 4 * MIB), (1, 2 * 4096 - 1)];
        for (address, length) in whole {
            assert!(hole(&memory, address, length).is_some(), "{address:#x}+{length:#x}");
        }
        for (address, length) in [
            (0, 0),
            (0, 4095),
            (1, 2 * 4096 - 2),
            (0, 4 * MIB + 4096),
            (4 * MIB, 4096),
            (4 * MIB - 4096, 8192),
            (0, HIGH_MEMORY + MIB),
            (HIGH_MEMORY - 4096, 8192),
            (HIGH_MEMORY, 4 * MIB + 4096),
            (0, u64::MAX),
            (4096, u64::MAX),
            (u64::MAX, u64::MAX),
            (u64::MAX - 4095, 4096),
            (u64::MAX, 1),
        ] {
            assert!(hole(&memory, address, length).is_none(), "{address:#x}+{length:#x}");
        }
        assert!(matches!(hole(&memory, HIGH_MEMORY + 4096, 8192), Some((_, offset, 8192)) if offset == 4 * MIB + 4096));
    }
}
