//! The second pass: the metadata in the order of its offsets.

use super::directory::{self, Entry};
use super::inode::{Layout, Record, device_number, directory_type, mode};
use super::layout::{Place, Plan};
use super::superblock::Superblock;
use super::{BLOCK, DataFiles, ErofsError, SLOT, xattr};
use crate::tree::{Body, Data, Image};
use std::io::{self, Write};

/// The address of a chunk that is a hole.
const HOLE: u32 = u32::MAX;

/// Writes the metadata of an image, and returns its length: whole blocks. The data files come behind it, in their order.
/// `identity` becomes the file system's UUID.
///
/// # Errors
/// See [`ErofsError`].
pub fn write(image: &Image, data: &dyn DataFiles, identity: [u8; 16], to: impl Write) -> Result<u64, ErofsError> {
    let plan = Plan::of(image, data)?;
    let mut writer = Writer { image, data, plan: &plan, out: Counted { to, written: 0 } };
    writer.superblock(identity)?;
    for (number, place) in plan.places.iter().enumerate() {
        writer.inode(place, u32::try_from(number + 1).map_err(|_| ErofsError::TooLarge)?)?;
    }
    writer.out.pad_to_block()?;
    writer.out.write_all(plan.shared.bytes())?;
    writer.out.pad_to_block()?;
    for place in plan.places.iter().filter(|place| place.blocks() > 0) {
        writer.blocks(place)?;
    }
    writer.out.flush()?;
    debug_assert_eq!(writer.out.written, u64::from(plan.metadata_blocks) * BLOCK as u64);
    Ok(writer.out.written)
}

struct Writer<'a, W> {
    image: &'a Image,
    data: &'a dyn DataFiles,
    plan: &'a Plan,
    out: Counted<W>,
}

impl<W: Write> Writer<'_, W> {
    fn superblock(&mut self, identity: [u8; 16]) -> Result<(), ErofsError> {
        let superblock = Superblock {
            root: u16::try_from(BLOCK / SLOT).expect("the root directory's inode comes first"),
            inodes: self.plan.inodes,
            blocks: self.plan.total_blocks,
            xattr_block: self.plan.xattr_block,
            chunked: self.plan.chunked,
            identity,
        };
        Ok(self.out.write_all(&superblock.encode())?)
    }

    fn inode(&mut self, place: &Place, number: u32) -> Result<(), ErofsError> {
        let inode = self.image.tree().inode(place.inode);
        let attributes = &inode.attributes;
        let xattrs = xattr::inline(attributes.xattrs.as_deref().unwrap_or_default(), &self.plan.shared);
        let size = if let Body::File(data) = &inode.body { data.size() } else { place.size };
        let record = Record {
            mode: mode(attributes, &inode.body),
            attributes,
            size,
            links: self.plan.links[place.inode.index()],
            layout: place.layout,
            place: self.place_field(place)?,
            number,
            xattr_bytes: xattrs.len(),
        };
        self.out.zeros_until(place.offset)?;
        self.out.write_all(&record.encode())?;
        self.out.write_all(&xattrs)?;
        self.tail(place)
    }

    /// What an inode says of its content's place.
    fn place_field(&self, place: &Place) -> Result<u32, ErofsError> {
        match &self.image.tree().inode(place.inode).body {
            Body::File(Data::Plain { block, size }) => {
                let last = u32::try_from(size.saturating_sub(1) / BLOCK as u64).map_err(|_| ErofsError::Content)?;
                let last = block.checked_add(last).ok_or(ErofsError::Content)?;
                self.plan.address(self.image, place.inode, last)?;
                self.plan.address(self.image, place.inode, *block)
            }
            Body::File(Data::Sparse { bits, .. }) => Ok(u32::from(*bits)),
            Body::CharDevice(device) | Body::BlockDevice(device) => Ok(device_number(*device)),
            _ => Ok(place.block),
        }
    }

    /// What comes right behind an inode and its attributes.
    fn tail(&mut self, place: &Place) -> Result<(), ErofsError> {
        match (&self.image.tree().inode(place.inode).body, place.layout) {
            (Body::File(Data::Sparse { chunks, bits, size }), _) => self.chunks(place, chunks, *bits, *size),
            (Body::File(Data::Small { offset, head, size }), _) => {
                let mut content = vec![0; usize::from(*size)];
                let at = offset.checked_add(u64::from(*head)).ok_or(ErofsError::Content)?;
                self.data.read(self.image.data_file(place.inode), at, &mut content)?;
                Ok(self.out.write_all(&content)?)
            }
            (_, Layout::Inline) => {
                let content = self.content(place);
                let inline = content.len() - usize::try_from(place.inline_bytes()).map_err(|_| ErofsError::TooLarge)?;
                Ok(self.out.write_all(&content[inline..])?)
            }
            _ => Ok(()),
        }
    }

    fn chunks(&mut self, place: &Place, chunks: &[Option<u32>], bits: u8, size: u64) -> Result<(), ErofsError> {
        let chunk =
            (BLOCK as u64).checked_shl(u32::from(bits)).filter(|chunk| *chunk > 0).ok_or(ErofsError::Content)?;
        if size.div_ceil(chunk) != chunks.len() as u64 {
            return Err(ErofsError::Content);
        }
        for block in chunks {
            let address = match block {
                Some(block) => self.plan.address(self.image, place.inode, *block)?,
                None => HOLE,
            };
            self.out.write_all(&address.to_le_bytes())?;
        }
        Ok(())
    }

    /// The whole blocks of a directory or a symbolic link.
    fn blocks(&mut self, place: &Place) -> Result<(), ErofsError> {
        let content = self.content(place);
        let whole = content.len() - usize::try_from(place.inline_bytes()).map_err(|_| ErofsError::TooLarge)?;
        self.out.write_all(&content[..whole])?;
        Ok(self.out.pad_to_block()?)
    }

    fn content(&self, place: &Place) -> Vec<u8> {
        match &self.image.tree().inode(place.inode).body {
            Body::Symlink(target) => target.to_vec(),
            Body::Directory(directory) => {
                let children = directory.children.iter().map(|(name, child)| (name.as_bytes(), *child));
                let entries = directory::sorted(children, place.inode, self.image.parent(place.inode));
                let entry = |(name, child)| Entry {
                    name,
                    node: self.plan.nodes[crate::tree::InodeId::index(child)],
                    kind: directory_type(&self.image.tree().inode(child).body),
                };
                directory::encode(&entries.map(entry).collect::<Vec<_>>())
            }
            _ => Vec::new(),
        }
    }
}

/// A writer that knows how much it wrote.
struct Counted<W> {
    to: W,
    written: u64,
}

impl<W: Write> Counted<W> {
    fn zeros_until(&mut self, offset: u64) -> io::Result<()> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        while self.written < offset {
            let bytes = usize::try_from(offset - self.written).map_or(BLOCK, |rest| rest.min(BLOCK));
            self.write_all(&ZEROS[..bytes])?;
        }
        Ok(())
    }

    fn pad_to_block(&mut self) -> io::Result<()> {
        self.zeros_until(self.written.next_multiple_of(BLOCK as u64))
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
