//! From an archive's entries to a tree.
//!
//! There is no file system that an entry could be written into, so a link leads nowhere while the tree is made. What a
//! program that does unpack the archive could be tricked by is refused all the same: images go to other programs too.

use super::archive::{Archive, Entry, Kind};
use super::data::{DataWriter, SmallBlocks, SparseWriter};
use super::path::{self, MAX_PATH, Meaning};
use super::{EntryFault, LayerError, Limits};
use crate::tree::{Attributes, Body, Data, Directory, Inode, InodeId, Name, ROOT, Tree};
use std::fs::File;
use std::io::BufRead;

/// Reads an archive to its end: contents go to `data`, the rest becomes a tree. Returns it with the data's length.
pub fn build(source: impl BufRead, data: &File, limits: &Limits) -> Result<(Tree, u64), LayerError> {
    let mut archive = Archive::new(source);
    let mut builder = Builder { tree: Tree::default(), data: DataWriter::new(data), limits, names: 0, names_bytes: 0 };
    while let Some(entry) = archive.next()? {
        builder.entry(entry, &mut archive)?;
    }
    archive.drain()?;
    let Builder { mut tree, data, .. } = builder;
    let (length, blocks) = data.finish()?;
    settle(&mut tree, &blocks);
    Ok((tree, length))
}

fn settle(tree: &mut Tree, blocks: &SmallBlocks) {
    for inode in tree.inodes_mut() {
        if let Body::File(data) = &mut inode.body {
            blocks.settle(data);
        }
    }
}

struct Builder<'a> {
    tree: Tree,
    data: DataWriter<'a>,
    limits: &'a Limits,
    /// How many names have been given, and the bytes of all that is held in memory beside inodes.
    names: usize,
    names_bytes: usize,
}

impl Builder<'_> {
    fn entry(&mut self, entry: Entry, archive: &mut Archive<impl BufRead>) -> Result<(), LayerError> {
        let refuse = |fault| LayerError::entry(&entry.path, fault);
        let parts = path::parts(&entry.path).map_err(refuse)?;
        let meaning = path::meaning(&parts).map_err(refuse)?;
        let Some((last, above)) = parts.split_last() else {
            return self.root(&entry);
        };
        if meaning == Meaning::Ignored {
            return Ok(());
        }
        let parent = self.directory(above, &entry.path)?;
        match meaning {
            Meaning::Removes(name) => self.whiteout(parent, name),
            Meaning::Opaque => {
                self.existing_directory(parent).opaque = true;
                Ok(())
            }
            Meaning::Ordinary | Meaning::Ignored => self.ordinary(parent, last.clone(), entry, archive),
        }
    }

    fn root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != Kind::Directory {
            return Err(LayerError::entry(&entry.path, EntryFault::Root));
        }
        self.describe(ROOT, entry)
    }

    /// The directory with this path, which is made as far as it is not there.
    fn directory(&mut self, path: &[Name], of: &[u8]) -> Result<InodeId, LayerError> {
        let mut at = ROOT;
        for name in path {
            at = match self.tree.child(at, name.as_bytes()) {
                None => self.make_directory(at, name.clone(), false)?,
                Some(child) => match self.tree.inode(child).body {
                    Body::Directory(_) => child,
                    // Removed from the layers below, then made anew.
                    Body::Whiteout => self.make_directory(at, name.clone(), true)?,
                    _ => return Err(LayerError::entry(of, EntryFault::BelowNoDirectory)),
                },
            };
        }
        Ok(at)
    }

    fn make_directory(&mut self, parent: InodeId, name: Name, opaque: bool) -> Result<InodeId, LayerError> {
        let id = self.add(Inode::implied_directory())?;
        self.existing_directory(id).opaque = opaque;
        self.name(parent, name, id)?;
        Ok(id)
    }

    fn existing_directory(&mut self, id: InodeId) -> &mut Directory {
        self.tree.directory_mut(id).expect("the path was followed through directories")
    }

    /// A whiteout acts on the layers below; what this layer has under the name stays.
    fn whiteout(&mut self, parent: InodeId, name: Name) -> Result<(), LayerError> {
        match self.tree.child(parent, name.as_bytes()) {
            None => {
                let id = self.add(Inode { attributes: Default::default(), body: Body::Whiteout })?;
                self.name(parent, name, id)?;
            }
            Some(there) => {
                if let Some(directory) = self.tree.directory_mut(there) {
                    directory.opaque = true;
                }
            }
        }
        Ok(())
    }

    fn ordinary(
        &mut self,
        parent: InodeId,
        name: Name,
        entry: Entry,
        archive: &mut Archive<impl BufRead>,
    ) -> Result<(), LayerError> {
        let there = self.tree.child(parent, name.as_bytes());
        let body = there.map(|id| &self.tree.inode(id).body);
        let removed = match (body, &entry.kind) {
            (None, _) => false,
            (Some(Body::Whiteout), _) => true,
            (Some(Body::Directory(_)), Kind::Directory) => false,
            _ => return Err(LayerError::entry(&entry.path, EntryFault::Twice)),
        };
        if entry.kind == Kind::Directory {
            let id = match there {
                Some(id) if !removed => id,
                _ => self.make_directory(parent, name, removed)?,
            };
            return self.describe(id, &entry);
        }
        let id = match &entry.kind {
            Kind::Link(target) => self.link(target, &entry.path)?,
            _ => self.single(entry, archive)?,
        };
        self.name(parent, name, id)
    }

    /// A directory's entry describes it.
    fn describe(&mut self, id: InodeId, entry: &Entry) -> Result<(), LayerError> {
        self.count_bytes(xattr_bytes(&entry.attributes))?;
        self.tree.inode_mut(id).attributes = entry.attributes.clone();
        self.existing_directory(id).implied = false;
        Ok(())
    }

    /// A new inode that is no directory.
    fn single(&mut self, entry: Entry, archive: &mut Archive<impl BufRead>) -> Result<InodeId, LayerError> {
        self.count_bytes(xattr_bytes(&entry.attributes))?;
        let body = match &entry.kind {
            Kind::File => Body::File(self.content(&entry, archive)?),
            Kind::Symlink(target) if target.is_empty() || target.len() >= MAX_PATH => {
                return Err(LayerError::entry(&entry.path, EntryFault::SymlinkTarget));
            }
            Kind::Symlink(target) => {
                self.count_bytes(target.len())?;
                Body::Symlink(target.as_slice().into())
            }
            Kind::CharDevice(device) => Body::CharDevice(*device),
            Kind::BlockDevice(device) => Body::BlockDevice(*device),
            Kind::Fifo => Body::Fifo,
            Kind::Directory | Kind::Link(_) => return Err(LayerError::entry(&entry.path, EntryFault::Kind)),
        };
        self.add(Inode { attributes: entry.attributes, body })
    }

    fn content(&mut self, entry: &Entry, archive: &mut Archive<impl BufRead>) -> Result<Data, LayerError> {
        if let Some(map) = &entry.sparse {
            let refuse = |fault| LayerError::entry(&entry.path, fault);
            let limit = self.limits.layer_bytes.saturating_mul(2);
            self.count_bytes(SparseWriter::chunks_bytes(map.size).map_err(refuse)?)?;
            let mut writer = SparseWriter::new(&mut self.data, map.size, limit).map_err(refuse)?;
            for part in &map.parts {
                let mut offset = part.offset;
                archive.copy(part.length, |piece| {
                    writer.write_at(offset, piece)?;
                    offset += piece.len() as u64;
                    Ok(())
                })?;
            }
            return if map.size == 0 { Ok(Data::Empty) } else { writer.finish() };
        }
        if entry.stored == 0 {
            return Ok(Data::Empty);
        }
        if DataWriter::is_small(entry.stored, &entry.attributes) {
            let mut content = Vec::with_capacity(BLOCK_HINT);
            archive.copy(entry.stored, |piece| {
                content.extend_from_slice(piece);
                Ok(())
            })?;
            return self.data.small(&entry.attributes, &content);
        }
        let block = self.data.block().map_err(|fault| LayerError::entry(&entry.path, fault))?;
        archive.copy(entry.stored, |piece| self.data.write(piece))?;
        self.data.end_block()?;
        Ok(Data::Plain { block, size: entry.stored })
    }

    /// The inode that a hard link names: this layer's, or a note to look for it in the layers below.
    fn link(&mut self, target: &[u8], of: &[u8]) -> Result<InodeId, LayerError> {
        let refuse = |fault| LayerError::entry(of, fault);
        let parts = path::parts(target).map_err(|_| refuse(EntryFault::LinkOut))?;
        let mut at = ROOT;
        for (number, name) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            match self.tree.child(at, name.as_bytes()) {
                None => {
                    self.count_bytes(target.len())?;
                    return self.add(Inode { attributes: Default::default(), body: Body::Link(parts.into()) });
                }
                Some(child) => match self.tree.inode(child).body {
                    Body::Directory(_) if !last => at = child,
                    Body::Directory(_) | Body::Whiteout => return Err(refuse(EntryFault::LinkTarget)),
                    _ if last => return Ok(child),
                    _ => return Err(refuse(EntryFault::LinkTarget)),
                },
            }
        }
        Err(refuse(EntryFault::LinkTarget))
    }

    fn add(&mut self, inode: Inode) -> Result<InodeId, LayerError> {
        let limit = self.limits.layer_entries;
        let too_many = LayerError::Limit { what: "files and directories", limit: limit as u64 };
        if self.tree.inodes().len() > limit {
            return Err(too_many);
        }
        self.tree.add(inode).ok_or(too_many)
    }

    fn name(&mut self, directory: InodeId, name: Name, inode: InodeId) -> Result<(), LayerError> {
        self.names += 1;
        let limit = self.limits.layer_entries;
        if self.names > limit {
            return Err(LayerError::Limit { what: "files and directories", limit: limit as u64 });
        }
        self.count_bytes(name.as_bytes().len())?;
        self.tree.name(directory, name, inode).expect("the path was followed through directories");
        Ok(())
    }

    /// Counts what will be held in memory.
    fn count_bytes(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.names_bytes = self.names_bytes.saturating_add(bytes);
        let limit = self.limits.layer_names_bytes;
        if self.names_bytes <= limit {
            return Ok(());
        }
        Err(LayerError::Limit { what: "bytes of names, links and attributes", limit: limit as u64 })
    }
}

fn xattr_bytes(attributes: &Attributes) -> usize {
    let xattrs = attributes.xattrs.as_deref().unwrap_or_default();
    xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum()
}

/// Room for a small file's content.
const BLOCK_HINT: usize = 4096;
