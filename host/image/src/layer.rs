//! Layers: a tar stream becomes a data file and an index, in one pass, without a file of it being made on the host.
//!
//! - `archive` reads tar: ustar, GNU's and POSIX's extensions, sparse files; nothing that it says is trusted.
//! - `build` makes the tree of it, and refuses what contradicts itself.
//! - `data` lays contents out: whole blocks for large files, inode and content together for small ones.
//! - `index` is the tree as a file.
//! - `ingest` runs it all while the layer comes in: decompression, digests and layout each on a thread of their own.

mod archive;
mod build;
mod data;
mod decompress;
mod extension;
pub mod index;
mod ingest;
mod limits;
mod number;
mod path;
mod pipe;
mod sparse;

pub(crate) use decompress::Compression;
pub(crate) use ingest::{IngestError, Ingested, Sink, ingest};
pub use limits::Limits;

use std::io;

/// Why a layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is not tar, or breaks off.
    #[error("malformed archive at byte {offset}: {reason}")]
    Malformed {
        /// Where in the uncompressed archive.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An entry that no file system may be made of.
    #[error("entry {path:?}: {reason}")]
    Entry {
        /// The entry's path, as the archive has it.
        path: String,
        /// What is wrong with it.
        reason: EntryFault,
    },
    /// More than a limit allows.
    #[error("the layer has more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// It grows beyond measure.
    #[error(
        "{compressed} compressed bytes became more than {uncompressed}: this looks like a decompression bomb (limit: {ratio} times the compressed size)"
    )]
    Bomb {
        /// The bytes that came in.
        compressed: u64,
        /// What they became.
        uncompressed: u64,
        /// The limit.
        ratio: u64,
    },
    /// The compressed stream is damaged.
    #[error("cannot decompress the layer")]
    Decompress(#[source] io::Error),
    /// The disk.
    #[error("cannot write the layer's data")]
    Write(#[source] io::Error),
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// It leads out of the tree.
    #[error("its path contains `..`")]
    ParentDirectory,
    /// It starts at a root that is not the image's.
    #[error("its path is absolute")]
    Absolute,
    /// No program could open it.
    #[error("its path is too long, or a part of it is longer than 255 bytes")]
    PathLength,
    /// A zero byte, or nothing.
    #[error("its path is no file name")]
    BadName,
    /// It would be written through a link, or into a file.
    #[error("it lies below something that is not a directory")]
    BelowNoDirectory,
    /// The archive says it twice, and differently.
    #[error("the archive has this name twice, and not as a directory both times")]
    Twice,
    /// A hard link out of the tree.
    #[error("it is a hard link to an absolute path or one with `..`")]
    LinkOut,
    /// A hard link to what has no names of its own.
    #[error("it is a hard link to a directory, to something that the layer removes, or through a link")]
    LinkTarget,
    /// The root is a directory.
    #[error("the root directory cannot be anything else, and cannot be removed")]
    Root,
    /// A whiteout that removes nothing sensible.
    #[error("it is a whiteout without a name, or below one")]
    Whiteout,
    /// The kind of entry is unknown.
    #[error("this kind of entry is not supported")]
    Kind,
    /// An owner or group that Linux does not have.
    #[error("its owner, group or time is out of range")]
    Attributes,
    /// A device that Linux does not have.
    #[error("its device number is out of range")]
    Device,
    /// Attributes without end.
    #[error("its extended attributes are larger than 64 KiB")]
    Xattrs,
    /// Its map contradicts itself.
    #[error("its map of sparse parts contradicts itself or is too long")]
    SparseMap,
    /// A symbolic link to nothing.
    #[error("it is a symbolic link whose target is empty or too long")]
    SymlinkTarget,
    /// Only files have contents.
    #[error("it has contents, but is not a file")]
    Contents,
    /// Larger than files can be.
    #[error("it is larger than a file can be")]
    TooLarge,
    /// Its extension header is malformed.
    #[error("its extension header is malformed")]
    Extension,
}

impl LayerError {
    fn entry(path: &[u8], reason: EntryFault) -> Self {
        Self::Entry { path: String::from_utf8_lossy(path).chars().take(300).collect(), reason }
    }
}

#[cfg(test)]
pub(crate) mod tests;
