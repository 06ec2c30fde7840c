//! Lines out of pieces of lines.

use super::Entry;
use crate::StateError;
use std::collections::VecDeque;

/// A line longer than this comes in several entries: a container may never end its lines, and does not get our memory
/// for that.
const MAX_LINE: usize = 64 << 10;

/// Makes of the entries of a [`super::LogReader`] (or [`super::Follow`]) entries of one line each, with the line end and
/// with the time of the line's first byte. A last line without an end comes when the log ends.
#[derive(Debug)]
pub struct Lines<I> {
    entries: I,
    ready: VecDeque<Entry>,
    open: Vec<Entry>,
}

impl<I: Iterator<Item = Result<Entry, StateError>>> Lines<I> {
    /// Lines of these entries.
    pub fn new(entries: I) -> Self {
        Self { entries, ready: VecDeque::new(), open: Vec::new() }
    }

    fn push(&mut self, entry: &Entry) {
        for piece in entry.bytes.split_inclusive(|byte| *byte == b'\n') {
            let index = self.open_index(entry);
            let line = &mut self.open[index].bytes;
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= MAX_LINE {
                self.ready.push_back(self.open.remove(index));
            }
        }
    }

    /// The line of the entry's stream that has not ended, begun if there is none. Lines stay in the order in which they
    /// began.
    fn open_index(&mut self, entry: &Entry) -> usize {
        self.open.iter().position(|line| line.stream == entry.stream).unwrap_or_else(|| {
            self.open.push(Entry { bytes: Vec::new(), ..*entry });
            self.open.len() - 1
        })
    }
}

impl<I: Iterator<Item = Result<Entry, StateError>>> Iterator for Lines<I> {
    type Item = Result<Entry, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            match self.entries.next() {
                Some(Ok(entry)) => self.push(&entry),
                Some(Err(error)) => return Some(Err(error)),
                None if self.open.is_empty() => return None,
                None => self.ready.extend(self.open.drain(..)),
            }
        }
    }
}
