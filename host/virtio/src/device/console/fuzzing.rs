//! Text in a memory that the input has written, and an output that takes as much as the input says.

use super::handler::{ConsoleHandler, PATIENCE};
use super::output::Output;
use crate::fuzzing::{Input, LAYOUT, memory};
use crate::queue::{Buffers, Queue, QueueHandler};
use std::cell::Cell;
use std::io;
use std::time::Instant;

/// Most turns of one input.
const TURNS: usize = 64;

/// Takes a number of bytes that is part of the input, then the next.
struct Moods {
    moods: [u8; 16],
    turn: Cell<usize>,
}

impl Output for Moods {
    fn write(&self, text: &Buffers<'_>) -> io::Result<usize> {
        let mood = self.moods[self.turn.get() % self.moods.len()];
        self.turn.set(self.turn.get() + 1);
        match mood {
            0..=63 => Err(io::ErrorKind::WouldBlock.into()),
            64 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(text.len().min(usize::from(mood) * 16)),
        }
    }
}

/// Serves the transmit queue.
pub fn console(input: &[u8]) {
    let mut input = Input::new(input);
    let features = u64::from(input.u8()) << 28;
    let (moods, events) = (input.array(), input.u64());
    let Ok(mut queue) = Queue::new(memory(input.rest()), LAYOUT, features, 0) else { return };
    let mut handler = ConsoleHandler::new(Moods { moods, turn: Cell::new(0) });
    for turn in 0..TURNS {
        match events >> turn & 1 {
            0 => assert!(handler.pause_at(Instant::now() + 2 * PATIENCE).is_none(), "patience has an end"),
            _ => handler.output_is_ready(),
        }
        match handler.serve_one(&mut queue) {
            Ok(true) => {}
            Ok(false) if handler.awaits_output() => {}
            Ok(false) | Err(_) => return,
        }
    }
    // Whatever it was at, a stop finds an end.
    let _ = handler.give_up(&mut queue);
}
