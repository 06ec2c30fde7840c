//! Where the last lines of a log begin.
//!
//! The two streams of a container interleave in the log by pieces of lines, so the last n lines begin at a different
//! place in each stream. A first pass counts the lines; a second finds where each stream is when all but n are complete.
//! Both need memory for one record, whatever the container wrote.

use super::segment::Segment;
use super::{Entry, Stream};
use crate::StateError;

/// A byte of a log: the file, the record in it, the byte of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) byte: usize,
}

/// From where on each stream is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    stdout: Position,
    stderr: Position,
}

impl Cut {
    /// Where reading has to begin.
    pub(super) fn first(&self) -> Position {
        self.stdout.min(self.stderr)
    }

    fn of(&self, stream: Stream) -> Position {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    /// Takes away what comes before; `None` if nothing is left. `number` and `offset` are the record's.
    pub(super) fn apply(&self, mut entry: Entry, number: u64, offset: u64) -> Option<Entry> {
        let cut = self.of(entry.stream);
        if (number, offset) < (cut.number, cut.offset) {
            return None;
        }
        if (number, offset) == (cut.number, cut.offset) {
            entry.bytes.drain(..cut.byte.min(entry.bytes.len()));
        }
        Some(entry).filter(|entry| !entry.bytes.is_empty())
    }
}

/// Where the last `lines` lines begin; a line that has not ended yet counts as one.
pub(super) fn find(segments: &[Segment], lines: u64) -> Result<Cut, StateError> {
    let mut whole = Scan::default();
    whole.run(segments, u64::MAX)?;
    let open = u64::from(whole.stdout.is_some()) + u64::from(whole.stderr.is_some());
    let surplus = (whole.complete + open).saturating_sub(lines);
    if surplus == 0 {
        return Ok(Cut::default());
    }
    if surplus > whole.complete {
        return Ok(whole.among_open(lines));
    }
    let mut scan = Scan::default();
    scan.run(segments, surplus)?;
    Ok(scan.cut())
}

/// A walk through the log.
#[derive(Debug, Default)]
struct Scan {
    /// Lines that have ended.
    complete: u64,
    /// Where the line begins that has not ended, by stream.
    stdout: Option<Position>,
    stderr: Option<Position>,
    /// Behind the last byte that was looked at.
    end: Position,
}

impl Scan {
    /// Goes on until so many lines are complete.
    fn run(&mut self, segments: &[Segment], lines: u64) -> Result<(), StateError> {
        for segment in segments {
            let mut segment = segment.again()?;
            loop {
                let at = Position { number: segment.number, offset: segment.offset(), byte: 0 };
                let Some(entry) = segment.next()? else { break };
                if self.walk(&entry, at, lines) {
                    return Ok(());
                }
                self.end = Position { offset: segment.offset(), ..at };
            }
        }
        Ok(())
    }

    /// Goes through one record; true when enough lines are complete.
    fn walk(&mut self, entry: &Entry, at: Position, lines: u64) -> bool {
        let mut start = 0;
        while start < entry.bytes.len() {
            let open = match entry.stream {
                Stream::Stdout => &mut self.stdout,
                Stream::Stderr => &mut self.stderr,
            };
            open.get_or_insert(Position { byte: start, ..at });
            let Some(length) = entry.bytes[start..].iter().position(|byte| *byte == b'\n') else { return false };
            *open = None;
            start += length + 1;
            self.complete += 1;
            if self.complete == lines {
                self.end = Position { byte: start, ..at };
                return true;
            }
        }
        false
    }

    fn cut(&self) -> Cut {
        Cut { stdout: self.stdout.unwrap_or(self.end), stderr: self.stderr.unwrap_or(self.end) }
    }

    /// Fewer lines are wanted than have not ended: the later of the two, or none.
    fn among_open(&self, lines: u64) -> Cut {
        let last = self.stdout.max(self.stderr).filter(|_| lines > 0);
        let begin = |open: Option<Position>| open.filter(|open| Some(*open) == last).unwrap_or(self.end);
        Cut { stdout: begin(self.stdout), stderr: begin(self.stderr) }
    }
}
