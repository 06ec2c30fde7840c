//! The guest's memory as a vhost-user peer shares it: mapped here, and addressed by the peer's own addresses.

use crate::queue::GuestMemory;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use std::fs::File;
use std::io;
use std::sync::Arc;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{FileOffset, GuestAddress, GuestRegionCollectionError, GuestRegionMmap, MmapRegion};

/// Why memory cannot be mapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryError {
    /// Its owner could shrink it, after which touching it would kill us (`SIGBUS`).
    #[error("guest memory is no memfd that is sealed against shrinking")]
    Unsealed(#[source] io::Error),
    /// The region is not within the address space, or not within its file: touching what is beyond its end would kill
    /// us as well, and the mapping does not check it.
    #[error("region of {size} bytes at {address:#x} is beyond its file or the address space")]
    Region { address: u64, size: u64 },
    /// The file cannot be mapped.
    #[error("cannot map a region of {size} bytes at {address:#x}")]
    Map {
        address: u64,
        size: u64,
        #[source]
        source: MmapRegionError,
    },
    /// Regions overlap.
    #[error("memory regions do not go together")]
    Regions(#[from] GuestRegionCollectionError),
}

/// A region, in the peer's addresses and in the guest's.
#[derive(Debug, Clone, Copy)]
struct Region {
    user: u64,
    guest: u64,
    size: u64,
}

/// Guest memory and how the peer addresses it.
#[derive(Debug)]
pub(super) struct MemoryTable {
    memory: Arc<GuestMemory>,
    regions: Vec<Region>,
}

impl MemoryTable {
    /// Maps the regions, each from its file.
    pub(super) fn map(table: &[VhostUserMemoryRegion], files: Vec<File>) -> Result<Self, MemoryError> {
        let mut mapped = Vec::with_capacity(table.len());
        let mut regions = Vec::with_capacity(table.len());
        for (region, file) in table.iter().zip(files) {
            let (address, size) = (region.guest_phys_addr, region.memory_size);
            let beyond = || MemoryError::Region { address, size };
            check_seals(&file)?;
            let end = region.mmap_offset.checked_add(size).ok_or_else(beyond)?;
            if file.metadata().map_err(MemoryError::Unsealed)?.len() < end {
                return Err(beyond());
            }
            let length = usize::try_from(size).map_err(|_| beyond())?;
            let mapping = MmapRegion::from_file(FileOffset::new(file, region.mmap_offset), length)
                .map_err(|source| MemoryError::Map { address, size, source })?;
            mapped.push(GuestRegionMmap::new(mapping, GuestAddress(address)).ok_or_else(beyond)?);
            regions.push(Region { user: region.user_addr, guest: address, size });
        }
        mapped.sort_by_key(|region| vm_memory::GuestMemoryRegion::start_addr(region).0);
        Ok(Self { memory: Arc::new(GuestMemory::from_regions(mapped)?), regions })
    }

    /// The memory.
    pub(super) fn memory(&self) -> Arc<GuestMemory> {
        Arc::clone(&self.memory)
    }

    /// The guest's address for one of the peer's.
    pub(super) fn translate(&self, user: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = user.checked_sub(region.user).filter(|&offset| offset < region.size)?;
            region.guest.checked_add(offset)
        })
    }
}

fn check_seals(file: &File) -> Result<(), MemoryError> {
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).map_err(|error| MemoryError::Unsealed(error.into()))?;
    if SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_SHRINK) {
        Ok(())
    } else {
        Err(MemoryError::Unsealed(io::ErrorKind::PermissionDenied.into()))
    }
}
