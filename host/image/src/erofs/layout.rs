//! Where everything in the metadata goes: decided before anything is written.

use super::inode::{INODE_SIZE, Layout};
use super::{BLOCK, DataFiles, ErofsError, SLOT, directory, xattr};
use crate::tree::{Body, Data, Image, InodeId, ROOT};

/// The inodes start here: the first block is the superblock's.
const FIRST_INODE: u64 = BLOCK as u64;

/// What is longer than this at a content's end gets a block of its own: it would leave most of the block before it empty.
const MAX_INLINE: u64 = 2048;

/// One inode's place in the metadata.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The inode.
    pub inode: InodeId,
    /// Where it starts.
    pub offset: u64,
    /// How its content is found.
    pub layout: Layout,
    /// The length of what directories and symbolic links have as content.
    pub size: u64,
    /// Their first block, if they have whole blocks.
    pub block: u32,
}

impl Place {
    /// How many bytes of the content are inline.
    pub fn inline_bytes(&self) -> u64 {
        if self.layout == Layout::Inline { self.size % BLOCK as u64 } else { 0 }
    }

    /// How many whole blocks the content has in the metadata; the last may be filled with zeros.
    pub fn blocks(&self) -> u64 {
        (self.size - self.inline_bytes()).div_ceil(BLOCK as u64)
    }
}

/// The layout of the metadata.
#[derive(Debug)]
pub struct Plan {
    /// The inodes that are written, in the order of their offsets.
    pub places: Vec<Place>,
    /// For each inode of the tree, where it lies in units of [`SLOT`] bytes; 0 for those that nothing names.
    pub nodes: Vec<u64>,
    /// For each inode how many names it has.
    pub links: Vec<u32>,
    /// The attributes that several inodes have.
    pub shared: xattr::Shared,
    /// The block that they start in.
    pub xattr_block: u32,
    /// The first block after the metadata.
    pub metadata_blocks: u32,
    /// All blocks.
    pub total_blocks: u32,
    /// The first block of each data file.
    pub bases: Vec<u32>,
    /// How many inodes can be reached.
    pub inodes: u64,
    /// Whether some file is chunked.
    pub chunked: bool,
}

impl Plan {
    /// Lays an image out.
    pub fn of(image: &Image, data: &dyn DataFiles) -> Result<Self, ErofsError> {
        let links = count_links(image);
        let order = order(image, &links);
        let sets = order.iter().filter_map(|id| image.tree().inode(*id).attributes.xattrs.as_deref());
        let shared = xattr::Shared::gather(sets);
        let mut plan = Self {
            places: Vec::with_capacity(order.len()),
            nodes: vec![0; image.tree().inodes().len()],
            inodes: links.iter().filter(|links| **links > 0).count() as u64,
            links,
            shared,
            xattr_block: 0,
            metadata_blocks: 0,
            total_blocks: 0,
            bases: Vec::new(),
            chunked: false,
        };
        let end = plan.place_inodes(image, &order);
        let end = plan.place_blocks(end)?;
        plan.place_data(end, &data.blocks())?;
        plan.place_small_files(image)?;
        Ok(plan)
    }

    /// Gives every inode its offset, and returns the end of the last.
    fn place_inodes(&mut self, image: &Image, order: &[InodeId]) -> u64 {
        let mut end = FIRST_INODE;
        for &id in order {
            let inode = image.tree().inode(id);
            let attributes = inode.attributes.xattrs.as_deref().unwrap_or_default();
            let head = (INODE_SIZE + xattr::inline(attributes, &self.shared).len()) as u64;
            let size = content_size(image, id);
            let (layout, tail) = match &inode.body {
                Body::File(Data::Small { .. }) => (Layout::Inline, size),
                Body::File(Data::Sparse { chunks, .. }) => (Layout::Chunked, 4 * chunks.len() as u64),
                Body::Directory(_) | Body::Symlink(_) => inline_or_plain(head, size),
                _ => (Layout::Plain, 0),
            };
            self.chunked |= layout == Layout::Chunked;
            let offset = fit(end, head, if layout == Layout::Inline { tail } else { 0 });
            self.nodes[id.index()] = offset / SLOT as u64;
            self.places.push(Place { inode: id, offset, layout, size, block: 0 });
            end = offset + head + tail;
        }
        end
    }

    /// Gives the shared attributes, and contents with whole blocks, their blocks, and returns the block after the last.
    fn place_blocks(&mut self, end_of_inodes: u64) -> Result<u32, ErofsError> {
        let mut next = end_of_inodes.div_ceil(BLOCK as u64);
        self.xattr_block = block_number(next)?;
        next += self.shared.bytes().len().div_ceil(BLOCK) as u64;
        for place in self.places.iter_mut().filter(|place| place.blocks() > 0) {
            place.block = block_number(next)?;
            next += place.blocks();
        }
        block_number(next)
    }

    fn place_data(&mut self, metadata_blocks: u32, data: &[u32]) -> Result<(), ErofsError> {
        self.metadata_blocks = metadata_blocks;
        let mut next = metadata_blocks;
        for blocks in data {
            self.bases.push(next);
            next = next.checked_add(*blocks).ok_or(ErofsError::TooLarge)?;
        }
        self.total_blocks = next;
        Ok(())
    }

    /// Where the small files lie whose inodes are in the data files.
    fn place_small_files(&mut self, image: &Image) -> Result<(), ErofsError> {
        for (index, inode) in image.tree().inodes().iter().enumerate() {
            if let (Body::File(Data::Small { offset, .. }), 1) = (&inode.body, self.links[index]) {
                let base = self.base(image, index)?;
                self.nodes[index] = u64::from(base) * (BLOCK / SLOT) as u64 + offset / SLOT as u64;
            }
        }
        Ok(())
    }

    fn base(&self, image: &Image, index: usize) -> Result<u32, ErofsError> {
        let data_file = image.data_file_at(index) as usize;
        self.bases.get(data_file).copied().ok_or(ErofsError::Content)
    }

    /// The address of a block of an inode's data file.
    pub fn address(&self, image: &Image, inode: InodeId, block: u32) -> Result<u32, ErofsError> {
        let address = self.base(image, inode.index())?.checked_add(block).ok_or(ErofsError::Content)?;
        if address < self.total_blocks { Ok(address) } else { Err(ErofsError::Content) }
    }
}

fn block_number(block: u64) -> Result<u32, ErofsError> {
    u32::try_from(block).map_err(|_| ErofsError::TooLarge)
}

/// The first place from `end` on for a head and an inline tail, which has to lie within one block.
fn fit(end: u64, head: u64, tail: u64) -> u64 {
    let block = BLOCK as u64;
    let offset = end.next_multiple_of(SLOT as u64);
    let tail_at = (offset + head) % block;
    if tail_at + tail <= block { offset } else { offset.next_multiple_of(block) }
}

/// A content's end goes behind the inode if it is short, and fits into a block with it.
fn inline_or_plain(head: u64, size: u64) -> (Layout, u64) {
    let tail = size % BLOCK as u64;
    if tail > 0 && tail <= MAX_INLINE && head + tail <= BLOCK as u64 {
        (Layout::Inline, tail)
    } else {
        (Layout::Plain, 0)
    }
}

/// The length of the content that the metadata itself holds: of directories, symbolic links, and small files whose own
/// inode will not do.
fn content_size(image: &Image, id: InodeId) -> u64 {
    match &image.tree().inode(id).body {
        Body::Directory(directory) => {
            let children = directory.children.keys().map(|name| (name.as_bytes(), ()));
            directory::size(directory::sorted(children, (), ()).map(|(name, ())| name))
        }
        Body::Symlink(target) => target.len() as u64,
        Body::File(Data::Small { size, .. }) => u64::from(*size),
        _ => 0,
    }
}

/// How many names each inode has, as a file system counts them.
fn count_links(image: &Image) -> Vec<u32> {
    let mut links = vec![0_u32; image.tree().inodes().len()];
    links[ROOT.index()] = 2;
    for (id, directory) in image.directories() {
        for child in directory.children.values() {
            if let Body::Directory(_) = image.tree().inode(*child).body {
                links[child.index()] = 2;
                links[id.index()] += 1;
            } else {
                links[child.index()] += 1;
            }
        }
    }
    links
}

/// The inodes that the metadata holds, those of a directory next to each other.
fn order(image: &Image, links: &[u32]) -> Vec<InodeId> {
    let mut placed = vec![false; links.len()];
    let mut order = vec![ROOT];
    for (_, directory) in image.directories() {
        for &child in directory.children.values() {
            let in_data = matches!(image.tree().inode(child).body, Body::File(Data::Small { .. }));
            if (!in_data || links[child.index()] > 1) && !std::mem::replace(&mut placed[child.index()], true) {
                order.push(child);
            }
        }
    }
    order
}
