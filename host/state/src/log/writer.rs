//! Writing a log.

use super::frame::{self, MAX_PAYLOAD};
use super::segment::Segment;
use super::{Limits, Stream, file_path, numbers};
use crate::StateError;
use hull_platform::dirs;
use jiff::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The one writer of a log: who holds the VM's lock.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    limits: Limits,
    number: u64,
    file: File,
    /// The length of the current file up to its last whole record.
    length: u64,
    /// The record being written.
    record: Vec<u8>,
}

impl LogWriter {
    /// Opens a log, or begins one, and goes on after its last whole record. The parent of the directory must exist.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, StateError> {
        match dirs::create_private_new(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(StateError::io("create", dir)(error)),
            _ => {}
        }
        let number = numbers(dir).map_err(StateError::io("read", dir))?.last().copied().unwrap_or(1);
        let length = match Segment::open(dir, number)? {
            Some(segment) => whole_length(segment)?,
            None => 0,
        };
        let path = file_path(dir, number);
        let file = open(&path).and_then(|file| file.set_len(length).map(|()| file));
        let file = file.map_err(StateError::io("open", &path))?;
        Ok(Self { dir: dir.to_owned(), limits, number, file, length, record: Vec::new() })
    }

    /// Appends what a process printed. It has left this process when this returns; it is not forced to the disk.
    ///
    /// # Errors
    /// Those of the disk; the log stays readable, and another call may succeed.
    pub fn append(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) -> Result<(), StateError> {
        bytes.chunks(MAX_PAYLOAD).try_for_each(|payload| self.append_record(stream, at, payload))
    }

    fn append_record(&mut self, stream: Stream, at: Timestamp, payload: &[u8]) -> Result<(), StateError> {
        self.record.clear();
        frame::encode(&mut self.record, stream, at, payload);
        let length = self.record.len() as u64;
        if self.length > 0 && self.length.saturating_add(length) > self.limits.max_bytes {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(&self.record) {
            // As on a full disk: half a record would hide all that follow. If cutting it off fails too, the next record
            // starts a new file, because this one counts as full.
            self.length = self.file.set_len(self.length).map_or(u64::MAX, |()| self.length);
            return Err(StateError::io("write", &file_path(&self.dir, self.number))(error));
        }
        self.length += length;
        Ok(())
    }

    /// Begins the next file, and only then deletes the oldest: a reader always finds where to go on.
    fn rotate(&mut self) -> Result<(), StateError> {
        let number = self.number + 1;
        let path = file_path(&self.dir, number);
        self.file = open(&path).map_err(StateError::io("create", &path))?;
        (self.number, self.length) = (number, 0);
        let kept = self.limits.max_files.max(1);
        for old in numbers(&self.dir).map_err(StateError::io("read", &self.dir))? {
            if old.saturating_add(kept) <= number {
                let path = file_path(&self.dir, old);
                fs::remove_file(&path).map_err(StateError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

fn whole_length(mut segment: Segment) -> Result<u64, StateError> {
    while segment.next()?.is_some() {}
    Ok(segment.offset())
}

/// In append mode: after a failed write is cut off, the next goes to the new end.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
