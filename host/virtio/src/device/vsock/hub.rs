//! All connections of the device, and what goes through its two queues.

use super::connection::{Connection, Outgoing, Violation};
use super::packet::{HEADER, HOST_CID, Header, STREAM, op, room};
use super::stream::Stream;
use crate::queue::{Buffers, Chain, Queue, QueueError};
use crate::tally::Tally;
use crate::worker::FIRST_TOKEN;
use hull_platform::wait::{Interest, Ready};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most connections at a time. Each needs a stream that the host has handed over; this bounds what a host that hands
/// over without end would hold.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// Most resets owed for packets that belong to no connection. When as many are owed, nothing more is taken from the guest
/// until it has taken some: a guest that provides no buffers can make us hold no more.
pub(super) const MAX_STRAYS: usize = 256;

/// Streams that wait for the guest to dial a port. Clones are the same.
#[derive(Debug)]
pub(super) struct Expected<S>(Arc<Mutex<HashMap<u32, S>>>);

impl<S> Default for Expected<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Clone for Expected<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Expected<S> {
    /// False if one is expected on this port already.
    pub(super) fn add(&self, port: u32, stream: S) -> bool {
        let mut streams = self.lock();
        if streams.contains_key(&port) {
            return false;
        }
        streams.insert(port, stream);
        true
    }

    pub(super) fn take(&self, port: u32) -> Option<S> {
        self.lock().remove(&port)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What names a connection: the CIDs are always the guest's and the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ports {
    guest: u32,
    host: u32,
}

/// A reset for a packet that belongs to no connection.
#[derive(Debug, Clone, Copy)]
struct Stray {
    ports: Ports,
    kind: u16,
}

/// What came of trying to give the guest a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// It got one.
    Packet,
    /// There is none for it.
    Nothing,
    /// There is one, but no buffer for it.
    NoBuffer,
}

/// Where streams are watched. The thread-free half of a wait set, so that tests can stand in for it.
pub(super) trait Watch<S> {
    /// Brings the watch of a stream from `old` to `new`; `None` means not at all.
    fn watch(&mut self, id: u64, stream: &S, old: Option<Interest>, new: Option<Interest>) -> io::Result<()>;
}

struct Slot<S> {
    ports: Ports,
    connection: Connection<S>,
    /// It stands in `outbox`.
    queued: bool,
    /// It stands in `touched`.
    touched: bool,
}

/// The connections.
pub(super) struct Hub<S> {
    guest_cid: u64,
    expected: Expected<S>,
    slots: HashMap<u64, Slot<S>>,
    by_ports: HashMap<Ports, u64>,
    /// Never used twice, so that an event of a stream that has gone means nothing.
    next_id: u64,
    /// Connections that may have a packet for the guest, each once: they take turns.
    outbox: VecDeque<u64>,
    strays: VecDeque<Stray>,
    /// Connections whose watch may have to change.
    touched: Vec<u64>,
    /// Streams to stop watching and close.
    released: Vec<(u64, S)>,
    rx: Chain,
    tx: Chain,
    spoofed: Tally,
    violations: Tally,
}

impl<S: Stream> Hub<S> {
    /// The tokens from here on are connections.
    pub(super) const FIRST_ID: u64 = FIRST_TOKEN + 2;

    pub(super) fn new(guest_cid: u32, expected: Expected<S>) -> Self {
        Self {
            guest_cid: guest_cid.into(),
            expected,
            slots: HashMap::new(),
            by_ports: HashMap::new(),
            next_id: Self::FIRST_ID,
            outbox: VecDeque::new(),
            strays: VecDeque::new(),
            touched: Vec::new(),
            released: Vec::new(),
            rx: Chain::default(),
            tx: Chain::default(),
            spoofed: Tally::default(),
            violations: Tally::default(),
        }
    }

    /// Whether nothing is taken from the guest until it has taken something.
    pub(super) fn is_paused(&self) -> bool {
        self.strays.len() >= MAX_STRAYS
    }

    /// Takes one packet from the guest; false if there is none, or while paused.
    pub(super) fn take(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        let mut chain = std::mem::take(&mut self.tx);
        let taken = self.take_into(&mut chain, queue);
        self.tx = chain;
        taken
    }

    fn take_into(&mut self, chain: &mut Chain, queue: &mut Queue) -> Result<bool, QueueError> {
        if self.is_paused() || !queue.pop(chain)? {
            return Ok(false);
        }
        let malformed = |problem| QueueError::Request { head: chain.head(), problem };
        let mut rest = chain.readable(queue.memory());
        let header = Header::read(&mut rest).ok_or_else(|| malformed("has no room for a packet header"))?;
        let length = usize::try_from(header.len).unwrap_or(usize::MAX);
        let payload = rest.split(length);
        if payload.len() < length {
            return Err(malformed("is shorter than its packet"));
        }
        self.packet(&header, payload);
        queue.push(chain.head(), 0)?;
        Ok(true)
    }

    fn packet(&mut self, header: &Header, payload: Buffers<'_>) {
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            if let Some(count) = self.spoofed.count() {
                log::warn!("vsock: ignored {count} packets with a CID that is not the guest's or not the host's");
            }
            return;
        }
        let ports = Ports { guest: header.src_port, host: header.dst_port };
        if header.kind != STREAM {
            return self.stray(ports, header);
        }
        match self.by_ports.get(&ports) {
            Some(&id) => self.for_connection(id, header, payload),
            None if header.op == op::REQUEST => self.request(ports, header),
            None => self.stray(ports, header),
        }
    }

    /// Owes a reset for a packet that belongs nowhere, unless it is one itself.
    fn stray(&mut self, ports: Ports, header: &Header) {
        if header.op != op::RST {
            self.strays.push_back(Stray { ports, kind: header.kind });
        }
    }

    fn request(&mut self, ports: Ports, header: &Header) {
        if self.slots.len() >= MAX_CONNECTIONS {
            self.drop_spent();
        }
        let full = self.slots.len() >= MAX_CONNECTIONS;
        let Some(stream) = (if full { None } else { self.expected.take(ports.host) }) else {
            return self.stray(ports, header);
        };
        let id = self.next_id;
        self.next_id += 1;
        let mut connection = Connection::new(stream);
        connection.credit(header.buf_alloc, header.fwd_cnt);
        self.slots.insert(id, Slot { ports, connection, queued: false, touched: false });
        self.by_ports.insert(ports, id);
        self.update(id);
    }

    /// Makes room by forgetting connections of which the guest owes only a confirmation.
    fn drop_spent(&mut self) {
        let spent = |slot: &Slot<S>| slot.connection.is_spent() && !slot.connection.is_forgotten();
        let by_ports = &mut self.by_ports;
        self.slots.retain(|_, slot| {
            let spent = spent(slot);
            if spent {
                by_ports.remove(&slot.ports);
            }
            !spent
        });
    }

    fn for_connection(&mut self, id: u64, header: &Header, payload: Buffers<'_>) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let (ports, connection) = (slot.ports, &mut slot.connection);
        if header.op == op::REQUEST && connection.is_spent() {
            // The guest has forgotten it without a word and uses the port again.
            connection.forget();
            self.update(id);
            return self.request(ports, header);
        }
        if connection.is_doomed() && header.op != op::RST {
            return;
        }
        connection.credit(header.buf_alloc, header.fwd_cnt);
        let result = match header.op {
            op::RW => connection.data(payload),
            op::CREDIT_UPDATE => Ok(()),
            op::CREDIT_REQUEST => {
                connection.credit_asked();
                Ok(())
            }
            op::SHUTDOWN => {
                connection.shut_down(header.flags);
                Ok(())
            }
            op::RST => {
                connection.forget();
                Ok(())
            }
            op::REQUEST => Err(Violation("opened a connection twice")),
            op::RESPONSE => Err(Violation("accepted a connection that nobody asked for")),
            _ => Err(Violation("sent an unknown operation")),
        };
        if let Err(Violation(what)) = result {
            connection.reset();
            if let Some(count) = self.violations.count() {
                log::warn!("vsock: reset {count} connections for violations; the last: the guest {what}");
            }
        }
        self.update(id);
    }

    /// Gives one packet to the guest.
    pub(super) fn give(&mut self, queue: &mut Queue) -> Result<Given, QueueError> {
        if let Some(&stray) = self.strays.front() {
            return self.give_reset(stray, queue);
        }
        while let Some(&id) = self.outbox.front() {
            let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.queued) else {
                self.outbox.pop_front();
                continue;
            };
            let has_packet = slot.connection.has_packet();
            if has_packet && !queue.pop(&mut self.rx)? {
                return Ok(Given::NoBuffer);
            }
            let given = has_packet && give_packet(&self.rx, queue, self.guest_cid, slot)?;
            slot.queued = false;
            self.outbox.pop_front();
            self.update(id);
            if given {
                return Ok(Given::Packet);
            }
        }
        Ok(Given::Nothing)
    }

    fn give_reset(&mut self, stray: Stray, queue: &mut Queue) -> Result<Given, QueueError> {
        if !queue.pop(&mut self.rx)? {
            return Ok(Given::NoBuffer);
        }
        let header = Header { op: op::RST, kind: stray.kind, ..to_guest(self.guest_cid, stray.ports) };
        put_header(&self.rx, queue, header, 0)?;
        self.strays.pop_front();
        Ok(Given::Packet)
    }

    /// The stream of a connection is ready.
    pub(super) fn ready(&mut self, ready: &Ready) {
        if let Some(slot) = self.slots.get_mut(&ready.token) {
            slot.connection.ready(ready);
            self.update(ready.token);
        }
    }

    /// Draws the conclusions after a connection has changed.
    fn update(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        if let Some((stream, watched)) = slot.connection.take_released()
            && watched
        {
            self.released.push((id, stream));
        }
        if slot.connection.is_forgotten() && self.by_ports.get(&slot.ports) == Some(&id) {
            self.by_ports.remove(&slot.ports);
        }
        if slot.connection.is_over() {
            self.slots.remove(&id);
            return;
        }
        if !slot.queued && slot.connection.has_packet() {
            slot.queued = true;
            self.outbox.push_back(id);
        }
        if !slot.touched {
            slot.touched = true;
            self.touched.push(id);
        }
    }

    /// Watches all streams afresh, with a wait set that knows none of them.
    pub(super) fn watch_all(&mut self, watch: &mut impl Watch<S>) {
        self.released.clear();
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        for id in ids {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.connection.unregister();
            }
            self.update(id);
        }
        self.update_watch(watch);
    }

    /// Has streams watched as their connections need it now.
    pub(super) fn update_watch(&mut self, watch: &mut impl Watch<S>) {
        while let Some(id) = self.touched.pop() {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.touched = false;
            let wanted = slot.connection.interest();
            let (Some(stream), registered) = slot.connection.registration() else { continue };
            if wanted == *registered {
                continue;
            }
            match watch.watch(id, stream, *registered, wanted) {
                Ok(()) => *registered = wanted,
                Err(error) => {
                    log::warn!("vsock: cannot watch a stream, so its connection is reset: {error}");
                    slot.connection.reset();
                    self.update(id);
                }
            }
        }
        for (id, stream) in self.released.drain(..) {
            if let Err(error) = watch.watch(id, &stream, Some(Interest::NONE), None) {
                log::warn!("vsock: cannot stop watching a stream: {error}");
            }
        }
    }

    /// Number of connections, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What is noted of connections in lists of any kind, for tests.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let lists =
            [self.by_ports.len(), self.outbox.len(), self.strays.len(), self.touched.len(), self.released.len()];
        lists.iter().sum()
    }

    /// Bytes held for slow streams, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn backlog(&self) -> usize {
        self.slots.values().map(|slot| slot.connection.backlog()).sum()
    }
}

/// Gives the next packet of a connection; false if it has none after all, and the buffer stays with the guest.
fn give_packet<S: Stream>(
    chain: &Chain,
    queue: &mut Queue,
    guest_cid: u64,
    slot: &mut Slot<S>,
) -> Result<bool, QueueError> {
    let (_, mut payload) = room(chain.head(), chain.writable(queue.memory()))?;
    let Some(Outgoing { op, flags, len, fwd_cnt }) = slot.connection.packet(&mut payload) else {
        queue.undo_pop();
        return Ok(false);
    };
    let header = Header {
        op,
        flags,
        fwd_cnt,
        kind: STREAM,
        buf_alloc: super::connection::BUFFER,
        ..to_guest(guest_cid, slot.ports)
    };
    put_header(chain, queue, header, len)?;
    Ok(true)
}

fn to_guest(guest_cid: u64, ports: Ports) -> Header {
    Header { src_cid: HOST_CID, dst_cid: guest_cid, src_port: ports.host, dst_port: ports.guest, ..Header::default() }
}

fn put_header(chain: &Chain, queue: &mut Queue, header: Header, len: usize) -> Result<(), QueueError> {
    let (mut front, _) = room(chain.head(), chain.writable(queue.memory()))?;
    // Fits: a payload is at most 64 KiB.
    let header = Header { len: u32::try_from(len).unwrap_or(u32::MAX), ..header };
    front
        .write(&header.to_bytes())
        .map_err(|_| QueueError::Request { head: chain.head(), problem: "moved its memory away" })?;
    queue.push(chain.head(), HEADER + len)
}
