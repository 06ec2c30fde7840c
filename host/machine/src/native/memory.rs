//! Guest memory: private to this process and backed by huge pages where the host has them. A guest that boots touches some fifty
//! megabytes, and each page of them costs an exit and a fault: 12900 of them with pages of 4 KiB, 1100 with huge ones. So it is not a
//! file; see docs/adr/0004 for what that means for snapshots.
#![expect(unsafe_code, reason = "the hypervisor is told where guest memory lies")]

use super::layout::{HIGH_MEMORY, LOW_MEMORY_END};
use crate::backend::MachineError;
use hull_hypervisor::{HostMemory, MemoryRegion};
use hull_platform::memory::{discard, private};
use hull_virtio::device::balloon::Release;
use hull_virtio::queue::GuestMemory;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryBackend as _, GuestMemoryRegion as _, GuestRegionMmap};

/// Maps `bytes` of memory: from 0, and from 4 GiB on what does not fit below the devices. It stays until the process ends, as
/// its one machine does.
pub fn allocate(bytes: u64) -> Result<Arc<GuestMemory>, MachineError> {
    let failed = |source| MachineError::Io { action: format!("get {} MiB of memory", bytes >> 20), source };
    let low = bytes.min(LOW_MEMORY_END);
    let mut regions = Vec::with_capacity(2);
    for (address, length) in [(0, low), (HIGH_MEMORY, bytes - low)] {
        if length > 0 {
            regions.push(region(address, length).map_err(failed)?);
        }
    }
    let memory = GuestMemory::from_regions(regions).map_err(|error| failed(io::Error::other(error)))?;
    Ok(Arc::new(memory))
}

fn region(address: u64, length: u64) -> io::Result<GuestRegionMmap<()>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let start = private(length)?;
    // SAFETY: `private` made the mapping, readable, writable and with this length, and it is never taken away.
    let mapping = unsafe { MmapRegionBuilder::new(length).with_raw_mmap_pointer(start.as_ptr()) }.build();
    let mapping = mapping.map_err(io::Error::other)?;
    GuestRegionMmap::new(mapping, GuestAddress(address)).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// The same memory as the hypervisor wants it.
pub fn regions(memory: &Arc<GuestMemory>) -> Vec<MemoryRegion> {
    let region = |(index, region): (usize, &GuestRegionMmap<()>)| MemoryRegion {
        guest_address: region.start_addr().0,
        memory: Arc::new(Region { memory: Arc::clone(memory), index }),
    };
    memory.iter().enumerate().map(region).collect()
}

/// The unit in which memory is given back: the host's page and the guest's.
const PAGE: u64 = 4096;

/// Gives pages of guest memory back: they are gone from this process and from the hypervisor's tables, and read as zeros until
/// the guest writes to them again.
pub struct Pages(pub Arc<GuestMemory>);

impl Release for Pages {
    fn release(&self, guest_address: u64, length: u64) {
        let Some((start, length)) = whole_pages(&self.0, guest_address, length) else { return };
        // SAFETY: `whole_pages` found them in a region of `allocate`'s, and the guest has said that it does not need what they
        // hold; should it lie, it loses its own memory.
        if let Err(error) = unsafe { discard(start, length) } {
            // Nothing is lost but memory, and a guest can have this said without end: debug level.
            log::debug!("cannot give {length} bytes of guest memory back: {error}");
        }
    }
}

/// Where the whole pages within a range are; `None` unless there are some and all are of one region.
fn whole_pages(memory: &GuestMemory, guest_address: u64, length: u64) -> Option<(NonNull<u8>, usize)> {
    let start = guest_address.checked_next_multiple_of(PAGE)?;
    let end = guest_address.checked_add(length)? / PAGE * PAGE;
    let length = end.checked_sub(start).filter(|length| *length > 0)?;
    let region = memory.find_region(GuestAddress(start))?;
    let within = start - region.start_addr().0;
    if length > region.len() - within {
        return None;
    }
    let host = memory.get_host_address(GuestAddress(start)).ok()?;
    Some((NonNull::new(host)?, usize::try_from(length).ok()?))
}

/// One region, by its index.
struct Region {
    memory: Arc<GuestMemory>,
    index: usize,
}

impl Region {
    fn get(&self) -> &GuestRegionMmap<()> {
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
    use vm_memory::Bytes as _;

    const MIB: u64 = 1 << 20;

    /// Memory of a machine that has 4 MiB below the devices' hole and 4 MiB above 4 GiB, all of it written to.
    fn memory() -> Arc<GuestMemory> {
        let regions = [0, HIGH_MEMORY].map(|address| region(address, 4 * MIB).unwrap());
        let memory = GuestMemory::from_regions(regions.into()).unwrap();
        for start in [0, HIGH_MEMORY] {
            memory.write_slice(&[7; 4 << 20], GuestAddress(start)).unwrap();
        }
        Arc::new(memory)
    }

    #[test]
    fn released_pages_read_as_zeros_and_their_neighbours_stay() {
        let memory = memory();
        Pages(Arc::clone(&memory)).release(MIB, MIB);
        Pages(Arc::clone(&memory)).release(HIGH_MEMORY + MIB - 1, 4096 + 2);
        let byte = |address| memory.read_obj::<u8>(GuestAddress(address)).unwrap();
        assert_eq!([byte(MIB - 1), byte(MIB), byte(2 * MIB - 1), byte(2 * MIB)], [7, 0, 0, 7]);
        assert_eq!([byte(HIGH_MEMORY + MIB - 1), byte(HIGH_MEMORY + MIB), byte(HIGH_MEMORY + MIB + 4096)], [7, 0, 7]);
        memory.write_obj(9_u8, GuestAddress(MIB)).unwrap();
        assert_eq!(byte(MIB), 9);
    }

    #[test]
    fn memory_is_split_where_the_devices_are() {
        let memory = allocate(LOW_MEMORY_END + MIB).unwrap();
        let places: Vec<_> = memory.iter().map(|region| (region.start_addr().0, region.len())).collect();
        assert_eq!(places, [(0, LOW_MEMORY_END), (HIGH_MEMORY, MIB)]);
    }

    #[test]
    fn what_is_not_whole_pages_of_one_region_is_nothing() {
        let memory = memory();
        let whole = [(0, 4 * MIB), (4 * MIB - 4096, 4096), (HIGH_MEMORY, 4 * MIB), (1, 2 * 4096 - 1)];
        for (address, length) in whole {
            assert!(whole_pages(&memory, address, length).is_some(), "{address:#x}+{length:#x}");
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
            assert!(whole_pages(&memory, address, length).is_none(), "{address:#x}+{length:#x}");
        }
        let (start, length) = whole_pages(&memory, HIGH_MEMORY + 4096, 8192).unwrap();
        assert_eq!(start.as_ptr(), memory.get_host_address(GuestAddress(HIGH_MEMORY + 4096)).unwrap());
        assert_eq!(length, 8192);
    }
}
