//! A tree of files without their contents: what a layer's archive said, or what an image's layers come to.
//!
//! Inodes lie in one array and directories name them by number, so that hard links are two names with one number and
//! nothing here recurses, however deep the tree. A layer's tree also holds what acts on the layers below: whiteouts,
//! opaque directories, directories that are only passed through, and hard links to files of lower layers. [`merge`]
//! resolves those.

mod merge;

pub use merge::{Image, MergeError};

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The longest name of a file (Linux's NAME_MAX).
pub const MAX_NAME: usize = 255;

/// The number of an inode in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InodeId(u32);

/// The root directory of every tree.
pub const ROOT: InodeId = InodeId(0);

impl InodeId {
    /// As a position in the array of inodes.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a directory's entry: 1 to 255 bytes without a slash or a zero byte, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(#[serde(with = "serde_bytes")] Box<[u8]>);

impl Name {
    /// Checks and takes a name.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let valid = !bytes.is_empty()
            && bytes.len() <= MAX_NAME
            && bytes != b"."
            && bytes != b".."
            && !bytes.iter().any(|byte| matches!(byte, b'/' | 0));
        valid.then(|| Self(bytes.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// An extended attribute: its whole name, such as `security.capability`, and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Xattr {
    /// The name, with its prefix.
    #[serde(with = "serde_bytes")]
    pub name: Box<[u8]>,
    /// The value.
    #[serde(with = "serde_bytes")]
    pub value: Box<[u8]>,
}

/// What every inode has, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// Permission bits, set-user-id, set-group-id and sticky bit: the low twelve bits of a mode.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content last changed: seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
    /// Extended attributes, sorted by name; most files have none.
    pub xattrs: Option<Arc<[Xattr]>>,
}

/// Where the content of a regular file lies in the data file of its layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// Nowhere: there is none.
    Empty,
    /// Right behind an EROFS inode of the file's own, both within one block. The inode is complete but for its link
    /// count, which is 1.
    Small {
        /// Where the inode starts in the layer's data, a multiple of 32.
        offset: u64,
        /// How many bytes inode and extended attributes take: the content follows them.
        head: u16,
        /// The length of the content.
        size: u16,
    },
    /// In a row of whole blocks, the last one filled with zeros.
    Plain {
        /// The first block, counted from the start of the layer's data.
        block: u32,
        /// The length of the content.
        size: u64,
    },
    /// In chunks of equal size, with holes.
    Sparse {
        /// The length of the content, holes included.
        size: u64,
        /// A chunk has `1 << bits` blocks.
        bits: u8,
        /// The first block of each chunk, counted from the start of the layer's data; `None` is a hole.
        chunks: Box<[Option<u32>]>,
    },
}

impl Data {
    /// The length of the content.
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Small { size, .. } => u64::from(*size),
            Self::Plain { size, .. } | Self::Sparse { size, .. } => *size,
        }
    }
}

/// A directory's content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Directory {
    /// What is in it.
    pub children: BTreeMap<Name, InodeId>,
    /// Nothing of the lower layers' directory shows through. Only in a layer's tree.
    pub opaque: bool,
    /// No entry of the archive described it: it is only passed through. Only in a layer's tree.
    pub implied: bool,
}

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Data),
    /// A symbolic link and its target.
    Symlink(#[serde(with = "serde_bytes")] Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A FIFO.
    Fifo,
    /// Removes what lower layers have here. Only in a layer's tree.
    Whiteout,
    /// Another name for the file that lower layers have at this path. Only in a layer's tree.
    Link(Box<[Name]>),
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its driver; 12 bits.
    pub major: u16,
    /// Which of the driver's devices; 20 bits.
    pub minor: u32,
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    /// What every inode has.
    pub attributes: Attributes,
    /// What it is.
    pub body: Body,
}

impl Inode {
    /// A directory that nothing has described: root's, open to all for reading.
    pub(crate) fn implied_directory() -> Self {
        let attributes = Attributes { permissions: 0o755, ..Attributes::default() };
        Self { attributes, body: Body::Directory(Directory { implied: true, ..Directory::default() }) }
    }

    fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

/// A tree: inodes, of which the first is the root directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Default for Tree {
    /// A root directory that nothing has described.
    fn default() -> Self {
        Self { inodes: vec![Inode::implied_directory()] }
    }
}

impl Tree {
    /// All inodes, those that no name leads to any more included.
    pub fn inodes(&self) -> &[Inode] {
        &self.inodes
    }

    /// All inodes, to change.
    pub fn inodes_mut(&mut self) -> &mut [Inode] {
        &mut self.inodes
    }

    /// An inode of this tree.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// An inode of this tree, to change.
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    /// What a directory has under a name; nothing if `directory` is none.
    pub fn child(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        self.inode(directory).directory()?.children.get(name).copied()
    }

    /// Adds an inode that has no name yet; `None` if there are too many to count.
    pub fn add(&mut self, inode: Inode) -> Option<InodeId> {
        let id = InodeId(u32::try_from(self.inodes.len()).ok()?);
        self.inodes.push(inode);
        Some(id)
    }

    /// Gives an inode a name in a directory, in place of what had it; `None` if `directory` is none.
    pub fn name(&mut self, directory: InodeId, name: Name, inode: InodeId) -> Option<()> {
        self.directory_mut(directory)?.children.insert(name, inode);
        Some(())
    }

    /// A directory's content, to change.
    pub fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.inode_mut(id).body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Whether every number in it is that of an inode, every directory has one name, and none contains itself: what a
    /// tree that was read from a file has to fulfil before anything walks it.
    pub fn is_sound(&self) -> bool {
        let mut named = vec![false; self.inodes.len()];
        if self.inodes.first().and_then(Inode::directory).is_none() {
            return false;
        }
        named[0] = true;
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            let Some(directory) = self.inode(id).directory() else { continue };
            for (name, child) in &directory.children {
                let Some(inode) = self.inodes.get(child.index()) else { return false };
                let is_directory = inode.directory().is_some();
                if Name::new(name.as_bytes()).is_none() || is_directory && named[child.index()] {
                    return false;
                }
                named[child.index()] = true;
                if is_directory {
                    open.push(*child);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
