//! The guest kernel's console: a pipe that is always drained and a log of bounded size.
//!
//! Everything on it is hostile. The log keeps the beginning, which tells how the guest booted, in `console.log`, and the
//! end, which tells how it died, in `console.log.end` and the segment before that, `console.log.mid`; what lies between
//! is given up. Bytes that come faster than anyone could read them are dropped, so that a guest cannot keep the host's
//! disk busy either.

use crate::rate::Bucket;
use crate::text;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Bounds of a console's log.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes kept of the beginning.
    pub head: u64,
    /// Bytes in each of the two segments that keep the end.
    pub segment: u64,
    /// Bytes that may come at once.
    pub burst: u64,
    /// Bytes a second after that.
    pub per_second: u64,
}

/// A whole verbose boot is some 60 KiB; together the three files stay under a MiB.
pub const BOUNDS: Bounds = Bounds { head: 256 << 10, segment: 256 << 10, burst: 1 << 20, per_second: 64 << 10 };

/// How much of the end is kept in memory, to quote from.
const REMEMBERED: usize = 4096;

/// Writes a console's log within its bounds.
#[derive(Debug)]
pub struct ConsoleLog {
    path: PathBuf,
    bounds: Bounds,
    bucket: Bucket,
    head_left: u64,
    file: File,
    end_length: u64,
    dropped: u64,
}

impl ConsoleLog {
    /// Begins a log at `path`; an old one is overwritten.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn create(path: &Path, bounds: Bounds, now: Instant) -> io::Result<Self> {
        for suffix in ["mid", "end"] {
            let _ = fs::remove_file(with_suffix(path, suffix));
        }
        let bucket = Bucket::new(bounds.burst, bounds.per_second, now);
        let file = private_file(path)?;
        Ok(Self { path: path.to_owned(), bounds, bucket, head_left: bounds.head, file, end_length: 0, dropped: 0 })
    }

    /// Adds what the guest printed.
    ///
    /// # Errors
    /// Those of writing, such as a full disk. What was lost by one error does not prevent later writes.
    pub fn append(&mut self, bytes: &[u8], now: Instant) -> io::Result<()> {
        let allowed = self.bucket.take(bytes.len() as u64, now);
        let allowed = usize::try_from(allowed).unwrap_or(bytes.len());
        let (kept, lost) = bytes.split_at(allowed);
        if self.dropped > 0 && !kept.is_empty() {
            let note = format!("\n[{} bytes dropped: the console is too fast]\n", std::mem::take(&mut self.dropped));
            self.write(note.as_bytes())?;
        }
        self.dropped += lost.len() as u64;
        self.write(kept)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = if self.head_left > 0 { self.head_left } else { self.bounds.segment - self.end_length };
            if room == 0 {
                self.next_segment()?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.file.write_all(now)?;
            bytes = later;
            if self.head_left > 0 {
                self.head_left -= now.len() as u64;
                if self.head_left == 0 {
                    self.next_segment()?;
                }
            } else {
                self.end_length += now.len() as u64;
            }
        }
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let end = with_suffix(&self.path, "end");
        match fs::rename(&end, with_suffix(&self.path, "mid")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file = private_file(&end)?;
        self.end_length = 0;
        Ok(())
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// A new file that only its owner can read: a guest may print secrets.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The last bytes of a console, shared between the thread that drains it and whoever asks why the guest died.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Adds what the guest printed.
    pub fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let surplus = tail.len().saturating_sub(REMEMBERED);
        tail.drain(..surplus);
    }

    /// The line in which the guest's kernel says that it panicked, without its time stamp.
    pub fn panic(&self) -> Option<String> {
        // Longer than the name of a process can be, which a process could otherwise have the kernel print.
        const MARK: &str = "Kernel panic - not syncing";
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = String::from_utf8_lossy(&tail);
        let line = tail.lines().rev().find_map(|line| line.find(MARK).map(|at| &line[at..]))?;
        Some(text::one_line(line))
    }
}

/// Drains the console until it ends; `log` may be missing (its disk is full): the guest must never block on us.
/// `panicked` is called once, as soon as the guest's kernel says that it has panicked: it takes seconds until it has
/// stopped its processors and ends.
pub fn drain(mut console: impl Read, mut log: Option<ConsoleLog>, tail: &Tail, panicked: impl FnOnce()) {
    let mut buffer = [0; 4096];
    let mut panicked = Some(panicked);
    loop {
        match console.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                tail.push(bytes);
                if panicked.is_some() && tail.panic().is_some() {
                    panicked.take().into_iter().for_each(|tell| tell());
                }
                if let Some(Err(error)) = log.as_mut().map(|log| log.append(bytes, Instant::now())) {
                    log::warn!("console log given up: {error}");
                    log = None;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("console: {error}");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SMALL: Bounds = Bounds { head: 10, segment: 20, burst: 1000, per_second: 10 };

    fn read(path: &Path, suffix: &str) -> Vec<u8> {
        let path = if suffix.is_empty() { path.to_owned() } else { with_suffix(path, suffix) };
        fs::read(path).unwrap_or_default()
    }

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let now = Instant::now();
        let mut log = ConsoleLog::create(&path, SMALL, now).unwrap();
        let all: Vec<u8> = (0..100).collect();
        for piece in all.chunks(7) {
            log.append(piece, now).unwrap();
        }
        assert_eq!(read(&path, ""), all[..10]);
        let end = [read(&path, "mid"), read(&path, "end")].concat();
        assert!(all.ends_with(&end), "{end:?}");
        assert!((20..=40).contains(&end.len()), "{}", end.len());
    }

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let now = Instant::now();
        let bounds = Bounds { head: 1 << 20, ..SMALL };
        let mut log = ConsoleLog::create(&path, bounds, now).unwrap();
        for _ in 0..100 {
            log.append(&[b'x'; 4096], now).unwrap();
        }
        assert_eq!(read(&path, "").len(), 1000);
        log.append(b"later", now + Duration::from_secs(3)).unwrap();
        let text = String::from_utf8(read(&path, "")).unwrap();
        assert!(text.ends_with("\n[408600 bytes dropped: the console is too fast]\nlater"), "{}", &text[990..]);
    }

    #[test]
    fn the_log_of_an_earlier_run_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        for _ in 0..2 {
            let mut log = ConsoleLog::create(&path, SMALL, Instant::now()).unwrap();
            log.append(&[b'x'; 100], Instant::now()).unwrap();
        }
        ConsoleLog::create(&path, SMALL, Instant::now()).unwrap();
        assert_eq!((read(&path, "").len(), read(&path, "mid").len(), read(&path, "end").len()), (0, 0, 0));
    }

    #[test]
    fn a_panic_is_found_at_the_end_and_made_harmless() {
        let tail = Tail::default();
        tail.push(b"[    0.1] booting\n");
        assert_eq!(tail.panic(), None);
        tail.push(&[b'.'; 10_000]);
        tail.push(b"\n[    0.5] Kernel panic - not syncing: Attempted\x1b[31m to kill init!\r\n[    0.5] Rebooting\n");
        assert_eq!(tail.panic().unwrap(), "Kernel panic - not syncing: Attempted\u{fffd}[31m to kill init!");
    }

    #[test]
    fn draining_goes_on_without_a_log() {
        let tail = Tail::default();
        let mut panics = 0;
        let console = b"Kernel panic[9]: segfault\nKernel panic - not syncing: x\nKernel panic - not syncing: y";
        drain(&console[..], None, &tail, || panics += 1);
        assert!(tail.panic().is_some());
        assert_eq!(panics, 1);
    }
}
