//! The superblock: what the file system is, at 1024 bytes into it.

use super::BLOCK;

const OFFSET: usize = 1024;
const MAGIC: u32 = 0xE0F5_E1E2;
const BLOCK_BITS: u8 = 12;
/// The superblock has a checksum.
const COMPAT_CHECKSUM: u32 = 1;
/// Times are those of content, not of status.
const COMPAT_MTIME: u32 = 2;
/// Some files are chunked.
const INCOMPAT_CHUNKED: u32 = 4;
const UUID_OFFSET: usize = 48;

/// What the superblock says.
#[derive(Debug, Clone, Copy)]
pub struct Superblock {
    /// Where the root directory's inode lies, in units of 32 bytes.
    pub root: u16,
    /// How many inodes there are.
    pub inodes: u64,
    /// All blocks, the data pieces included.
    pub blocks: u32,
    /// The block that the shared extended attributes start in.
    pub xattr_block: u32,
    /// Whether some file is chunked.
    pub chunked: bool,
    /// What tells this file system from others.
    pub identity: [u8; 16],
}

impl Superblock {
    /// The first block, which holds nothing else.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, field: &[u8]| block[OFFSET + at..OFFSET + at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(8, &(COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        // Inodes are addressed from block 0 (byte 40).
        put(44, &self.xattr_block.to_le_bytes());
        put(UUID_OFFSET, &self.identity);
        put(80, &(if self.chunked { INCOMPAT_CHUNKED } else { 0 }).to_le_bytes());
        // The kernel's CRC is not inverted at its end.
        let checksum = !crc32c::crc32c(&block[OFFSET..]);
        block[OFFSET + 4..OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}
