//! Reading tar: ustar (POSIX.1-1988), GNU's extensions and POSIX.1-2001's, entry by entry.
//!
//! The reader is strict where programs differ in what they read, because then one program checks what another unpacks:
//! contents of entries that have none, and unknown kinds of entries, are refused. As Docker does, it ignores global
//! extension headers and takes a missing end-of-archive marker for the end.

use super::extension::{self, Extension};
use super::sparse::{self, Map, Part};
use super::{EntryFault, LayerError, number};
use crate::tree::{Attributes, Device};
use std::io::{BufRead, ErrorKind};
use tar::{EntryType, GnuExtSparseHeader, Header};

/// Archives are made of blocks of this size.
const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name for the entry with this path.
    Link(Vec<u8>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A FIFO.
    Fifo,
}

/// An entry of an archive.
#[derive(Debug)]
pub struct Entry {
    /// Its path as the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Owner, time and so on.
    pub attributes: Attributes,
    /// How many bytes of content the archive holds.
    pub stored: u64,
    /// Where in the file they go, if it is sparse.
    pub sparse: Option<Map>,
}

/// An archive that is being read.
#[derive(Debug)]
pub struct Archive<R> {
    source: R,
    offset: u64,
    /// What is left of the current entry's content, and of what fills its last block up.
    left: u64,
    padding: u64,
}

impl<R: BufRead> Archive<R> {
    /// Starts to read.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, left: 0, padding: 0 }
    }

    /// The next entry; none at the archive's end. What was not read of the one before is skipped.
    pub fn next(&mut self) -> Result<Option<Entry>, LayerError> {
        let mut extension = Extension::default();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            match header.entry_type() {
                EntryType::GNULongName => long_path = Some(self.text(&header)?),
                EntryType::GNULongLink => long_link = Some(self.text(&header)?),
                EntryType::XGlobalHeader => drop(self.small_content(&header)?),
                EntryType::XHeader => {
                    let records = self.small_content(&header)?;
                    extension.read(&records).map_err(|fault| LayerError::entry(&header.path_bytes(), fault))?;
                }
                _ => {
                    let path = extension.path().or(long_path).unwrap_or_else(|| header.path_bytes().into_owned());
                    let link = extension.link.take().or(long_link);
                    return self.entry(&header, path, link, extension).map(Some);
                }
            }
        }
    }

    /// Gives `bytes` bytes of the current entry's content to `to`, piece by piece.
    pub fn copy(&mut self, bytes: u64, mut to: impl FnMut(&[u8]) -> Result<(), LayerError>) -> Result<(), LayerError> {
        let mut rest = bytes.min(self.left);
        while rest > 0 {
            let piece = fill(&mut self.source, self.offset)?;
            let length = usize::try_from(rest).map_or(piece.len(), |rest| rest.min(piece.len()));
            to(&piece[..length])?;
            self.source.consume(length);
            rest -= length as u64;
            self.left -= length as u64;
            self.offset += length as u64;
        }
        Ok(())
    }

    /// Reads to the end of the stream: the digest is that of all of it.
    pub fn drain(mut self) -> Result<(), LayerError> {
        loop {
            match self.source.fill_buf().map(<[u8]>::len) {
                Ok(0) => return Ok(()),
                Ok(length) => self.source.consume(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::Decompress(error)),
            }
        }
    }

    fn skip_rest(&mut self) -> Result<(), LayerError> {
        self.copy(self.left, |_| Ok(()))?;
        // There are archives that end with the last entry's last byte; nothing of them is missing.
        while self.padding > 0 {
            let length = match self.source.fill_buf() {
                Ok(piece) => usize::try_from(self.padding).map_or(piece.len(), |padding| padding.min(piece.len())),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::Decompress(error)),
            };
            if length == 0 {
                self.padding = 0;
                break;
            }
            self.source.consume(length);
            self.padding -= length as u64;
            self.offset += length as u64;
        }
        Ok(())
    }

    /// The next header that is not the end; none at the end.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return match self.block()? {
                Some(next) if next.iter().any(|byte| *byte != 0) => {
                    Err(self.malformed("an empty header is followed by something else than another"))
                }
                _ => Ok(None),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        if number::unsigned(&header.as_old().cksum) != Some(checksum(&block)) {
            return Err(self.malformed("a header's checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// A block; none at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, LayerError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let piece = match self.source.fill_buf() {
                Ok([]) if filled == 0 => return Ok(None),
                Ok([]) => return Err(self.malformed("it breaks off within a header")),
                Ok(piece) => piece,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::Decompress(error)),
            };
            let length = piece.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&piece[..length]);
            self.source.consume(length);
            filled += length;
            self.offset += length as u64;
        }
        Ok(Some(block))
    }

    fn begin_content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn size(&self, header: &Header) -> Result<u64, LayerError> {
        number::unsigned(&header.as_old().size).ok_or_else(|| self.malformed("an entry's size is no number"))
    }

    /// The content of an extension header, which is limited: it goes into memory.
    fn small_content(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let size = self.size(header)?;
        if size > extension::MAX_BYTES {
            return Err(LayerError::Limit { what: "bytes in one extension header", limit: extension::MAX_BYTES });
        }
        self.begin_content(size);
        let mut content = Vec::new();
        self.copy(size, |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// A long name, as GNU has it: up to a zero byte.
    fn text(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let mut content = self.small_content(header)?;
        content.truncate(content.iter().position(|byte| *byte == 0).unwrap_or(content.len()));
        Ok(content)
    }

    fn entry(
        &mut self,
        header: &Header,
        path: Vec<u8>,
        link: Option<Vec<u8>>,
        mut extension: Extension,
    ) -> Result<Entry, LayerError> {
        let refuse = |fault| LayerError::entry(&path, fault);
        let attributes = attributes(header, &mut extension).map_err(refuse)?;
        let link = link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned)).unwrap_or_default();
        let kind = kind(header, &path, link).map_err(refuse)?;
        let size = extension.size.map_or_else(|| self.size(header), Ok)?;
        if size > 0 && kind != Kind::File {
            return Err(refuse(EntryFault::Contents));
        }
        let mut stored = size;
        let sparse = if header.entry_type() == EntryType::GNUSparse {
            let (parts, size) = self.gnu_map(header, &path)?;
            self.begin_content(stored);
            Some((parts, size))
        } else {
            self.begin_content(stored);
            let map = self.posix_map(&extension, &path)?;
            stored = self.left;
            map
        };
        let sparse = sparse.map(|(parts, size)| Map::new(parts, size, stored)).transpose().map_err(refuse)?;
        Ok(Entry { path, kind, attributes, stored, sparse })
    }

    /// The map of GNU's own entry type: four parts in the header, the others in blocks behind it.
    fn gnu_map(&mut self, header: &Header, path: &[u8]) -> Result<(Vec<Part>, u64), LayerError> {
        let refuse = || LayerError::entry(path, EntryFault::SparseMap);
        let gnu = header.as_gnu().ok_or_else(refuse)?;
        let size = number::unsigned(&gnu.realsize).ok_or_else(refuse)?;
        let mut parts = Vec::new();
        let mut add = |offset: &[u8], length: &[u8]| {
            if offset.first() != Some(&0) && length.first() != Some(&0) {
                let (offset, length) = number::unsigned(offset).zip(number::unsigned(length)).ok_or_else(refuse)?;
                parts.push(Part { offset, length });
            }
            if parts.len() > sparse::MAX_PARTS { Err(refuse()) } else { Ok(()) }
        };
        for part in &gnu.sparse {
            add(&part.offset, &part.numbytes)?;
        }
        let mut more = gnu.isextended[0] == 1;
        while more {
            let mut block = GnuExtSparseHeader::new();
            block.as_mut_bytes().copy_from_slice(&self.block()?.ok_or_else(refuse)?);
            for part in &block.sparse {
                add(&part.offset, &part.numbytes)?;
            }
            more = block.isextended[0] == 1;
        }
        Ok((parts, size))
    }

    /// The map of the three formats within POSIX's headers.
    fn posix_map(&mut self, extension: &Extension, path: &[u8]) -> Result<Option<(Vec<Part>, u64)>, LayerError> {
        let refuse = |fault| LayerError::entry(path, fault);
        let sparse = &extension.sparse;
        if !sparse.is_some() {
            return Ok(None);
        }
        let size = sparse.size.ok_or_else(|| refuse(EntryFault::SparseMap))?;
        if let (Some(numbers), false) = (&sparse.numbers, sparse.in_content) {
            return Ok(Some((sparse::pairs(numbers).map_err(refuse)?, size)));
        }
        let mut lines = sparse::Lines::default();
        loop {
            if self.left < BLOCK as u64 {
                return Err(refuse(EntryFault::SparseMap));
            }
            let block = self.block()?.ok_or_else(|| self.malformed("it breaks off within an entry"))?;
            self.left -= BLOCK as u64;
            if lines.block(&block).map_err(refuse)? {
                return Ok(Some((lines.parts().map_err(refuse)?, size)));
            }
        }
    }

    fn malformed(&self, reason: &'static str) -> LayerError {
        LayerError::Malformed { offset: self.offset, reason }
    }
}

/// What the source has at hand; never empty.
fn fill<R: BufRead>(source: &mut R, offset: u64) -> Result<&[u8], LayerError> {
    loop {
        match source.fill_buf().map(<[u8]>::is_empty) {
            Ok(false) => break,
            Ok(true) => return Err(LayerError::Malformed { offset, reason: "it breaks off within an entry" }),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(LayerError::Decompress(error)),
        }
    }
    source.fill_buf().map_err(LayerError::Decompress)
}

/// The sum of a header's bytes, its own field counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

fn kind(header: &Header, path: &[u8], link: Vec<u8>) -> Result<Kind, EntryFault> {
    Ok(match header.entry_type() {
        // Programs older than the type for directories marked them by a slash.
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::Link(link),
        EntryType::Char => Kind::CharDevice(device(header)?),
        EntryType::Block => Kind::BlockDevice(device(header)?),
        EntryType::Fifo => Kind::Fifo,
        _ => return Err(EntryFault::Kind),
    })
}

/// Linux has 12 bits for major and 20 for minor numbers.
fn device(header: &Header) -> Result<Device, EntryFault> {
    // Both lie where ustar and GNU agree.
    let fields = header.as_bytes();
    let major = number::unsigned(&fields[329..337]).and_then(|major| u16::try_from(major).ok());
    let minor = number::unsigned(&fields[337..345]).and_then(|minor| u32::try_from(minor).ok());
    match major.zip(minor) {
        Some((major, minor)) if major < 1 << 12 && minor < 1 << 20 => Ok(Device { major, minor }),
        _ => Err(EntryFault::Device),
    }
}

fn attributes(header: &Header, extension: &mut Extension) -> Result<Attributes, EntryFault> {
    let fields = header.as_old();
    // The highest number stands for none.
    let identity = |said: Option<u64>, field: &[u8]| {
        let number = said.or_else(|| number::unsigned(field)).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| *number != u32::MAX).ok_or(EntryFault::Attributes)
    };
    let uid = identity(extension.uid, &fields.uid)?;
    let gid = identity(extension.gid, &fields.gid)?;
    let mode = number::unsigned(&fields.mode).ok_or(EntryFault::Attributes)?;
    let permissions = u16::try_from(mode & 0o7777).expect("twelve bits");
    let time = extension.time.or_else(|| Some((number::read(&fields.mtime)?, 0)));
    let (seconds, nanoseconds) = time.ok_or(EntryFault::Attributes)?;
    let xattrs = extension.xattrs();
    let xattr_bytes: usize = xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len() + 8).sum();
    if xattr_bytes > crate::erofs::MAX_XATTR_BYTES {
        return Err(EntryFault::Xattrs);
    }
    let xattrs = (!xattrs.is_empty()).then(|| xattrs.into());
    Ok(Attributes { permissions, uid, gid, seconds, nanoseconds, xattrs })
}
