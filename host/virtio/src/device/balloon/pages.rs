//! What a guest says of its pages on the three queues.

use super::Release;
use crate::queue::{Buffers, Chain, Queue, QueueError, QueueHandler};
use std::sync::Arc;

/// A page of the balloon (§5.5.6), whatever the guest's own are.
const PAGE: u64 = 4096;

/// Most page numbers that are read of one request; Linux sends 256. What a guest names beyond that stays its own.
const MOST_PAGES: usize = 1024;

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Page numbers that go into the balloon (§5.5.6).
    Inflate,
    /// Page numbers that come out of it: memory that is touched is there again, so nothing is to be done.
    Deflate,
    /// Buffers of the device's own choice to keep or lose (§5.5.6.7.2).
    Report,
}

/// Serves one of the queues.
pub(super) struct PagesHandler {
    kind: Kind,
    release: Arc<dyn Release>,
    chain: Chain,
}

impl PagesHandler {
    pub(super) fn new(kind: Kind, release: Arc<dyn Release>) -> Self {
        Self { kind, release, chain: Chain::default() }
    }

    /// Releases numbered pages, neighbours together.
    fn inflate(&self, mut numbers: Buffers<'_>) -> Result<(), QueueError> {
        let mut numbers = numbers.split(MOST_PAGES * size_of::<u32>());
        let mut run = Run::default();
        let mut bytes = [0; 4];
        while numbers.len() >= bytes.len() {
            let moved = |_| QueueError::Request { head: self.chain.head(), problem: "moved its memory away" };
            numbers.read(&mut bytes).map_err(moved)?;
            let page = u64::from(u32::from_le_bytes(bytes));
            if !run.extend(page) {
                self.release_run(run);
                run = Run { start: page, end: page + 1 };
            }
        }
        self.release_run(run);
        Ok(())
    }

    fn release_run(&self, run: Run) {
        if run.start < run.end {
            // Cannot overflow: page numbers have 32 bits.
            self.release.release(run.start * PAGE, (run.end - run.start) * PAGE);
        }
    }

    fn report(&self) {
        for (address, length) in self.chain.writable_ranges() {
            self.release.release(address, length as u64);
        }
    }
}

impl QueueHandler for PagesHandler {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        if !queue.pop(&mut self.chain)? {
            return Ok(false);
        }
        match self.kind {
            Kind::Inflate => self.inflate(self.chain.readable(queue.memory()))?,
            Kind::Deflate => {}
            Kind::Report => self.report(),
        }
        // Only now: once it has the buffer back, the guest may use these pages again.
        queue.push(self.chain.head(), 0)?;
        Ok(true)
    }
}

/// Pages that follow each other.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    start: u64,
    end: u64,
}

impl Run {
    /// Takes a page in if it is a neighbour; an allocator gives them out in either direction.
    fn extend(&mut self, page: u64) -> bool {
        if self.start == self.end {
            *self = Self { start: page, end: page + 1 };
        } else if page == self.end {
            self.end += 1;
        } else if page + 1 == self.start {
            self.start = page;
        } else {
            return false;
        }
        true
    }
}
