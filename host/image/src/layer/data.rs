//! The data file of a layer: contents at block boundaries, and small files packed several to a block.
//!
//! The content of a small file lies behind the file's own EROFS inode, which needs no address to find it there. So the
//! inode is the same in every image that has the layer, and half a block per file is not lost. Blocks of small files are
//! filled several at a time, each file going where it leaves least, and appended when they are full.

use super::{EntryFault, LayerError};
use crate::erofs::{self, BLOCK, INODE_SIZE, Layout, Record, SLOT, Shared};
use crate::tree::{Attributes, Body, Data};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

/// Files up to this size go behind their inode, if it fits: above, a block of their own loses less.
const MAX_SMALL: u64 = 3072;

/// How many blocks of small files are filled at a time.
const OPEN_BLOCKS: usize = 16;

/// What is written at once.
const BUFFER: usize = 1 << 20;

/// Holes shorter than this are written as zeros.
const MIN_HOLE: u64 = 64 << 10;

/// The most chunks of a sparse file; its chunks are as small as that allows.
const MAX_CHUNKS: u64 = 1 << 16;

/// The largest file: a file system with 32-bit block numbers has no more room.
const MAX_FILE: u64 = 1 << 44;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A data file that is being written.
#[derive(Debug)]
pub struct DataWriter<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Where the buffer starts in the file.
    flushed: u64,
    open: Vec<Bin>,
    /// For each block of small files, its number in the file once that is known.
    placed: Vec<u32>,
    small_files: u32,
}

/// A block of small files that is being filled.
#[derive(Debug)]
struct Bin {
    /// Its position in `placed`.
    index: usize,
    bytes: Vec<u8>,
}

impl<'a> DataWriter<'a> {
    /// Starts to write an empty file.
    pub fn new(file: &'a File) -> Self {
        let buffer = Vec::with_capacity(BUFFER);
        Self { file, buffer, flushed: 0, open: Vec::new(), placed: Vec::new(), small_files: 0 }
    }

    /// Where the next byte goes.
    fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// The block that the next content starts in; everything ends at a block's end but what is under way.
    pub fn block(&self) -> Result<u32, EntryFault> {
        u32::try_from(self.position() / BLOCK as u64).map_err(|_| EntryFault::TooLarge)
    }

    /// Appends to the content under way.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LayerError> {
        self.file.write_all(&self.buffer).map_err(LayerError::Write)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Fills the last block of the content under way with zeros.
    pub fn end_block(&mut self) -> Result<(), LayerError> {
        let end = self.position().next_multiple_of(BLOCK as u64);
        self.zeros_until(end)
    }

    fn zeros_until(&mut self, end: u64) -> Result<(), LayerError> {
        if end - self.position() >= MIN_HOLE {
            self.flush()?;
            let end_signed = i64::try_from(end - self.flushed).expect("contents are limited");
            self.file.seek(SeekFrom::Current(end_signed)).map_err(LayerError::Write)?;
            self.flushed = end;
        }
        while self.position() < end {
            let bytes = usize::try_from(end - self.position()).map_or(BLOCK, |rest| rest.min(BLOCK));
            self.write(&ZEROS[..bytes])?;
        }
        Ok(())
    }

    /// Whether a file of this size goes behind its inode.
    pub fn is_small(size: u64, attributes: &Attributes) -> bool {
        let head = head_size(attributes);
        size <= MAX_SMALL && head as u64 + size <= BLOCK as u64
    }

    /// Adds a small file; its place is final only after [`DataWriter::finish`].
    pub fn small(&mut self, attributes: &Attributes, content: &[u8]) -> Result<Data, LayerError> {
        self.small_files = self.small_files.wrapping_add(1);
        let xattrs = erofs::inline_xattrs(attributes.xattrs.as_deref().unwrap_or_default(), &Shared::default());
        let record = Record {
            mode: erofs::mode(attributes, &Body::File(Data::Empty)),
            attributes,
            size: content.len() as u64,
            links: 1,
            layout: Layout::Inline,
            place: 0,
            number: self.small_files,
            xattr_bytes: xattrs.len(),
        };
        let head = INODE_SIZE + xattrs.len();
        let bin = self.bin_for(head + content.len())?;
        bin.bytes.resize(bin.bytes.len().next_multiple_of(SLOT), 0);
        let offset = (bin.index * BLOCK + bin.bytes.len()) as u64;
        for part in [&record.encode()[..], &xattrs, content] {
            bin.bytes.extend_from_slice(part);
        }
        let narrow = |length: usize| u16::try_from(length).expect("inode and content fit into a block");
        Ok(Data::Small { offset, head: narrow(head), size: narrow(content.len()) })
    }

    /// The block in which this much leaves least.
    fn bin_for(&mut self, bytes: usize) -> Result<&mut Bin, LayerError> {
        let room = |bin: &Bin| BLOCK - bin.bytes.len().next_multiple_of(SLOT);
        let fitting = self.open.iter().enumerate().filter(|(_, bin)| room(bin) >= bytes);
        let index = match fitting.min_by_key(|(_, bin)| room(bin)).map(|(index, _)| index) {
            Some(index) => index,
            None => {
                if self.open.len() == OPEN_BLOCKS {
                    self.close_fullest()?;
                }
                self.open.push(Bin { index: self.placed.len(), bytes: Vec::with_capacity(BLOCK) });
                self.placed.push(u32::MAX);
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[index])
    }

    fn close_fullest(&mut self) -> Result<(), LayerError> {
        let fullest = self.open.iter().enumerate().max_by_key(|(_, bin)| bin.bytes.len()).map(|(index, _)| index);
        let Some(fullest) = fullest else { return Ok(()) };
        let bin = self.open.swap_remove(fullest);
        self.placed[bin.index] = self.block().map_err(|fault| LayerError::entry(b"", fault))?;
        self.write(&bin.bytes)?;
        self.end_block()
    }

    /// Writes what is left, and returns the file's length and where the blocks of small files came to lie.
    pub fn finish(mut self) -> Result<(u64, SmallBlocks), LayerError> {
        while !self.open.is_empty() {
            self.close_fullest()?;
        }
        self.flush()?;
        self.file.set_len(self.flushed).map_err(LayerError::Write)?;
        Ok((self.flushed, SmallBlocks(self.placed)))
    }
}

/// Where the blocks of small files lie in a finished data file.
#[derive(Debug)]
pub struct SmallBlocks(Vec<u32>);

impl SmallBlocks {
    /// Makes the place of a small file final.
    pub fn settle(&self, data: &mut Data) {
        if let Data::Small { offset, .. } = data {
            let block = BLOCK as u64;
            let index = usize::try_from(*offset / block).expect("it counts blocks in memory");
            *offset = u64::from(self.0[index]) * block + *offset % block;
        }
    }
}

fn head_size(attributes: &Attributes) -> usize {
    let xattrs = attributes.xattrs.as_deref().unwrap_or_default();
    INODE_SIZE + erofs::inline_xattrs(xattrs, &Shared::default()).len()
}

/// The content of a sparse file that is being written: chunk by chunk, holes left out.
#[derive(Debug)]
pub struct SparseWriter<'a, 'b> {
    to: &'b mut DataWriter<'a>,
    bits: u8,
    chunks: Box<[Option<u32>]>,
    /// The chunk under way, and where in the data file it starts.
    current: Option<(usize, u64)>,
    size: u64,
    /// The most bytes that the data file may come to.
    limit: u64,
}

impl<'a, 'b> SparseWriter<'a, 'b> {
    /// Starts a file of this size, all of which is a hole.
    pub fn new(to: &'b mut DataWriter<'a>, size: u64, limit: u64) -> Result<Self, EntryFault> {
        let (bits, count) = chunks(size)?;
        Ok(Self { to, bits, chunks: vec![None; count].into(), current: None, size, limit })
    }

    /// How much memory the list of chunks of a file of this size takes.
    pub fn chunks_bytes(size: u64) -> Result<usize, EntryFault> {
        Ok(chunks(size)?.1 * size_of::<Option<u32>>())
    }

    fn chunk_size(&self) -> u64 {
        (BLOCK as u64) << self.bits
    }

    /// Goes to a place in the file that is not before the last.
    pub fn write_at(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<(), LayerError> {
        let chunk_size = self.chunk_size();
        while !bytes.is_empty() {
            let within = offset % chunk_size;
            let index = usize::try_from(offset / chunk_size).expect("as many chunks as in memory");
            let start = self.chunk(index)?;
            self.to.zeros_until(start + within)?;
            let length = usize::try_from(chunk_size - within).map_or(bytes.len(), |rest| rest.min(bytes.len()));
            self.to.write(&bytes[..length])?;
            offset += length as u64;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    /// Makes a chunk the one under way, and returns where it starts in the data file.
    fn chunk(&mut self, index: usize) -> Result<u64, LayerError> {
        if let Some((current, start)) = self.current
            && current == index
        {
            return Ok(start);
        }
        self.end_chunk()?;
        let start = self.to.position();
        if start + self.chunk_size() > self.limit {
            return Err(LayerError::Limit { what: "bytes of data", limit: self.limit });
        }
        self.chunks[index] = Some(self.to.block().map_err(|fault| LayerError::entry(b"", fault))?);
        self.current = Some((index, start));
        Ok(start)
    }

    fn end_chunk(&mut self) -> Result<(), LayerError> {
        if let Some((_, start)) = self.current.take() {
            self.to.zeros_until(start + self.chunk_size())?;
        }
        Ok(())
    }

    /// The file is complete.
    pub fn finish(mut self) -> Result<Data, LayerError> {
        self.end_chunk()?;
        Ok(Data::Sparse { size: self.size, bits: self.bits, chunks: self.chunks })
    }
}

/// How large the chunks of a file of this size are, and how many it has.
fn chunks(size: u64) -> Result<(u8, usize), EntryFault> {
    if size > MAX_FILE {
        return Err(EntryFault::TooLarge);
    }
    let mut bits = 0;
    while size.div_ceil((BLOCK as u64) << bits) > MAX_CHUNKS {
        bits += 1;
    }
    let count = usize::try_from(size.div_ceil((BLOCK as u64) << bits)).map_err(|_| EntryFault::TooLarge)?;
    Ok((bits, count))
}
