//! Packets, buffers and streams as the input says.

use super::bench::{Bench, GUEST_PORT, PORT, Stream, to_host};
use super::connection::BUFFER;
use super::hub::{Expected, Hub, MAX_CONNECTIONS};
use super::packet::Header;
use super::service::{give, take};
use crate::fuzzing::{FIRST, Input, LAYOUT, active, memory};
use crate::queue::driver::{BUFFERS, HOLE, Part, SEAM};
use crate::queue::{Layout, Queue};
use hull_platform::wait::Ready;
use std::io;
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress};

/// Ports on either side: few, so that packets meet.
const PORTS: u32 = 4;

/// Drives the hub.
pub fn vsock(input: &[u8]) {
    let mut input = Input::new(input);
    let mut bench = Bench::new();
    let mut streams: Vec<Stream> = (0..PORTS).map(|port| bench.expect(PORT + port)).collect();
    while !input.is_empty() {
        let sound = match input.u8() % 8 {
            0..=2 => send(&mut bench, &mut input),
            3 => {
                // The guest keeps what it is given, and so sees that every packet is sound.
                bench.receive();
                true
            }
            4 => send_raw(&mut bench, &mut input),
            5 => {
                let port = u32::from(input.u8()) % PORTS;
                // The old one, if the guest has dialled, is what it is spliced to from now on.
                streams.push(bench.expect(PORT + port));
                streams.len() < 64
            }
            _ => {
                let stream = &streams[usize::from(input.u8()) % streams.len()];
                happen(&mut bench, stream, &mut input);
                true
            }
        };
        if !sound {
            return;
        }
        assert!(bench.hub.len() <= MAX_CONNECTIONS);
        assert!(bench.hub.backlog() <= usize::try_from(BUFFER).unwrap_or(usize::MAX) * bench.hub.len());
    }
}

/// A packet that is sound but for what it says; false once the queue is broken.
fn send(bench: &mut Bench, input: &mut Input<'_>) -> bool {
    let op = input.u8() % 9;
    let (guest, host) = (u32::from(input.u8()) % PORTS, u32::from(input.u8()) % PORTS);
    let header = Header {
        src_cid: input.pick(&[3, 3, 3, 3, 3, 3, 3, 2]),
        src_port: GUEST_PORT + guest,
        dst_port: PORT + host,
        kind: input.pick(&[1, 1, 1, 1, 1, 1, 1, 2]),
        flags: u32::from(input.u8() % 8),
        buf_alloc: input.pick(&[0, 1, 4096, 65_536, 131_072, u32::MAX]),
        fwd_cnt: input.pick(&[0, 1, 4096, 65_536, u32::MAX]),
        ..to_host(op.into())
    };
    let length = input.pick(&[0, 1, 10, 4096, 60_000]);
    bench.offer(header, &vec![op; length]);
    take_all(bench)
}

fn take_all(bench: &mut Bench) -> bool {
    loop {
        match bench.take() {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return false,
        }
    }
}

/// A chain of anything; false once the queue is broken.
fn send_raw(bench: &mut Bench, input: &mut Input<'_>) -> bool {
    let bytes: [u8; 48] = input.array();
    bench.tx.write(BUFFERS, &bytes);
    let parts: Vec<Part> = (0..=input.u8() % 3)
        .map(|_| Part {
            address: input.pick(&[BUFFERS, BUFFERS + 44, HOLE - 8, SEAM - 8]) + u64::from(input.u8() % 8),
            length: if input.u8() & 1 == 0 { input.pick(&[0, 1, 16, 44, 4096]) } else { input.u32() },
            flags: u16::from(input.u8() & 2),
        })
        .collect();
    bench.tx.offer_chain(&parts);
    take_all(bench)
}

/// Something on the host's side of a connection.
fn happen(bench: &mut Bench, stream: &Stream, input: &mut Input<'_>) {
    match input.u8() % 6 {
        0 => stream.set_room(input.pick(&[0, 1, 1000, usize::MAX])),
        1 => stream.give(&vec![7; usize::from(input.u16())]),
        2 => stream.end(),
        3 => stream.fail(io::ErrorKind::BrokenPipe),
        4 => drop(stream.taken()),
        _ => {
            let bits = input.u8();
            let [readable, writable, hangup] = [1, 2, 4].map(|bit| bits & bit != 0);
            bench.event(stream, |token| Ready { token, readable, writable, hangup });
        }
    }
}

/// Most turns of one input.
const TURNS: usize = 32;

/// Drives both queues as the worker does, in a memory that the input has written, at places that it has chosen.
pub fn rings(input: &[u8]) {
    let mut input = Input::new(input);
    let features = u64::from(input.u8()) << 28;
    let base = u64::from(input.u16());
    let [descriptors, available, used] = [0, 0x100, 0x140].map(|part| base + part);
    // One ring may lie over another.
    let [available, used] =
        [available, used].map(|part| part.wrapping_add_signed(i16::from_le_bytes(input.array()).into()));
    let image = input.take(0x600);
    let memory = memory(image);
    let rx = Layout { size: 16, descriptors, available, used };
    let [Ok(tx), Ok(rx)] = [LAYOUT, rx].map(|layout| Queue::new(Arc::clone(&memory), layout, features, 0)) else {
        return;
    };
    let (mut tx, mut rx) = (active(tx), active(rx));
    let expected = Expected::default();
    let mut hub = Hub::new(3, expected.clone());
    for port in 0..PORTS {
        let stream = Stream::new();
        stream.give(&[9; 1000]);
        expected.add(PORT + port, stream);
    }
    for _ in 0..TURNS {
        let _ = take(&mut hub, &mut tx) | give(&mut hub, &mut rx);
        if input.is_empty() {
            return;
        }
        let (address, bytes) = (u64::from(input.u16()), input.take(8));
        if address + 8 <= FIRST {
            memory.write_slice(bytes, GuestAddress(address)).expect("it is within the first region");
        }
    }
}
