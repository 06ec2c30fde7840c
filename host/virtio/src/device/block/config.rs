//! What the device offers and its configuration space (virtio 1.2 §5.2.3, §5.2.4).

use super::window::{Access, CAPACITY};
use crate::device;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};

/// Unit of every sector number in virtio-blk, and our logical block size.
///
/// 512 although the files are best written in 4096s: a file system's block may not be smaller than the logical block,
/// and images that others made (a 1 KiB ext4, a FAT volume) must mount. The topology names 4096 as the physical block,
/// which is what partitioners and file systems align to.
pub(super) const SECTOR: u64 = 512;

/// log2 of physical blocks in logical ones: 4096 / 512.
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;

/// The request that the guest should prefer, 256 KiB. Linux reads ahead twice as much, and a program that is paged in comes
/// by few requests: each costs a round trip, while the host mostly has the bytes in its page cache.
const OPTIMAL_SECTORS: u32 = 512;

/// Most sectors in one range to discard or to zero: 1 GiB, so that one request does not keep the queue busy for long.
pub(super) const MAX_ERASE_SECTORS: u32 = 1 << 21;

/// Most ranges in one request to discard or to zero.
pub(super) const MAX_ERASE_RANGES: u32 = 32;

/// Length of `struct virtio_blk_config` up to and with the write-zeroes fields.
const SPACE: usize = 60;

/// The features offered.
pub(super) fn features(access: Access) -> u64 {
    let always = [VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_MQ];
    let more: &[u32] = match access {
        Access::ReadOnly => &[VIRTIO_BLK_F_RO],
        Access::ReadWrite | Access::Scratch => &[VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES],
    };
    device::features(&[&always, more].concat())
}

/// The configuration space. Fields of features that are not offered are zero or have no reader.
pub(super) fn space(queue_size: u16, queues: u16) -> [u8; SPACE] {
    let mut space = [0; SPACE];
    let mut put = |offset: usize, bytes: &[u8]| space[offset..offset + bytes.len()].copy_from_slice(bytes);
    let blocks_of_4096 = 1_u16 << PHYSICAL_BLOCK_EXPONENT;
    put(0, &(CAPACITY / SECTOR).to_le_bytes());
    // A chain may have as many descriptors as the queue (§2.7.5.1); the header and the status take two.
    put(12, &u32::from(queue_size - 2).to_le_bytes());
    put(20, &512_u32.to_le_bytes());
    put(24, &[PHYSICAL_BLOCK_EXPONENT]);
    put(26, &blocks_of_4096.to_le_bytes());
    put(28, &OPTIMAL_SECTORS.to_le_bytes());
    put(34, &queues.to_le_bytes());
    put(36, &MAX_ERASE_SECTORS.to_le_bytes());
    put(40, &MAX_ERASE_RANGES.to_le_bytes());
    put(44, &u32::from(blocks_of_4096).to_le_bytes());
    put(48, &MAX_ERASE_SECTORS.to_le_bytes());
    put(52, &MAX_ERASE_RANGES.to_le_bytes());
    // Zeroing may deallocate.
    put(56, &[1]);
    space
}
