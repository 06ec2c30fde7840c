//! A layer's tree as a file.
//!
//! ```text
//! 16 bytes   magic, with the format's version
//! 32 bytes   SHA-256 of all that follows
//!  8 bytes   the length of the data file
//!  8 bytes   the length of the archive that it was made from
//!  rest      the tree, in postcard's format
//! ```
//!
//! The file is hull's own, but a tree is walked without looking back, so what the disk may have damaged is found here.

use crate::tree::Tree;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"hull layer idx 1";
const SUMMARY: usize = 16 + 32 + 16;

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The length of the data file, a multiple of the block size.
    pub data_bytes: u64,
    /// The length of the archive.
    pub archive_bytes: u64,
    /// The tree.
    pub tree: Tree,
}

/// Why an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The disk.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is damaged, or of another version.
    #[error("{} is damaged, or of another version of hull: remove the image and pull it again", .0.display())]
    Damaged(PathBuf),
}

impl Index {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(16 + 32, 0);
        bytes.extend(self.data_bytes.to_le_bytes());
        bytes.extend(self.archive_bytes.to_le_bytes());
        let mut bytes = postcard::to_extend(&self.tree, bytes).expect("every tree can be written to memory");
        let checksum: [u8; 32] = Sha256::digest(&bytes[48..]).into();
        bytes[16..48].copy_from_slice(&checksum);
        bytes
    }

    /// Reads a file, and checks it.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn read(path: &Path) -> Result<Self, IndexError> {
        let bytes = std::fs::read(path).map_err(|source| IndexError::Read { path: path.to_owned(), source })?;
        Self::decode(&bytes).ok_or_else(|| IndexError::Damaged(path.to_owned()))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (summary, rest) = bytes.split_at_checked(SUMMARY)?;
        let (data_bytes, archive_bytes) = lengths(summary)?;
        if summary[16..48] != Sha256::digest(&bytes[48..])[..] {
            return None;
        }
        let (tree, rest) = postcard::take_from_bytes::<Tree>(rest).ok()?;
        (rest.is_empty() && tree.is_sound()).then_some(Self { data_bytes, archive_bytes, tree })
    }

    /// Reads the lengths of the data file and of the archive alone, without checking the rest.
    ///
    /// # Errors
    /// See [`IndexError`].
    pub fn lengths(path: &Path) -> Result<(u64, u64), IndexError> {
        let mut summary = [0; SUMMARY];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut summary));
        read.map_err(|source| IndexError::Read { path: path.to_owned(), source })?;
        lengths(&summary).ok_or_else(|| IndexError::Damaged(path.to_owned()))
    }
}

fn lengths(summary: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from_le_bytes(summary.get(at..at + 8)?.try_into().ok()?));
    (summary.get(..16)? == MAGIC).then_some((number(48)?, number(56)?))
}
