//! One connection: a guest's socket spliced to a local stream.
//!
//! ```text
//!   guest ──RW──▶ local stream, else backlog (at most BUFFER)      guest may have BUFFER bytes on the way: our credit
//!   guest ◀──RW── local stream, never buffered here                we send as the guest's credit allows
//!
//!   local stream ends           → SHUTDOWN(SEND), after its last byte
//!   local stream takes no more  → SHUTDOWN(RECEIVE); what the guest still sends is swallowed
//!   guest's SHUTDOWN(SEND)      → shutdown(2) for writing, after the backlog's last byte
//!   guest's SHUTDOWN(RECEIVE)   → shutdown(2) for reading
//!   guest's SHUTDOWN(both)      → RST, after the backlog's last byte (§5.10.6.5.3)
//!   guest's RST                 → the stream is closed, after the backlog's last byte
//!   guest breaks the rules      → RST at once
//! ```

use super::packet::{op, shut};
use super::stream::Stream;
use crate::queue::Buffers;
use hull_platform::wait::{Interest, Ready};
use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::num::Wrapping;
use vm_memory::Bytes;

/// What the guest may have on the way to us: the buffer that we advertise. As much as Linux gives a socket by default.
pub(super) const BUFFER: u32 = 256 << 10;

/// Most payload bytes in one packet to the guest: Linux's own limit.
const MAX_PAYLOAD: usize = 64 << 10;

/// A rule that the guest broke; the connection is reset for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation(pub(super) &'static str);

/// A packet for the guest, but for what only the hub knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) op: u16,
    pub(super) flags: u32,
    pub(super) len: usize,
    pub(super) fwd_cnt: u32,
}

/// What is owed to the guest. Debts add up to at most one of each kind, so a guest that takes no packets makes us hold
/// nothing more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Debts {
    response: bool,
    reset: bool,
    shutdown: u32,
    credit_update: bool,
    credit_request: bool,
}

/// One connection.
pub(super) struct Connection<S> {
    /// `None` once nothing more can go through it in either direction.
    stream: Option<S>,
    /// A stream that is to be taken out of the wait set and closed.
    released: Option<S>,
    /// What the wait set was last told.
    registered: Option<Interest>,
    /// Nothing of this connection exists for the guest any more.
    forgotten: bool,
    debts: Debts,
    /// Shutdown flags that we have sent.
    told: u32,
    /// Shutdown flags that the guest has sent.
    heard: u32,

    // Guest to host.
    received: Wrapping<u32>,
    forwarded: Wrapping<u32>,
    /// The `forwarded` that the guest knows of.
    announced: Wrapping<u32>,
    backlog: VecDeque<u8>,
    /// The local stream takes no more.
    refused: bool,

    // Host to guest.
    sent: Wrapping<u32>,
    peer_buffer: u32,
    peer_forwarded: Wrapping<u32>,
    /// Credit was asked for since the guest last gave some.
    asked: bool,
    /// A read is worth trying.
    readable: bool,
    /// The local stream gives no more.
    ended: bool,
    /// The local peer has gone altogether.
    hangup: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection that the guest has asked for; the response is owed.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream: Some(stream),
            released: None,
            registered: None,
            forgotten: false,
            debts: Debts { response: true, ..Debts::default() },
            told: 0,
            heard: 0,
            received: Wrapping(0),
            forwarded: Wrapping(0),
            announced: Wrapping(0),
            backlog: VecDeque::new(),
            refused: false,
            sent: Wrapping(0),
            peer_buffer: 0,
            peer_forwarded: Wrapping(0),
            asked: false,
            readable: false,
            ended: false,
            hangup: false,
        }
    }

    /// The credit that every packet of the guest carries.
    pub(super) fn credit(&mut self, buf_alloc: u32, fwd_cnt: u32) {
        self.peer_buffer = buf_alloc;
        self.peer_forwarded = Wrapping(fwd_cnt);
        if self.room_at_peer() > 0 {
            self.asked = false;
            self.debts.credit_request = false;
        }
    }

    /// Bytes that the guest has room for. A guest that claims to have forwarded more than it was sent gets nothing.
    fn room_at_peer(&self) -> usize {
        let on_the_way = (self.sent - self.peer_forwarded).0;
        usize::try_from(self.peer_buffer.saturating_sub(on_the_way)).unwrap_or(usize::MAX)
    }

    /// The guest wants to know its credit.
    pub(super) fn credit_asked(&mut self) {
        self.debts.credit_update = true;
    }

    /// A payload from the guest.
    pub(super) fn data(&mut self, mut payload: Buffers<'_>) -> Result<(), Violation> {
        if self.heard & shut::SEND != 0 {
            return Err(Violation("sent data after it had said that it would not"));
        }
        let held = u32::try_from(self.backlog.len().saturating_add(payload.len())).unwrap_or(u32::MAX);
        if held > BUFFER {
            return Err(Violation("sent more than its credit"));
        }
        // Fits: it is no more than `held`.
        self.received += Wrapping(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        if self.backlog.is_empty() {
            self.write(&mut payload);
        }
        if self.refused {
            self.forwarded = self.received;
        } else {
            append(&mut self.backlog, &payload).map_err(|_| Violation("moved its memory away"))?;
        }
        self.announce();
        Ok(())
    }

    fn write(&mut self, payload: &mut Buffers<'_>) {
        while let Some(stream) = &self.stream
            && !payload.is_empty()
        {
            match stream.send(payload) {
                Ok(count) if count > 0 => {
                    payload.skip(count);
                    self.forward(count);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return self.refuse(),
                _ => return,
            }
        }
    }

    fn forward(&mut self, count: usize) {
        // Fits: a write takes no more than it was given, which was held against BUFFER.
        self.forwarded += Wrapping(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Owes the guest a word about its credit if it may be waiting for one: it knows of less than half of the buffer.
    fn announce(&mut self) {
        let unknown = self.forwarded != self.announced;
        if unknown && (self.received - self.announced).0 > BUFFER / 2 {
            self.debts.credit_update = true;
        }
    }

    /// The local stream takes no more.
    fn refuse(&mut self) {
        if self.refused {
            return;
        }
        self.refused = true;
        self.backlog = VecDeque::new();
        self.forwarded = self.received;
        self.owe_shutdown(shut::RECEIVE);
        self.settle();
    }

    /// The local stream gives no more.
    fn end(&mut self) {
        self.ended = true;
        self.readable = false;
        self.owe_shutdown(shut::SEND);
        self.settle();
    }

    fn owe_shutdown(&mut self, flags: u32) {
        if !self.forgotten {
            self.debts.shutdown |= flags & !self.told;
        }
    }

    /// The guest's `SHUTDOWN`.
    pub(super) fn shut_down(&mut self, flags: u32) {
        let new = flags & shut::BOTH & !self.heard;
        self.heard |= new;
        if let Some(stream) = &self.stream {
            if new & shut::RECEIVE != 0 {
                stream.shutdown(Shutdown::Read);
                self.ended = true;
                self.readable = false;
            }
            if new & shut::SEND != 0 && self.backlog.is_empty() {
                stream.shutdown(Shutdown::Write);
            }
        }
        self.settle();
    }

    /// The guest's `RST`. What it sent before was acknowledged, so it is still delivered: Linux sends this also when a
    /// closing socket's time has run out, while we wait for a slow reader.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
        self.debts = Debts::default();
        self.shut_down(shut::BOTH);
    }

    /// Ends the connection at once, for something that the guest did or that went wrong here.
    pub(super) fn reset(&mut self) {
        self.backlog = VecDeque::new();
        self.release();
        // The ports of a forgotten one may be another's by now.
        self.debts = Debts { reset: !self.forgotten, ..Debts::default() };
    }

    /// Whether it was reset, or is about to answer the guest's own end with a reset.
    pub(super) fn is_doomed(&self) -> bool {
        self.debts.reset
    }

    /// Draws the conclusions once both directions have ended.
    fn settle(&mut self) {
        if self.heard == shut::BOTH && self.backlog.is_empty() {
            self.release();
            if !self.forgotten {
                self.debts = Debts { reset: true, ..Debts::default() };
            }
        } else if self.ended && self.refused {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.released = Some(stream);
        }
        self.readable = false;
    }

    /// The wait set found the stream ready.
    pub(super) fn ready(&mut self, ready: &Ready) {
        if ready.hangup {
            self.hangup = true;
            self.refuse();
        }
        if (ready.readable || ready.hangup) && self.stream.is_some() && !self.ended {
            self.readable = true;
        }
        if ready.writable && !self.backlog.is_empty() {
            self.flush();
        }
    }

    /// Writes the backlog as far as the stream takes it.
    fn flush(&mut self) {
        while let Some(stream) = &self.stream {
            let (front, _) = self.backlog.as_slices();
            if front.is_empty() {
                break;
            }
            match stream.send_bytes(front) {
                Ok(count) if count > 0 => {
                    self.backlog.drain(..count);
                    self.forward(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return self.refuse(),
                _ => break,
            }
        }
        self.announce();
        if !self.backlog.is_empty() {
            return;
        }
        // The memory goes back: most connections never need it again.
        self.backlog = VecDeque::new();
        if self.heard & shut::SEND != 0 {
            if let Some(stream) = &self.stream {
                stream.shutdown(Shutdown::Write);
            }
            self.settle();
        }
    }

    /// Whether a packet can be sent to the guest. Notices, too, that credit has to be asked for.
    pub(super) fn has_packet(&mut self) -> bool {
        if self.readable && self.room_at_peer() == 0 && !self.asked && !self.forgotten {
            self.asked = true;
            self.debts.credit_request = true;
        }
        self.debts != Debts::default() || (self.readable && self.room_at_peer() > 0)
    }

    /// The next packet, whose payload is in `room` already; `None` if there is none after all.
    pub(super) fn packet(&mut self, room: &mut Buffers<'_>) -> Option<Outgoing> {
        let (op, flags, len) = match self.control() {
            Some((op, flags)) => (op, flags, 0),
            None => match self.payload(room) {
                0 => self.control().map(|(op, flags)| (op, flags, 0))?,
                len => (op::RW, 0, len),
            },
        };
        // Every packet carries our credit.
        self.announced = self.forwarded;
        self.debts.credit_update = false;
        Some(Outgoing { op, flags, len, fwd_cnt: self.forwarded.0 })
    }

    fn control(&mut self) -> Option<(u16, u32)> {
        let debts = &mut self.debts;
        if debts.reset {
            *debts = Debts::default();
            self.forgotten = true;
            return Some((op::RST, 0));
        }
        if debts.response {
            debts.response = false;
            return Some((op::RESPONSE, 0));
        }
        if debts.shutdown != 0 {
            self.told |= debts.shutdown;
            debts.shutdown = 0;
            return Some((op::SHUTDOWN, self.told));
        }
        if debts.credit_update {
            return Some((op::CREDIT_UPDATE, 0));
        }
        if debts.credit_request {
            debts.credit_request = false;
            return Some((op::CREDIT_REQUEST, 0));
        }
        None
    }

    /// Reads into `room` what the guest's credit allows; 0 if nothing can be read now.
    fn payload(&mut self, room: &mut Buffers<'_>) -> usize {
        let limit = self.room_at_peer().min(MAX_PAYLOAD);
        let Some(stream) = self.stream.as_ref().filter(|_| self.readable && limit > 0) else { return 0 };
        let room = room.split(limit);
        match stream.receive(&room) {
            Ok(0) => self.end(),
            Ok(count) => {
                // Fits: no more than MAX_PAYLOAD.
                self.sent += Wrapping(u32::try_from(count).unwrap_or(u32::MAX));
                // A short read has most likely emptied the stream; if not, the wait set says so at once. After a
                // hang-up nobody watches any more, and the end is still to be read.
                self.readable = count == room.len() || self.hangup;
                return count;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.hangup => self.readable = false,
            Err(_) => {
                self.refuse();
                self.end();
            }
        }
        0
    }

    /// What the wait set should watch; `None` to leave the stream out.
    pub(super) fn interest(&self) -> Option<Interest> {
        if self.hangup || self.stream.is_none() {
            return None;
        }
        Some(Interest { readable: !self.ended && !self.readable, writable: !self.backlog.is_empty() })
    }

    /// The stream, and the interest that the wait set has, for the hub to bring up to date.
    pub(super) fn registration(&mut self) -> (Option<&S>, &mut Option<Interest>) {
        (self.stream.as_ref(), &mut self.registered)
    }

    /// A stream that is no longer needed, and whether the wait set has it.
    pub(super) fn take_released(&mut self) -> Option<(S, bool)> {
        self.released.take().map(|stream| (stream, self.registered.take().is_some()))
    }

    /// Forgets what was told to a wait set that is gone.
    pub(super) fn unregister(&mut self) {
        self.registered = None;
    }

    /// Whether the guest has nothing to do with it any more: its ports are free.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether nothing is left of it.
    pub(super) fn is_over(&self) -> bool {
        self.forgotten && self.stream.is_none()
    }

    /// Bytes held because the stream is slow, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Whether it only waits for the guest to confirm its end.
    pub(super) fn is_spent(&self) -> bool {
        self.stream.is_none() && self.debts == Debts::default()
    }
}

fn append(backlog: &mut VecDeque<u8>, payload: &Buffers<'_>) -> Result<(), vm_memory::GuestMemoryError> {
    let mut chunk = [0; 4096];
    for slice in payload.slices() {
        let slice = slice?;
        let mut done = 0;
        while done < slice.len() {
            let count = slice.read(&mut chunk, done)?;
            backlog.extend(&chunk[..count]);
            done += count;
        }
    }
    Ok(())
}
