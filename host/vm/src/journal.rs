//! The log of a shim and its vmm: lines on standard error, which is the VM's `shim.log`.
//!
//! It is for whoever looks for a fault, so it is short: warnings and errors, or what `HULL_LOG` names (`error`, `warn`,
//! `info`, `debug`, `trace`). A process writes a MiB at most: a guest that finds something to complain about must not
//! fill the host's disk.

use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

const MOST: usize = 1 << 20;

struct Journal {
    role: &'static str,
    written: AtomicUsize,
}

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        let now = jiff::Timestamp::now();
        let line = format!("{now:.3} {} {level}: {}\n", self.role, record.args());
        let before = self.written.fetch_add(line.len(), Ordering::Relaxed);
        let line = match before {
            before if before >= MOST => return,
            before if before + line.len() >= MOST => "the log is full; nothing more is written\n".to_owned(),
            _ => line,
        };
        // There is nobody to tell if this fails. One write, so that lines of the two processes do not mix.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Begins to write log lines, for the process with this role.
pub fn begin(role: &'static str) {
    let level = std::env::var("HULL_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::Warn);
    // A second call, as in tests, changes nothing.
    if log::set_logger(Box::leak(Box::new(Journal { role, written: AtomicUsize::new(0) }))).is_ok() {
        log::set_max_level(level);
    }
}
