//! Layers, one upon the other: whiteouts, opaque directories, and hard links to files of lower layers.
//!
//! Governed by the OCI image specification, "Filesystem Layer", with containerd's reading of what it leaves open: an
//! entry whose directory the archive does not describe goes where the lower layers' symbolic links lead, within the
//! image's root. Whiteouts act on lower layers only, wherever they stand in the archive.

use super::{Body, Directory, Inode, InodeId, Name, ROOT, Tree};
use std::collections::VecDeque;

/// How many symbolic links one look-up follows (Linux's limit).
const MAX_LINKS: u32 = 40;

/// Why layers do not make an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A hard link leads nowhere.
    #[error("layer {layer} has a hard link to {target:?}, which neither it nor a layer below has as a file")]
    LinkTarget {
        /// The layer's number, from 1.
        layer: usize,
        /// The path that the link names.
        target: String,
    },
    /// More files than the limit.
    #[error("the image's layers have more than {limit} files")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// An image's tree: what its layers come to. It holds no whiteouts, no links to lower layers, no opaque and no implied
/// directories.
#[derive(Debug, Clone)]
pub struct Image {
    tree: Tree,
    origins: Vec<Origin>,
    applied: usize,
    max_inodes: usize,
    /// Names beyond the first of their inodes.
    more_names: usize,
}

/// What an image knows of an inode beside the inode itself.
#[derive(Debug, Clone, Copy)]
struct Origin {
    /// The number of the data file that its content is in.
    data_file: u32,
    /// The directory that it is in, if it is a directory.
    parent: InodeId,
}

impl Image {
    /// An empty image, which will refuse to take more inodes than this.
    pub fn new(max_inodes: usize) -> Self {
        let root = Origin { data_file: 0, parent: ROOT };
        Self { tree: Tree::default(), origins: vec![root], applied: 0, max_inodes, more_names: 0 }
    }

    /// The tree. Inodes that nothing names any more may be in its array.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The number of the data file that has this inode's content.
    pub fn data_file(&self, inode: InodeId) -> u32 {
        self.data_file_at(inode.index())
    }

    /// As [`Image::data_file`], by the inode's position in the tree's array.
    pub(crate) fn data_file_at(&self, index: usize) -> u32 {
        self.origins[index].data_file
    }

    /// The directory that a directory is in; the root is in itself.
    pub fn parent(&self, directory: InodeId) -> InodeId {
        self.origins[directory.index()].parent
    }

    /// Lays the next layer, a sound tree, upon those that are there. Its contents are in the data file with this number.
    ///
    /// # Errors
    /// See [`MergeError`]; the image is then good for nothing.
    pub fn apply(&mut self, layer: Tree, data_file: u32) -> Result<(), MergeError> {
        self.applied += 1;
        let targets = self.link_targets(&layer)?;
        let numbers = vec![None; layer.inodes.len()];
        let mut upper = Upper { layer, numbers, targets, data_file };
        self.take_attributes(ROOT, upper.layer.inode(ROOT));
        let mut open = VecDeque::from([(ROOT, ROOT)]);
        while let Some((from, onto)) = open.pop_front() {
            let Some(Directory { children, opaque, .. }) = upper.layer.directory_mut(from).map(std::mem::take) else {
                continue;
            };
            if opaque && let Some(directory) = self.tree.directory_mut(onto) {
                directory.children.clear();
            }
            for (name, child) in children {
                if let Some(directory) = self.lay(&mut upper, onto, name, child)? {
                    open.push_back((child, directory));
                }
            }
        }
        Ok(())
    }

    /// Where the layer's links to lower layers lead, before the layer changes anything.
    fn link_targets(&self, layer: &Tree) -> Result<Vec<Option<InodeId>>, MergeError> {
        let target_of = |inode: &Inode| {
            let Body::Link(path) = &inode.body else { return Ok(None) };
            match self.find(path) {
                Some(id) if self.tree.inode(id).directory().is_none() => Ok(Some(id)),
                _ => Err(MergeError::LinkTarget { layer: self.applied, target: display(path) }),
            }
        };
        layer.inodes.iter().map(target_of).collect()
    }

    /// Puts one entry of the layer in its place; the answer is the directory whose content comes next, if it is one.
    fn lay(
        &mut self,
        upper: &mut Upper,
        onto: InodeId,
        name: Name,
        child: InodeId,
    ) -> Result<Option<InodeId>, MergeError> {
        match &upper.layer.inode(child).body {
            Body::Whiteout => {
                if let Some(directory) = self.tree.directory_mut(onto) {
                    directory.children.remove(&name);
                }
                Ok(None)
            }
            Body::Directory(Directory { implied, .. }) => {
                let id = match self.directory_for(onto, &name, *implied) {
                    Some(id) => id,
                    None => self.make_directory(onto, name)?,
                };
                self.take_attributes(id, upper.layer.inode(child));
                Ok(Some(id))
            }
            _ => {
                let id = self.number(upper, child)?;
                self.name(onto, name, id);
                Ok(None)
            }
        }
    }

    /// The image's number for an inode of the layer that is no directory.
    fn number(&mut self, upper: &mut Upper, child: InodeId) -> Result<InodeId, MergeError> {
        if let Some(known) = upper.numbers[child.index()].or(upper.targets[child.index()]) {
            self.more_names += 1;
            self.check_count()?;
            return Ok(known);
        }
        let inode = upper.layer.inode(child).clone();
        let id = self.add(inode, Origin { data_file: upper.data_file, parent: ROOT })?;
        upper.numbers[child.index()] = Some(id);
        Ok(id)
    }

    fn make_directory(&mut self, parent: InodeId, name: Name) -> Result<InodeId, MergeError> {
        let id = self.add(Inode::implied_directory(), Origin { data_file: 0, parent })?;
        self.name(parent, name, id);
        Ok(id)
    }

    fn add(&mut self, inode: Inode, origin: Origin) -> Result<InodeId, MergeError> {
        self.check_count()?;
        self.origins.push(origin);
        self.tree.add(inode).ok_or(MergeError::TooMany { limit: self.max_inodes })
    }

    fn check_count(&self) -> Result<(), MergeError> {
        if self.tree.inodes.len() + self.more_names < self.max_inodes {
            return Ok(());
        }
        Err(MergeError::TooMany { limit: self.max_inodes })
    }

    fn name(&mut self, directory: InodeId, name: Name, inode: InodeId) {
        self.tree.name(directory, name, inode).expect("entries are laid into directories alone");
    }

    /// The directory that a layer's directory goes upon, if the image has one there.
    fn directory_for(&self, parent: InodeId, name: &Name, implied: bool) -> Option<InodeId> {
        let there = self.tree.child(parent, name.as_bytes())?;
        match &self.tree.inode(there).body {
            Body::Directory(_) => Some(there),
            // What the archive only passes through keeps what it is, such as `/bin` for `/usr/bin`.
            Body::Symlink(target) if implied => {
                let mut walk = Walk::from(self, parent);
                walk.push_target(target);
                walk.run(true).filter(|id| self.tree.inode(*id).directory().is_some())
            }
            _ => None,
        }
    }

    /// The inode at a path: symbolic links on the way are followed, one at its end is not.
    pub fn find(&self, path: &[Name]) -> Option<InodeId> {
        let mut walk = Walk::from(self, ROOT);
        walk.pending.extend(path.iter().map(Name::as_bytes));
        walk.run(false)
    }

    fn take_attributes(&mut self, id: InodeId, from: &Inode) {
        if from.directory().is_some_and(|directory| !directory.implied) {
            self.tree.inode_mut(id).attributes = from.attributes.clone();
        }
    }

    /// All directories that can be reached, parents first.
    pub fn directories(&self) -> impl Iterator<Item = (InodeId, &Directory)> {
        let mut open = VecDeque::from([ROOT]);
        std::iter::from_fn(move || {
            let id = open.pop_front()?;
            let directory = self.tree.inode(id).directory()?;
            open.extend(directory.children.values().filter(|child| self.tree.inode(**child).directory().is_some()));
            Some((id, directory))
        })
    }
}

/// A layer that is being laid upon an image.
struct Upper {
    layer: Tree,
    /// The image's numbers for the layer's inodes, as far as they have one.
    numbers: Vec<Option<InodeId>>,
    /// Where its links to lower layers lead.
    targets: Vec<Option<InodeId>>,
    data_file: u32,
}

/// One look-up in an image, as a kernel whose root directory is the image's would do it.
struct Walk<'a> {
    image: &'a Image,
    at: InodeId,
    pending: VecDeque<&'a [u8]>,
    links: u32,
}

impl<'a> Walk<'a> {
    fn from(image: &'a Image, directory: InodeId) -> Self {
        Self { image, at: directory, pending: VecDeque::new(), links: 0 }
    }

    /// Goes on with a symbolic link's target, before what is still to come.
    fn push_target(&mut self, target: &'a [u8]) {
        if target.first() == Some(&b'/') {
            self.at = ROOT;
        }
        for part in target.rsplit(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")) {
            self.pending.push_front(part);
        }
    }

    /// Where it ends; `self.at` is a directory as long as anything is pending.
    fn run(mut self, follow_last: bool) -> Option<InodeId> {
        while let Some(part) = self.pending.pop_front() {
            if part == b".." {
                self.at = self.image.parent(self.at);
                continue;
            }
            let found = self.image.tree.child(self.at, part)?;
            match &self.image.tree.inode(found).body {
                Body::Symlink(target) if follow_last || !self.pending.is_empty() => {
                    self.links += 1;
                    if self.links > MAX_LINKS {
                        return None;
                    }
                    self.push_target(target);
                }
                Body::Directory(_) => self.at = found,
                _ if self.pending.is_empty() => self.at = found,
                _ => return None,
            }
        }
        Some(self.at)
    }
}

/// A path as a message shows it.
pub(crate) fn display(path: &[Name]) -> String {
    let parts: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name.as_bytes())).collect();
    parts.join("/").chars().take(300).collect()
}
