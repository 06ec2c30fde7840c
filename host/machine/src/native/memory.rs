//! Guest memory: one file mapping, so that it can be shared, punched and, later, mapped copy-on-write.
#![expect(unsafe_code, reason = "the hypervisor is told where guest memory lies")]

use super::layout::{HIGH_MEMORY, LOW_MEMORY_END};
use crate::backend::MachineError;
use hull_hypervisor::{HostMemory, MemoryRegion};
use hull_virtio::queue::GuestMemory;
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
