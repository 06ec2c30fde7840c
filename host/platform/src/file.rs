//! Files: atomic publication, sparse copies, and space given back.
//!
//! Two strengths of publication exist, because a sync costs milliseconds on a real disk: [`write_atomic`] and
//! [`create_exclusive`] are on the disk when they return; [`replace`] and [`claim`] are as atomic for every running
//! process, but a power cut may leave the old file, or an empty one on some file systems.

use crate::{random, sys};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces or creates a file, readable and writable by its owner alone. Whatever happens, a reader finds the old or
/// the new content, whole; when this returns, the new content is on the disk. On failure no temporary file is left,
/// unless the process itself is killed: then a name that starts with `.` and ends with `.tmp` remains.
///
/// # Errors
/// Those of writing and renaming.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = Temporary::write(path, bytes)?;
    temporary.file.sync_all()?;
    temporary.rename(path)?;
    sync_dir(parent(path)?)
}

/// As [`write_atomic`], without waiting for the disk: atomic for running processes, undecided after a power cut.
///
/// # Errors
/// Those of writing and renaming.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Temporary::write(path, bytes)?.rename(path)
}

/// Creates a file that nobody else has created: of any number of callers one succeeds. The file is complete from the
/// instant in which it can be seen, and on the disk when this returns.
///
/// # Errors
/// `AlreadyExists` if the name is taken, and those of writing.
pub fn create_exclusive(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = Temporary::write(path, bytes)?;
    temporary.file.sync_all()?;
    temporary.link(path)?;
    sync_dir(parent(path)?)
}

/// As [`create_exclusive`], without waiting for the disk.
///
/// # Errors
/// `AlreadyExists` if the name is taken, and those of writing.
pub fn claim(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Temporary::write(path, bytes)?.link(path)
}

/// Waits until the names in a directory are on the disk. Does nothing where the system cannot (Windows).
///
/// # Errors
/// Those of the disk.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    sys::file::sync_dir(path)
}

/// Whether this process may create files in a directory.
pub fn is_writable_dir(path: &Path) -> bool {
    sys::file::is_writable_dir(path)
}

/// Copies a file and keeps its holes: by sharing its blocks where the file system can, else range by range. The copy
/// is its owner's alone. It is not synced.
///
/// # Errors
/// `AlreadyExists` if `to` exists, and those of copying; a copy that failed half-way is removed.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = sys::file::create_new(to)?;
    let copied = match sys::space::share_blocks(&source, &target) {
        Ok(true) => Ok(()),
        Ok(false) => sys::file::copy_data_ranges(&source, &target),
        Err(error) => Err(error),
    };
    copied.inspect_err(|_| drop(fs::remove_file(to)))
}

/// Gives the blocks of a range back to the file system; the range then reads as zeros. The file keeps its size.
///
/// # Errors
/// `Unsupported` where the file system cannot, and those of the disk.
pub fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    check_range(offset, length)?;
    sys::space::punch_hole(file, offset, length)
}

/// Makes a range read as zeros, by the cheapest way that the file system has. The file keeps its size.
///
/// # Errors
/// Those of the disk.
pub fn zero_range(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    check_range(offset, length)?;
    match sys::space::zero_range(file, offset, length) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(file, offset, length),
        result => result,
    }
}

/// Reads exactly the buffer's length at an offset; the file's own position is not used.
///
/// # Errors
/// `UnexpectedEof` if the file ends before, and those of the disk.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    sys::file::read_exact_at(file, buffer, offset)
}

/// Writes all of the buffer at an offset; the file's own position is not used.
///
/// # Errors
/// Those of the disk.
pub fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    sys::file::write_all_at(file, buffer, offset)
}

/// The bytes that a file takes on the disk, which for a sparse file are fewer than its size.
///
/// # Errors
/// Those of looking at it.
pub fn allocated_bytes(path: &Path) -> io::Result<u64> {
    sys::file::allocated_bytes(path)
}

/// Offsets in files are signed on every host: a range that ends beyond is refused before a system call truncates it.
fn check_range(offset: u64, length: u64) -> io::Result<()> {
    match offset.checked_add(length).and_then(|end| i64::try_from(end).ok()) {
        Some(_) => Ok(()),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("range {offset}+{length} is out of bounds"))),
    }
}

/// For file systems without a call for it; never past the file's end, so that it keeps its size.
fn write_zeros(file: &File, offset: u64, length: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let end = offset.saturating_add(length).min(file.metadata()?.len());
    let mut at = offset;
    while at < end {
        let chunk = usize::try_from(end - at).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        write_all_at(file, &ZEROS[..chunk], at)?;
        at += chunk as u64;
    }
    Ok(())
}

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display()))),
    }
}

/// A file under a name that nobody looks for, removed unless it gets its own.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Writes the content beside its destination: only within one file system is a rename atomic.
    fn write(destination: &Path, bytes: &[u8]) -> io::Result<Self> {
        let name = destination.file_name();
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{:016x}.tmp", u64::from_ne_bytes(random::array()?)));
        let path = parent(destination)?.join(hidden);
        let file = sys::file::create_new(&path)?;
        let mut temporary = Self { path, file };
        temporary.file.write_all(bytes)?;
        Ok(temporary)
    }

    fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.forget();
        Ok(())
    }

    fn link(self, to: &Path) -> io::Result<()> {
        sys::file::publish_new(&self.path, to)
    }

    /// The temporary name is gone: there is nothing to remove.
    fn forget(mut self) {
        self.path.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
