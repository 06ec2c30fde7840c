//! Files as POSIX has them.

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Whence, access, lseek};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bytes copied at once.
const COPY_CHUNK: usize = 256 << 10;

/// The unit of `st_blocks`, whatever the file system's own is.
const STAT_BLOCK: u64 = 512;

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Gives a finished file its name, if that is free, and takes the temporary one away (by the caller's `Drop`).
pub(crate) fn publish_new(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(temporary, path)
}

pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn is_writable_dir(path: &Path) -> bool {
    access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() && path.is_dir()
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

pub(crate) fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(buffer, offset)
}

pub(crate) fn allocated_bytes(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.blocks().saturating_mul(STAT_BLOCK))
}

/// Copies what lies between holes; `SEEK_DATA` and `SEEK_HOLE` of lseek(2).
pub(crate) fn copy_data_ranges(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; COPY_CHUNK];
    let mut at = 0;
    while let Some((start, end)) = next_data(from, at, length)? {
        copy_range(from, to, start, end, &mut buffer)?;
        at = end;
    }
    Ok(())
}

/// The first range of data from `at` on, none if only a hole follows.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let start = match seek(file, at, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        // A file system that knows no holes: everything is data.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(Some((at, length))),
        found => found?,
    };
    let end = seek(file, start, Whence::SeekHole)?.min(length);
    Ok((start < end).then_some((start, end)))
}

fn seek(file: &File, offset: u64, whence: Whence) -> Result<u64, Errno> {
    let offset = i64::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    let found = lseek(file, offset, whence)?;
    u64::try_from(found).map_err(|_| Errno::EOVERFLOW)
}

fn copy_range(from: &File, to: &File, start: u64, end: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let chunk = usize::try_from(end - at).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        from.read_exact_at(&mut buffer[..chunk], at)?;
        to.write_all_at(&buffer[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}
