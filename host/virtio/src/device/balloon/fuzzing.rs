//! Page numbers and reports in a memory that the input has written.

use super::pages::PagesHandler;
use super::{KINDS, Release};
use crate::fuzzing::{Input, LAYOUT, memory};
use crate::queue::{Queue, QueueHandler};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most requests of one input.
const REQUESTS: usize = 32;

/// Counts what it is asked to do.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Release for Counter {
    fn release(&self, _: u64, length: u64) {
        assert!(length > 0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves one of the queues.
pub fn balloon(input: &[u8]) {
    let mut input = Input::new(input);
    let (kind, features) = (input.pick(&KINDS), u64::from(input.u8()) << 28);
    let Ok(mut queue) = Queue::new(memory(input.rest()), LAYOUT, features, 0) else { return };
    let counter = Arc::new(Counter::default());
    let mut handler = PagesHandler::new(kind, Arc::clone(&counter) as _);
    for _ in 0..REQUESTS {
        let served = handler.serve_one(&mut queue);
        let calls = counter.0.swap(0, Ordering::Relaxed);
        assert!(calls <= 1024, "one request is bounded work");
        if !matches!(served, Ok(true)) {
            return;
        }
    }
}
