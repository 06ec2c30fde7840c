//! Reading a log, to its end or as it grows.

use super::segment::Segment;
use super::tail::{self, Cut};
use super::{Entry, numbers};
use crate::StateError;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a reader that follows looks for more: not noticed by a person, not felt by the host.
const POLL: Duration = Duration::from_millis(50);

/// Reads the entries of a log in the order in which they were written, as they were written; [`super::Lines`] makes lines
/// of them. As an iterator it ends where the log ends now.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    /// Files that are open, the one being read first. Those that existed at first are all opened then, so that rotation
    /// takes nothing away from under the reader.
    segments: VecDeque<Segment>,
    /// The newest file that was opened.
    newest: u64,
    cut: Cut,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    ended: bool,
}

impl LogReader {
    /// Opens a log; one that does not exist is empty, and may come into being.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let mut reader = Self {
            dir: dir.to_owned(),
            segments: VecDeque::new(),
            newest: 0,
            cut: Cut::default(),
            since: None,
            until: None,
            ended: false,
        };
        reader.open_newer()?;
        Ok(reader)
    }

    /// Skips all but the last `lines` lines of what is there now; of both streams together.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn tail(mut self, lines: u64) -> Result<Self, StateError> {
        self.cut = tail::find(self.segments.make_contiguous(), lines)?;
        let first = self.cut.first();
        // The file being read is never given up while it is the only one: more may be appended to it.
        while self.segments.len() > 1 && self.segments[0].number < first.number {
            self.segments.pop_front();
        }
        if let Some(segment) = self.segments.front_mut().filter(|segment| segment.number == first.number) {
            segment.seek(first.offset);
        }
        Ok(self)
    }

    /// Skips what came before a time.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Ends with the first entry that came after a time.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// The next entry; `None` where the log ends now.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, StateError> {
        while !self.ended {
            let Some((entry, number, offset)) = self.next_record()? else { return Ok(None) };
            if self.until.is_some_and(|until| entry.at > until) {
                self.ended = true;
            } else if self.since.is_none_or(|since| entry.at >= since)
                && let Some(entry) = self.cut.apply(entry, number, offset)
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Goes on as the log grows. When everything has been read, `stop` is asked; once it says that nobody writes any
    /// more, what was written until then is still read, and then the iterator ends.
    pub fn follow<F: FnMut() -> bool>(self, stop: F) -> Follow<F> {
        Follow { reader: self, stop, stopped: false }
    }

    /// A record with the file and offset where it is.
    fn next_record(&mut self) -> Result<Option<(Entry, u64, u64)>, StateError> {
        loop {
            let is_last = self.segments.len() <= 1;
            if let Some(segment) = self.segments.front_mut() {
                let offset = segment.offset();
                if let Some(entry) = segment.next()? {
                    return Ok(Some((entry, segment.number, offset)));
                }
            }
            if !is_last {
                // A later file was there before we looked, so that nothing is added to this one any more.
                self.segments.pop_front();
            } else if !self.open_newer()? {
                return Ok(None);
            }
        }
    }

    /// Opens files that have come since; whether there was one.
    fn open_newer(&mut self) -> Result<bool, StateError> {
        let found = self.segments.len();
        for number in numbers(&self.dir).map_err(StateError::io("read", &self.dir))? {
            if number > self.newest {
                self.segments.extend(Segment::open(&self.dir, number)?);
                self.newest = number;
            }
        }
        Ok(self.segments.len() > found)
    }
}

impl Iterator for LogReader {
    type Item = Result<Entry, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().inspect_err(|_| self.ended = true).transpose()
    }
}

/// See [`LogReader::follow`].
#[derive(Debug)]
pub struct Follow<F> {
    reader: LogReader,
    stop: F,
    stopped: bool,
}

impl<F: FnMut() -> bool> Iterator for Follow<F> {
    type Item = Result<Entry, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.reader.next() {
                return Some(entry);
            }
            if self.stopped || self.reader.ended {
                return None;
            }
            // Asked before the last look, so that nothing written before the answer is missed.
            self.stopped = (self.stop)();
            if !self.stopped {
                thread::sleep(POLL);
            }
        }
    }
}
