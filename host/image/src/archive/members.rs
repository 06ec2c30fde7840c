//! What an archive holds: the files of a tar or of a directory, by name. A tar is gone through once; its members are
//! then read where they lie, several at a time if need be.

use super::ArchiveError;
use flate2::read::MultiGzDecoder;
use hull_platform::file::read_exact_at;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Most members of an archive of images: there are a few for each layer.
const MAX_MEMBERS: usize = 100_000;
/// Longest name of a member, and largest extended header.
const MAX_NAME: u64 = 64 * 1024;
/// Most bytes of an archive that comes compressed or through a pipe, uncompressed: what ten layers may have.
const MAX_SPOOL: u64 = 640 << 30;
/// How many links are followed from one name.
const MAX_LINKS: usize = 8;
const BLOCK: u64 = 512;

/// Where an archive comes from.
pub enum Source<'a> {
    /// A file. If it is a regular one and not compressed, it is read in place.
    File(PathBuf),
    /// A stream, standard input for example.
    Stream(&'a mut dyn Read),
    /// A directory with an unpacked archive or an OCI layout.
    Directory(PathBuf),
}

/// The members of an archive.
#[derive(Debug)]
pub(super) enum Members {
    Tar { file: Arc<File>, entries: HashMap<String, Entry> },
    Directory(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Members {
    /// Opens an archive. `scratch` gives a file without a name, for what cannot be read in place.
    pub fn open(source: Source<'_>, scratch: impl FnOnce() -> io::Result<File>) -> Result<Self, ArchiveError> {
        match source {
            Source::Directory(path) => Ok(Self::Directory(path)),
            Source::File(path) => {
                let failed = |source| ArchiveError::Io { action: "read", path: path.clone(), source };
                let mut file = File::open(&path).map_err(failed)?;
                let regular = file.metadata().map_err(failed)?.is_file();
                if !regular {
                    return Self::spool(&mut file, scratch);
                }
                let mut start = Vec::new();
                (&file).take(6).read_to_end(&mut start).map_err(failed)?;
                file.seek(SeekFrom::Start(0)).map_err(failed)?;
                if compression(&start)? { Self::spool(&mut file, scratch) } else { Self::scan(file) }
            }
            Source::Stream(stream) => Self::spool(stream, scratch),
        }
    }

    /// Writes a stream to a file, decompressed, so that it can be read at any place.
    fn spool(stream: &mut dyn Read, scratch: impl FnOnce() -> io::Result<File>) -> Result<Self, ArchiveError> {
        let read = |source| ArchiveError::Stream { action: "read", source };
        let mut start = Vec::new();
        stream.take(6).read_to_end(&mut start).map_err(read)?;
        let compressed = compression(&start)?;
        let whole = io::Cursor::new(start.clone()).chain(stream);
        let plain: Box<dyn Read + '_> = match start[..] {
            _ if !compressed => Box::new(whole),
            [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
            _ => {
                Box::new(ruzstd::decoding::StreamingDecoder::new(whole).map_err(|error| read(io::Error::other(error)))?)
            }
        };
        let mut file = scratch().map_err(|source| ArchiveError::Stream { action: "make room for", source })?;
        let written = io::copy(&mut plain.take(MAX_SPOOL), &mut file)
            .map_err(|source| ArchiveError::Stream { action: "read", source })?;
        if written == MAX_SPOOL {
            return Err(ArchiveError::Malformed(format!("it has more than {MAX_SPOOL} bytes")));
        }
        Self::scan(file)
    }

    /// Goes through a tar (POSIX.1-2017 "pax Interchange Format", and GNU's long names).
    fn scan(file: File) -> Result<Self, ArchiveError> {
        let read = |source| ArchiveError::Stream { action: "read", source };
        let length = file.metadata().map_err(read)?.len();
        let mut entries = HashMap::new();
        let mut scan = Scan { file: &file, length, at: 0 };
        while let Some((name, entry)) = scan.next()? {
            if entries.len() >= MAX_MEMBERS {
                return Err(ArchiveError::Malformed(format!("it has more than {MAX_MEMBERS} members")));
            }
            // As with every tar, the last of several members of one name counts.
            if let Some(name) = normal(&name) {
                entries.insert(name, entry);
            }
        }
        Ok(Self::Tar { file: Arc::new(file), entries })
    }

    /// Whether there is such a member.
    pub fn has(&self, name: &str) -> bool {
        self.open_member(name).is_ok()
    }

    /// A member's bytes as a stream, and how many there are.
    pub fn open_member(&self, name: &str) -> Result<(Section, u64), ArchiveError> {
        let missing = || ArchiveError::Missing(name.chars().take(300).collect());
        let mut wanted = normal(name).ok_or_else(missing)?;
        match self {
            Self::Directory(root) => {
                let path = root.join(&wanted);
                let failed = |source| ArchiveError::Io { action: "read", path: path.clone(), source };
                // Asked before it is opened: opening a FIFO would wait.
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_file() => {}
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => return Err(missing()),
                }
                let file = File::open(&path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                Ok((Section { file: Arc::new(file), at: 0, end: size }, size))
            }
            Self::Tar { file, entries } => {
                for _ in 0..=MAX_LINKS {
                    match entries.get(&wanted).ok_or_else(missing)? {
                        Entry::File { offset, size } => {
                            let end = offset.checked_add(*size).ok_or_else(missing)?;
                            return Ok((Section { file: file.clone(), at: *offset, end }, *size));
                        }
                        Entry::Link(target) => wanted = target.clone(),
                    }
                }
                Err(missing())
            }
        }
    }

    /// A member's bytes, of which there may be `limit`.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let (mut section, size) = self.open_member(name)?;
        if size > limit {
            return Err(ArchiveError::TooLarge { name: name.to_owned(), size, limit });
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).map_err(|source| ArchiveError::Stream { action: "read", source })?;
        Ok(bytes)
    }
}

/// Whether the first bytes are those of a compressed stream that hull can read.
fn compression(start: &[u8]) -> Result<bool, ArchiveError> {
    let name = match start {
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => return Ok(true),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => "xz",
        [b'B', b'Z', b'h', ..] => "bzip2",
        _ => return Ok(false),
    };
    Err(ArchiveError::Malformed(format!(
        "it is compressed with {name}; decompress it first: {name} -dc FILE | hull load"
    )))
}

/// A name without leading and single dots; none if it leads out of the archive.
fn normal(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Part of a file.
#[derive(Debug)]
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        read_exact_at(&self.file, &mut buffer[..count], self.at)?;
        self.at += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }
}

/// A walk through a tar's headers.
struct Scan<'a> {
    file: &'a File,
    length: u64,
    at: u64,
}

/// What an extended header says of the member that follows it.
#[derive(Default)]
struct Extended {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Scan<'_> {
    /// The next file or link.
    fn next(&mut self) -> Result<Option<(String, Entry)>, ArchiveError> {
        let mut extended = Extended::default();
        while let Some(header) = self.header()? {
            let kind = header.entry_type();
            let said = header.entry_size().map_err(|error| malformed(self.at, &error.to_string()))?;
            let size = extended.size.take().unwrap_or(said);
            let offset = self.at;
            let padded = size.checked_next_multiple_of(BLOCK).and_then(|padded| offset.checked_add(padded));
            let end = padded.ok_or_else(|| malformed(offset, "a member without end"))?;
            // The last member's padding may be missing; its bytes may not.
            if offset.saturating_add(size) > self.length {
                return Err(malformed(offset, "it breaks off"));
            }
            self.at = end;
            match kind.as_byte() {
                b'L' => extended.name = Some(self.text(offset, size)?),
                b'K' => extended.link = Some(self.text(offset, size)?),
                b'x' => self.pax(offset, size, &mut extended)?,
                b'g' => {}
                _ => {
                    let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let name = extended.name.take().unwrap_or_else(|| plain(&header.path_bytes()));
                    let target = extended.link.take().or_else(|| header.link_name_bytes().map(|bytes| plain(&bytes)));
                    extended = Extended::default();
                    let entry = match (kind.as_byte(), target) {
                        (b'0' | b'7' | 0, _) => Entry::File { offset, size },
                        (b'1', Some(target)) => Entry::Link(normal(&target).unwrap_or_default()),
                        (b'2', Some(target)) => Entry::Link(beside(&name, &target)),
                        _ => continue,
                    };
                    return Ok(Some((name, entry)));
                }
            }
        }
        Ok(None)
    }

    fn header(&mut self) -> Result<Option<tar::Header>, ArchiveError> {
        let Some(end) = self.at.checked_add(BLOCK).filter(|end| *end <= self.length) else { return Ok(None) };
        let mut header = tar::Header::new_old();
        let read = |source| ArchiveError::Stream { action: "read", source };
        read_exact_at(self.file, header.as_mut_bytes(), self.at).map_err(read)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum =
            bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        if !header.cksum().is_ok_and(|said| said == sum) {
            return Err(malformed(self.at, "this is no header of a tar"));
        }
        self.at = end;
        Ok(Some(header))
    }

    fn content(&self, offset: u64, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let length = usize::try_from(size).ok().filter(|_| size <= MAX_NAME);
        let length = length.ok_or_else(|| malformed(offset, "a name or an extended header is longer than 64 KiB"))?;
        let mut bytes = vec![0; length];
        let read = |source| ArchiveError::Stream { action: "read", source };
        read_exact_at(self.file, &mut bytes, offset).map_err(read)?;
        Ok(bytes)
    }

    fn text(&self, offset: u64, size: u64) -> Result<String, ArchiveError> {
        let bytes = self.content(offset, size)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    fn pax(&self, offset: u64, size: u64, extended: &mut Extended) -> Result<(), ArchiveError> {
        let bytes = self.content(offset, size)?;
        for record in tar::PaxExtensions::new(&bytes) {
            let record = record.map_err(|error| malformed(offset, &error.to_string()))?;
            let (Ok(key), Ok(value)) = (record.key(), record.value()) else { continue };
            match key {
                "path" => extended.name = Some(value.to_owned()),
                "linkpath" => extended.link = Some(value.to_owned()),
                "size" => {
                    let size = value.parse().map_err(|_| malformed(offset, "a size that is no number"))?;
                    extended.size = Some(size);
                }
                key if key.starts_with("GNU.sparse.") => return Err(malformed(offset, "a member is sparse")),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a symbolic link at `name` means.
fn beside(name: &str, target: &str) -> String {
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    normal(&format!("{parent}/{target}")).unwrap_or_default()
}

fn malformed(offset: u64, reason: &str) -> ArchiveError {
    ArchiveError::Malformed(format!("at byte {offset}: {reason}"))
}

#[cfg(test)]
mod tests;
