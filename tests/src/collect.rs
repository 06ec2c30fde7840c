//! Collects what a program writes while others wait for parts of it.

use anyhow::{Result, bail};
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The output of one descriptor, filled by a thread of its own, which ends with the output.
#[derive(Clone)]
pub(crate) struct Collected(Arc<(Mutex<Output>, Condvar)>);

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    ended: bool,
}

impl Collected {
    /// Starts to collect.
    pub(crate) fn from(mut source: impl Read + Send + 'static) -> Self {
        let collected = Self(Arc::default());
        let ours = collected.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 64 << 10];
            // A pseudo-terminal reports its end as an error.
            while let Ok(length @ 1..) = source.read(&mut chunk) {
                ours.update(|output| output.bytes.extend_from_slice(&chunk[..length]));
            }
            ours.update(|output| output.ended = true);
        });
        collected
    }

    fn lock(&self) -> MutexGuard<'_, Output> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Output)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// What has come so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Waits until the output holds `text` at or after byte `from`; returns the position after it.
    pub(crate) fn wait_for(&self, text: &str, from: usize, limit: Duration) -> Result<usize> {
        let found = |bytes: &[u8]| {
            let rest = bytes.get(from..)?;
            rest.windows(text.len()).position(|window| window == text.as_bytes()).map(|at| from + at + text.len())
        };
        let output = self.wait_while(limit, |output| !output.ended && found(&output.bytes).is_none());
        match found(&output.bytes) {
            Some(position) => Ok(position),
            None => bail!("no {text:?} within {limit:?} in {:?}", String::from_utf8_lossy(&output.bytes)),
        }
    }

    /// Everything, once the output has ended; `None` if something still holds it open after `limit`.
    pub(crate) fn whole(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut output = self.wait_while(limit, |output| !output.ended);
        output.ended.then(|| std::mem::take(&mut output.bytes))
    }

    fn wait_while(&self, limit: Duration, waiting: impl Fn(&Output) -> bool) -> MutexGuard<'_, Output> {
        let deadline = Instant::now() + limit;
        let mut output = self.lock();
        while waiting(&output) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            output = self.0.1.wait_timeout(output, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        output
    }
}
