//! The logs of a container: what it printed, with times, in files of bounded size.
//!
//! A log is a directory of files with ascending numbers, `00000001.log` and so on. The one writer, the shim that runs the
//! container, appends to the newest; when that is full it begins the next and deletes the oldest beyond the limit.
//! Nothing is ever renamed, so a reader that follows keeps its place. Records are described in `frame`.
//!
//! Nothing is forced to the disk. What a process wrote outlives that process; what a power cut, or the death of the
//! writer in the middle of a record, leaves torn at the end is ignored by readers and cut off by the next writer.

mod frame;
mod lines;
mod reader;
mod segment;
mod tail;
mod writer;

pub use lines::Lines;
pub use reader::{Follow, LogReader};
pub use writer::LogWriter;

use jiff::Timestamp;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Which of a process's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; both, with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes that a container printed. In a log as it was written they may be any part of a line, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When they came.
    pub at: Timestamp,
    /// Where they came from.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How large a log may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one file, record headers included. A single record may exceed it.
    pub max_bytes: u64,
    /// Files, at least one.
    pub max_files: u64,
}

impl Default for Limits {
    /// Five files of 20 MiB, as Docker's `local` driver.
    fn default() -> Self {
        Self { max_bytes: 20 << 20, max_files: 5 }
    }
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// The numbers of the files that exist, ascending; none if the directory does not exist.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|digits| digits.parse().ok());
        // Names are compared as they are written, so that no two stand for one number.
        numbers.extend(number.filter(|number| file_path(dir, *number).file_name() == Some(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
