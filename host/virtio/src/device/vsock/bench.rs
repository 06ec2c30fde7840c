//! A hub, the guest's side of its two queues, and streams that hold what a test says.

use crate::device::vsock::hub::{Expected, Given, Hub, Watch};
use crate::device::vsock::packet::{HEADER, Header, STREAM, op};
use crate::device::vsock::stream;
use crate::queue::driver::{BUFFERS, Driver, readable, writable};
use crate::queue::{Buffers, Queue, QueueError};
use hull_platform::wait::{Interest, Ready};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard};

/// A host port.
pub(super) const PORT: u32 = 5000;
/// A guest port.
pub(super) const GUEST_PORT: u32 = 77;
/// The buffer that the guest says it has.
pub(super) const CREDIT: u32 = 128 << 10;

/// Size of the guest's receive buffers; Linux's are of about this size.
const RX_BUFFER: u32 = 4096;
const RX_BUFFERS: u64 = 32;

/// A packet from the guest on the first connection.
pub(super) fn to_host(op: u16) -> Header {
    let src_port = GUEST_PORT;
    Header {
        src_cid: 3,
        dst_cid: 2,
        src_port,
        dst_port: PORT,
        kind: STREAM,
        op,
        buf_alloc: CREDIT,
        ..Header::default()
    }
}

/// The guest dials.
pub(super) fn request(host: u32, guest: u32) -> Header {
    Header { src_port: guest, dst_port: host, ..to_host(op::REQUEST) }
}

#[derive(Debug, Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    ended: bool,
    outgoing: Vec<u8>,
    room: usize,
    failure: Option<io::ErrorKind>,
    shutdowns: Vec<Shutdown>,
}

/// A local stream. Clones are the same; the hub has one.
#[derive(Debug, Clone)]
pub(super) struct Stream(Arc<Mutex<Pipe>>);

impl Stream {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Pipe { room: usize::MAX, ..Pipe::default() })))
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap()
    }

    /// The local peer writes.
    pub(super) fn give(&self, bytes: &[u8]) {
        self.pipe().incoming.extend(bytes);
    }

    /// The local peer ends its direction.
    pub(super) fn end(&self) {
        self.pipe().ended = true;
    }

    /// The local peer reads everything.
    pub(super) fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut self.pipe().outgoing)
    }

    /// How many bytes can be written before it would block.
    pub(super) fn set_room(&self, room: usize) {
        self.pipe().room = room;
    }

    /// Writes fail from now on.
    pub(super) fn fail(&self, error: io::ErrorKind) {
        self.pipe().failure = Some(error);
    }

    pub(super) fn shutdowns(&self) -> Vec<Shutdown> {
        self.pipe().shutdowns.clone()
    }

    /// Whether the hub has dropped it.
    pub(super) fn is_closed(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe();
        if let Some(error) = pipe.failure {
            return Err(error.into());
        }
        let count = bytes.len().min(pipe.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.room -= count;
        pipe.outgoing.extend(&bytes[..count]);
        Ok(count)
    }
}

impl stream::Stream for Stream {
    fn receive(&self, into: &Buffers<'_>) -> io::Result<usize> {
        let mut pipe = self.pipe();
        if pipe.incoming.is_empty() {
            return if pipe.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = pipe.incoming.len().min(into.len());
        let bytes: Vec<u8> = pipe.incoming.drain(..count).collect();
        Ok(into.clone().write(&bytes).unwrap())
    }

    fn send(&self, from: &Buffers<'_>) -> io::Result<usize> {
        let mut bytes = vec![0; from.len()];
        from.clone().read(&mut bytes).unwrap();
        self.write(&bytes)
    }

    fn send_bytes(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn shutdown(&self, how: Shutdown) {
        self.pipe().shutdowns.push(how);
    }
}

/// What a wait set would hold.
#[derive(Default)]
struct Watched {
    streams: HashMap<u64, (Stream, Interest)>,
    fails: bool,
}

impl Watch<Stream> for Watched {
    fn watch(&mut self, id: u64, stream: &Stream, old: Option<Interest>, new: Option<Interest>) -> io::Result<()> {
        assert_eq!(self.streams.contains_key(&id), old.is_some(), "the hub knows what is watched");
        match new {
            Some(_) if self.fails => return Err(io::ErrorKind::OutOfMemory.into()),
            Some(interest) => drop(self.streams.insert(id, (stream.clone(), interest))),
            None => drop(self.streams.remove(&id)),
        }
        Ok(())
    }
}

/// A wait set that takes nothing.
pub(super) struct Blind;

impl Watch<Stream> for Blind {
    fn watch(&mut self, _: u64, _: &Stream, _: Option<Interest>, new: Option<Interest>) -> io::Result<()> {
        if new.is_some() { Err(io::ErrorKind::OutOfMemory.into()) } else { Ok(()) }
    }
}

/// The hub and the guest around it.
pub(super) struct Bench {
    pub(super) hub: Hub<Stream>,
    pub(super) tx: Driver,
    pub(super) rx: Driver,
    tx_queue: Queue,
    rx_queue: Queue,
    expected: Expected<Stream>,
    watched: Watched,
    rx_buffer: u64,
    /// Addresses of buffers by the head of their chain.
    rx_addresses: HashMap<u16, u64>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let expected = Expected::default();
        let (tx, rx) = (Driver::new(128), Driver::new(32));
        let (tx_queue, rx_queue) = (tx.queue(0), rx.queue(0));
        let hub = Hub::new(3, expected.clone());
        let (watched, rx_addresses) = (Watched::default(), HashMap::new());
        Self { hub, tx, rx, tx_queue, rx_queue, expected, watched, rx_buffer: 0, rx_addresses }
    }

    /// Expects a connection to `port`; the stream that it will be spliced to.
    pub(super) fn expect(&mut self, port: u32) -> Stream {
        let stream = Stream::new();
        self.expected.take(port);
        assert!(self.expected.add(port, stream.clone()));
        stream
    }

    /// A connection that was accepted.
    pub(super) fn connect(&mut self, host: u32, guest: u32) -> Stream {
        let stream = self.expect(host);
        self.send(request(host, guest), b"");
        assert_eq!(self.operations(), [(op::RESPONSE, 0)]);
        stream
    }

    /// The guest makes a packet available.
    pub(super) fn offer(&mut self, header: Header, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        self.tx.write(BUFFERS, &Header { len, ..header }.to_bytes());
        self.tx.write(BUFFERS + 64, payload);
        self.tx.offer_chain(&[readable(BUFFERS, 44), readable(BUFFERS + 64, len)]);
    }

    /// The hub takes a packet.
    pub(super) fn take(&mut self) -> Result<bool, QueueError> {
        let taken = self.hub.take(&mut self.tx_queue);
        self.hub.update_watch(&mut self.watched);
        taken
    }

    /// The guest sends a packet, and the hub takes it.
    pub(super) fn send(&mut self, header: Header, payload: &[u8]) {
        self.offer(header, payload);
        assert!(self.take().unwrap() || self.hub.is_paused());
    }

    /// The hub gives a packet, to whatever buffer the guest has.
    pub(super) fn give_one(&mut self) -> Result<Given, QueueError> {
        let given = self.hub.give(&mut self.rx_queue);
        self.hub.update_watch(&mut self.watched);
        given
    }

    /// The guest takes what goes into the buffers that it has given before, of which there is more than that.
    pub(super) fn receive_without_new_buffers(&mut self) -> Vec<(Header, Vec<u8>)> {
        while self.give_one().unwrap() == Given::Packet {}
        assert_eq!(self.give_one().unwrap(), Given::NoBuffer);
        let used = self.rx.used();
        used.into_iter().map(|used| self.packet(used)).collect()
    }

    /// The guest takes everything that there is for it.
    pub(super) fn receive(&mut self) -> Vec<(Header, Vec<u8>)> {
        let mut packets = Vec::new();
        loop {
            if self.rx_addresses.is_empty() {
                let address = BUFFERS + u64::from(RX_BUFFER) * (self.rx_buffer % RX_BUFFERS);
                self.rx_buffer += 1;
                let head = self.rx.offer_chain(&[writable(address, RX_BUFFER)]);
                self.rx_addresses.insert(head, address);
            }
            match self.give_one().unwrap() {
                Given::Packet => packets.extend(self.rx.used().into_iter().map(|used| self.packet(used))),
                Given::Nothing => return packets,
                Given::NoBuffer => panic!("there was a buffer"),
            }
        }
    }

    fn packet(&mut self, (head, length): (u16, u32)) -> (Header, Vec<u8>) {
        let address = self.rx_addresses.remove(&head).unwrap();
        let bytes = self.rx.read(address, usize::try_from(length).unwrap());
        let (header, payload) = bytes.split_first_chunk::<HEADER>().unwrap();
        let header = Header::parse(header);
        assert_eq!(usize::try_from(header.len).unwrap(), payload.len());
        (header, payload.to_vec())
    }

    /// Operations and flags of everything that there is for the guest.
    pub(super) fn operations(&mut self) -> Vec<(u16, u32)> {
        self.receive().iter().map(|(header, _)| (header.op, header.flags)).collect()
    }

    fn token(&self, stream: &Stream) -> Option<u64> {
        self.watched
            .streams
            .iter()
            .find(|(_, (watched, _))| Arc::ptr_eq(&watched.0, &stream.0))
            .map(|(&token, _)| token)
    }

    /// The wait set finds the stream ready for both, unless nobody watches it.
    pub(super) fn ready(&mut self, stream: &Stream) {
        self.event(stream, |token| Ready { token, readable: true, writable: true, hangup: false });
    }

    /// The wait set has this to say about the stream, unless nobody watches it.
    pub(super) fn event(&mut self, stream: &Stream, event: impl Fn(u64) -> Ready) {
        if let Some(token) = self.token(stream) {
            self.hub.ready(&event(token));
            self.hub.update_watch(&mut self.watched);
        }
    }

    /// From now on no watch can be changed, only ended.
    pub(super) fn fail_watching(&mut self) {
        self.watched.fails = true;
    }

    /// The wait set goes, and with it what it held.
    pub(super) fn drop_wait_set(&mut self) {
        self.watched = Watched::default();
    }

    pub(super) fn is_watched(&self, stream: &Stream) -> bool {
        self.token(stream).is_some()
    }

    /// What is watched of a stream.
    pub(super) fn interest(&self, stream: &Stream) -> Interest {
        self.watched.streams[&self.token(stream).unwrap()].1
    }
}
