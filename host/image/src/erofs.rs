//! The writer of EROFS images: an image's tree becomes metadata whose block addresses lead into the layers' data files,
//! which a block device shows behind it.
//!
//! Governed by the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h. Nothing is used that Linux 6.1
//! does not know: blocks of 4 KiB, extended inodes, plain, inline and chunked contents, inline and shared extended
//! attributes.
//!
//! ```text
//! block 0      superblock
//! block 1 …    inodes, each followed by its extended attributes and what is inline: the end of a directory, a
//!              symbolic link's target, a sparse file's list of chunks; the root directory comes first
//!              shared extended attributes
//!              blocks of directories, and of symbolic links that are too long to be inline
//!              ---- the end of what is written here ----
//!              data file 0: contents, and whole inodes of small files, which directories refer to where they are
//!              data file 1 …
//! ```
//!
//! A small file's inode in a layer's data holds no address: its content follows it. So it is the same in every image, and
//! a small file takes neither a block of its own nor a copy in each image's metadata.

mod directory;
mod inode;
mod layout;
mod superblock;
mod write;
mod xattr;

pub use write::write;
pub use xattr::is_storable;

pub(crate) use inode::{INODE_SIZE, Layout, Record, mode};
pub(crate) use xattr::{MAX_BYTES as MAX_XATTR_BYTES, Shared, inline as inline_xattrs};

use std::io;

/// The size of a block.
pub const BLOCK: usize = 4096;

/// Inodes are addressed in units of this.
pub const SLOT: usize = 32;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ErofsError {
    /// Blocks have 32-bit numbers.
    #[error("the image is larger than an EROFS file system can be (16 TiB)")]
    TooLarge,
    /// The tree does not fit its data files.
    #[error("a file's content lies outside the data of its layer")]
    Content,
    /// The disk, or the reading of a small file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The data files behind the metadata.
pub trait DataFiles {
    /// The length of each, in blocks, in the order in which they are shown.
    fn blocks(&self) -> Vec<u32>;

    /// Reads from one of them.
    ///
    /// # Errors
    /// Those of the disk.
    fn read(&self, data_file: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

#[cfg(test)]
pub(crate) mod tests;
