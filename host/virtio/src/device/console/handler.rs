//! The guest's text on its way to the output.
//!
//! ```text
//!            output full                PATIENCE is over
//!   Open ──────────────────▶ Waiting ──────────────────────▶ Losing
//!    ▲                          │ output ready                  │ output ready
//!    └──────────────────────────┴───────────────────────────────┘
//!   any ── output failed ──▶ Gone
//! ```

use super::output::Output;
use crate::queue::{Chain, Queue, QueueError, QueueHandler};
use crate::tally::Tally;
use std::io;
use std::time::{Duration, Instant};

/// How long the guest waits for an output that is full, once. Linux reports a CPU that is stuck only after 20 s.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// Most bytes of one chain: twice what Linux puts into one. The rest is lost.
const MOST: usize = 64 << 10;

/// What the output does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Waiting { until: Instant },
    Losing,
    Gone,
}

/// Serves the transmit queue.
pub(crate) struct ConsoleHandler<O> {
    output: O,
    chain: Chain,
    /// A chain is at hand, of which this many bytes are written.
    written: Option<usize>,
    flow: Flow,
    lost: u64,
    losses: Tally,
}

impl<O: Output> ConsoleHandler<O> {
    pub(crate) fn new(output: O) -> Self {
        Self { output, chain: Chain::default(), written: None, flow: Flow::Open, lost: 0, losses: Tally::default() }
    }

    /// The output.
    pub(super) fn output(&self) -> &O {
        &self.output
    }

    /// Whether it matters when the output becomes ready.
    pub(crate) fn awaits_output(&self) -> bool {
        matches!(self.flow, Flow::Waiting { .. } | Flow::Losing)
    }

    /// The output takes text again.
    pub(crate) fn output_is_ready(&mut self) {
        if !self.awaits_output() {
            return;
        }
        self.flow = Flow::Open;
        if self.lost > 0
            && let Some(count) = self.losses.count()
        {
            log::warn!("console: {} bytes were lost, for the {count}. time: nobody read them", self.lost);
        }
        self.lost = 0;
    }

    /// The output will not take text ever again.
    pub(crate) fn output_has_gone(&mut self) {
        self.flow = Flow::Gone;
    }

    /// Loses what is left of the chain at hand, because the queue is to be stopped.
    pub(super) fn give_up(&mut self, queue: &mut Queue) -> Result<(), QueueError> {
        match self.written.take() {
            Some(_) => queue.push(self.chain.head(), 0),
            None => Ok(()),
        }
    }

    /// Until when nothing can be done; notices if patience is over.
    pub(super) fn pause_at(&mut self, now: Instant) -> Option<Instant> {
        match self.flow {
            Flow::Waiting { until } if now < until => Some(until),
            Flow::Waiting { .. } => {
                self.flow = Flow::Losing;
                None
            }
            _ => None,
        }
    }

    /// Goes on with the chain at hand; whether it is done with.
    pub(super) fn go_on(&mut self, queue: &Queue, now: Instant) -> bool {
        let mut text = self.chain.readable(queue.memory());
        let length = text.len();
        let mut written = self.written.unwrap_or(0);
        text = text.split(MOST);
        text.skip(written);
        while !text.is_empty() && matches!(self.flow, Flow::Open) {
            match self.output.write(&text) {
                Ok(0) => self.flow = Flow::Gone,
                Ok(count) => {
                    text.skip(count);
                    written += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.flow = Flow::Waiting { until: now + PATIENCE };
                }
                Err(error) => {
                    log::warn!("console: its output is given up: {error}");
                    self.flow = Flow::Gone;
                }
            }
        }
        let waiting = matches!(self.flow, Flow::Waiting { .. });
        self.written = waiting.then_some(written);
        if !waiting {
            self.lost = self.lost.saturating_add(length.saturating_sub(written) as u64);
        }
        !waiting
    }
}

impl<O: Output + Send + 'static> QueueHandler for ConsoleHandler<O> {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        if self.written.is_none() && !queue.pop(&mut self.chain)? {
            return Ok(false);
        }
        let done = self.go_on(queue, Instant::now());
        if done {
            queue.push(self.chain.head(), 0)?;
        }
        Ok(done)
    }

    fn pause(&mut self) -> Option<Instant> {
        self.pause_at(Instant::now())
    }
}
