//! Reading one file of a log, from any record on, while it may still be written to.

use super::frame::{self, Decoded, MAX_RECORD};
use super::{Entry, file_path};
use crate::StateError;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file and the place in it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    path: PathBuf,
    file: File,
    /// Where the next record begins.
    offset: u64,
    /// Bytes of the file from `offset` on, from `start` on in here.
    buffer: Vec<u8>,
    start: usize,
}

impl Segment {
    /// Opens a file; `None` if it has been deleted meanwhile.
    pub(super) fn open(dir: &Path, number: u64) -> Result<Option<Self>, StateError> {
        let path = file_path(dir, number);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self { number, path, file, offset: 0, buffer: Vec::new(), start: 0 })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::io("open", &path)(error)),
        }
    }

    /// A second reader of the same file, at its beginning, which goes on even if the file is deleted.
    pub(super) fn again(&self) -> Result<Self, StateError> {
        let file = self.file.try_clone().map_err(StateError::io("open", &self.path))?;
        Ok(Self { number: self.number, path: self.path.clone(), file, offset: 0, buffer: Vec::new(), start: 0 })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to where a record begins.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.forget();
    }

    /// The next record; `None` if there is no whole one, now.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, StateError> {
        loop {
            let decoded = frame::decode(&self.buffer[self.start..]);
            if let Some((entry, length)) = decoded.entry() {
                self.start += length;
                self.offset += length as u64;
                return Ok(Some(entry));
            }
            if decoded == Decoded::Damaged || !self.fill()? {
                // What is torn now may be whole, or cut off and written over, the next time.
                self.forget();
                return Ok(None);
            }
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }

    /// Reads more; false at the end of the file.
    fn fill(&mut self) -> Result<bool, StateError> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let failed = StateError::io("read", &self.path);
        let position = SeekFrom::Start(self.offset + self.buffer.len() as u64);
        // The place in the file is shared with `again`, hence set each time.
        let read = self.file.seek(position).and_then(|_| {
            let limit = MAX_RECORD as u64;
            (&self.file).take(limit).read_to_end(&mut self.buffer)
        });
        Ok(read.map_err(failed)? > 0)
    }
}
