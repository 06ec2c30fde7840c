//! Files through the standard library.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::fs::FileExt;
use std::path::Path;

/// Bytes copied at once.
const COPY_CHUNK: usize = 256 << 10;

pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Gives a finished file its name, if that is free.
pub(crate) fn publish_new(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(temporary, path)
}

/// Directories cannot be synced; NTFS keeps its names in a journal.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn is_writable_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir() && !found.permissions().readonly())
}

pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.seek_read(&mut buffer[done..], offset + done as u64) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(crate) fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.seek_write(&buffer[done..], offset + done as u64) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The size: the standard library does not tell how much of it is on the disk.
pub(crate) fn allocated_bytes(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// Copies everything but chunks of zeros, which a file that is extended has by itself.
pub(crate) fn copy_data_ranges(from: &File, to: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; COPY_CHUNK];
    let mut at = 0;
    while at < length {
        let chunk = usize::try_from(length - at).map_or(COPY_CHUNK, |rest| rest.min(COPY_CHUNK));
        read_exact_at(from, &mut buffer[..chunk], at)?;
        if buffer[..chunk].iter().any(|byte| *byte != 0) {
            write_all_at(to, &buffer[..chunk], at)?;
        }
        at += chunk as u64;
    }
    Ok(())
}
