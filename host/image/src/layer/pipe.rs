//! A pipe between two threads that carries large buffers: bounded, and the buffers go round.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// The size of a buffer.
pub const BUFFER: usize = 256 << 10;

/// How many buffers are under way at most.
const DEPTH: usize = 4;

/// The end that is written to; the stream ends when it is dropped.
#[derive(Debug)]
pub struct PipeWriter {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// The end that is read from.
#[derive(Debug)]
pub struct PipeReader<T> {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    /// Is told of every buffer that comes.
    tap: T,
}

/// Nobody reads any more.
#[derive(Debug)]
pub struct Closed;

/// Makes a pipe whose reader tells `tap` of everything that comes.
pub fn pipe<T: FnMut(&[u8])>(tap: T) -> (PipeWriter, PipeReader<T>) {
    let (full, full_receiver) = sync_channel(DEPTH);
    let (empty_sender, empty) = channel();
    for _ in 0..=DEPTH {
        empty_sender.send(vec![0; BUFFER]).expect("the receiver is there");
    }
    let reader = PipeReader { full: full_receiver, empty: empty_sender, current: Vec::new(), position: 0, tap };
    (PipeWriter { full, empty }, reader)
}

impl PipeWriter {
    /// Sends what `fill` puts into a buffer. An empty buffer is not sent, and answered with `false`.
    pub fn send<E: From<Closed>>(&mut self, fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<bool, E> {
        let mut buffer = self.empty.recv().map_err(|_| Closed)?;
        buffer.resize(BUFFER, 0);
        let length = fill(&mut buffer)?;
        if length == 0 {
            return Ok(false);
        }
        buffer.truncate(length);
        self.full.send(buffer).map_err(|_| Closed)?;
        Ok(true)
    }
}

impl<T: FnMut(&[u8])> BufRead for PipeReader<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len()
            && let Ok(next) = self.full.recv()
        {
            (self.tap)(&next);
            let used = std::mem::replace(&mut self.current, next);
            self.position = 0;
            // The writer may have ended: then nobody needs it.
            if used.capacity() > 0 {
                drop(self.empty.send(used));
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, bytes: usize) {
        self.position = (self.position + bytes).min(self.current.len());
    }
}

impl<T: FnMut(&[u8])> Read for PipeReader<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let length = piece.len().min(buffer.len());
        buffer[..length].copy_from_slice(&piece[..length]);
        self.consume(length);
        Ok(length)
    }
}
