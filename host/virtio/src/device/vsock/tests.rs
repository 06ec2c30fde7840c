//! The hub with streams that are not there, under sound and hostile guests.

mod device;

use super::bench::{self, Bench, CREDIT, GUEST_PORT, PORT, Stream, request, to_host};
use super::connection::BUFFER;
use super::hub::{MAX_CONNECTIONS, MAX_STRAYS};
use super::packet::{Header, op, shut};
use crate::queue::QueueError;
use crate::queue::driver::{BUFFERS, HOLE, Random, readable, writable};
use hull_platform::wait::Ready;
use std::io;
use std::net::Shutdown;

/// A bench with one connection, whose response was taken.
fn connected() -> (Bench, Stream) {
    let mut bench = Bench::new();
    let stream = bench.connect(PORT, GUEST_PORT);
    (bench, stream)
}

#[test]
fn a_dialled_port_answers_once_if_it_is_expected() {
    let mut bench = Bench::new();
    bench.send(request(PORT, GUEST_PORT), b"");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    bench.expect(PORT);
    bench.send(request(PORT, GUEST_PORT), b"");
    let packets = bench.receive();
    let header = packets[0].0;
    assert_eq!((header.op, header.src_cid, header.dst_cid), (op::RESPONSE, 2, 3));
    assert_eq!((header.src_port, header.dst_port, header.buf_alloc), (PORT, GUEST_PORT, BUFFER));
    bench.send(request(PORT, GUEST_PORT + 1), b"");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    assert_eq!(bench.hub.len(), 1);
}

#[test]
fn bytes_go_both_ways_in_order() {
    let (mut bench, stream) = connected();
    bench.send(to_host(op::RW), b"hello ");
    bench.send(to_host(op::RW), b"host");
    assert_eq!(stream.taken(), b"hello host");
    let bytes: Vec<u8> = (0..20_000).map(|index: u32| u8::try_from(index % 249).unwrap()).collect();
    stream.give(&bytes);
    bench.ready(&stream);
    let packets = bench.receive();
    assert!(packets.iter().all(|(header, _)| header.op == op::RW && header.fwd_cnt == 10));
    assert_eq!(packets.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>(), bytes);
    assert!(bench.interest(&stream).readable, "it was read to its end and is watched again");
}

#[test]
fn a_payload_may_be_scattered_and_cut_anywhere() {
    let (mut bench, stream) = connected();
    let header = Header { len: 5, ..to_host(op::RW) };
    let bytes = [&header.to_bytes()[..], b"abcde"].concat();
    bench.tx.write(BUFFERS, &bytes);
    bench.tx.offer_chain(&[readable(BUFFERS, 3), readable(BUFFERS + 3, 44), readable(BUFFERS + 47, 2)]);
    assert!(bench.take().unwrap());
    assert_eq!(stream.taken(), b"abcde");
}

#[test]
fn no_more_is_sent_than_the_guest_has_room_for() {
    let (mut bench, stream) = connected();
    let credit = usize::try_from(CREDIT).unwrap();
    stream.give(&vec![1; 2 * credit]);
    bench.ready(&stream);
    let total = |packets: Vec<(Header, Vec<u8>)>| packets.iter().map(|(_, payload)| payload.len()).sum::<usize>();
    let packets = bench.receive();
    assert_eq!(packets.iter().filter(|(header, _)| header.op == op::CREDIT_REQUEST).count(), 1);
    assert_eq!(total(packets), credit);
    assert!(bench.receive().is_empty());
    assert!(!bench.interest(&stream).readable, "nobody watches for what cannot be sent");
    bench.send(Header { fwd_cnt: 100, ..to_host(op::CREDIT_UPDATE) }, b"");
    assert_eq!(total(bench.receive()), 100);
    // More forwarded than sent, or no buffer at all, is no credit.
    for (buf_alloc, fwd_cnt) in [(CREDIT, CREDIT + 200), (0, CREDIT + 100), (CREDIT, u32::MAX)] {
        bench.send(Header { buf_alloc, fwd_cnt, ..to_host(op::CREDIT_UPDATE) }, b"");
        assert_eq!(total(bench.receive()), 0);
    }
    bench.send(Header { fwd_cnt: CREDIT, ..to_host(op::CREDIT_UPDATE) }, b"");
    assert_eq!(total(bench.receive()), credit - 100);
}

#[test]
fn a_slow_stream_is_buffered_up_to_the_credit_and_stalls_nobody() {
    let (mut bench, slow) = connected();
    let other = bench.connect(PORT + 1, GUEST_PORT + 1);
    slow.set_room(10);
    let chunk = vec![5; 65_536];
    (0..4).for_each(|_| bench.send(to_host(op::RW), &chunk));
    assert_eq!(slow.taken(), [5; 10]);
    assert!(bench.interest(&slow).writable);
    let beside = Header { src_port: GUEST_PORT + 1, dst_port: PORT + 1, ..to_host(op::RW) };
    bench.send(beside, b"quick");
    assert_eq!(other.taken(), b"quick");
    // The guest has no credit left; it hears of new credit as soon as there is some.
    let heard = bench.receive();
    assert_eq!(heard.last().map(|(header, _)| (header.op, header.fwd_cnt)), Some((op::CREDIT_UPDATE, 10)));
    slow.set_room(200_000);
    bench.ready(&slow);
    assert_eq!(bench.receive()[0].0.fwd_cnt, 200_010);
    slow.set_room(usize::MAX);
    bench.ready(&slow);
    assert_eq!(slow.taken().len(), 4 * 65_536 - 10);
    assert!(!bench.interest(&slow).writable);
}

#[test]
fn a_guest_that_exceeds_its_credit_is_reset() {
    let (mut bench, stream) = connected();
    stream.set_room(0);
    let chunk = vec![5; 65_536];
    (0..4).for_each(|_| bench.send(to_host(op::RW), &chunk));
    assert!(bench.operations().is_empty());
    bench.send(to_host(op::RW), b"x");
    assert!(stream.is_closed());
    bench.send(to_host(op::RW), b"ignored while the reset is on its way");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    assert_eq!(bench.hub.len(), 0);
}

#[test]
fn the_guest_may_end_its_direction_alone() {
    let (mut bench, stream) = connected();
    stream.set_room(2);
    bench.send(to_host(op::RW), b"abcd");
    bench.send(Header { flags: shut::SEND, ..to_host(op::SHUTDOWN) }, b"");
    assert!(stream.shutdowns().is_empty(), "not before the last byte");
    stream.set_room(9);
    bench.ready(&stream);
    assert_eq!(stream.shutdowns(), [Shutdown::Write]);
    stream.give(b"answer");
    bench.ready(&stream);
    assert_eq!(bench.receive()[0].1, b"answer");
    bench.send(to_host(op::RW), b"x");
    assert_eq!(bench.operations(), [(op::RST, 0)], "it had said that it would not send");
}

#[test]
fn the_host_may_end_its_direction_alone() {
    let (mut bench, stream) = connected();
    stream.give(b"last");
    stream.end();
    bench.ready(&stream);
    assert_eq!(bench.operations(), [(op::RW, 0)]);
    bench.ready(&stream);
    assert_eq!(bench.operations(), [(op::SHUTDOWN, shut::SEND)]);
    bench.send(to_host(op::RW), b"still");
    assert_eq!(stream.taken(), b"still");
    assert!(!bench.interest(&stream).readable);
    bench.send(Header { flags: shut::BOTH, ..to_host(op::SHUTDOWN) }, b"");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    assert!(stream.is_closed());
    assert_eq!(bench.hub.len(), 0);
}

#[test]
fn an_end_of_both_directions_is_confirmed_after_the_last_byte() {
    let (mut bench, stream) = connected();
    stream.set_room(0);
    bench.send(to_host(op::RW), b"abc");
    bench.send(Header { flags: shut::RECEIVE, ..to_host(op::SHUTDOWN) }, b"");
    assert_eq!(stream.shutdowns(), [Shutdown::Read]);
    stream.give(b"nobody reads this");
    bench.ready(&stream);
    assert!(bench.operations().is_empty());
    bench.send(Header { flags: shut::BOTH, ..to_host(op::SHUTDOWN) }, b"");
    assert!(bench.operations().is_empty() && !stream.is_closed());
    stream.set_room(3);
    bench.ready(&stream);
    assert_eq!(stream.taken(), b"abc");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    assert!(stream.is_closed());
}

#[test]
fn what_was_acknowledged_is_delivered_even_after_a_reset() {
    let (mut bench, stream) = connected();
    stream.set_room(0);
    bench.send(to_host(op::RW), b"abc");
    bench.send(to_host(op::RST), b"");
    // The ports are free at once.
    let next = bench.connect(PORT, GUEST_PORT);
    assert_eq!(bench.hub.len(), 2);
    stream.set_room(3);
    bench.ready(&stream);
    assert_eq!(stream.taken(), b"abc");
    assert!(stream.is_closed());
    assert_eq!(bench.hub.len(), 1);
    bench.send(to_host(op::RW), b"x");
    assert_eq!(next.taken(), b"x");
    assert!(bench.operations().is_empty());
}

#[test]
fn a_stream_that_takes_no_more_swallows_the_rest() {
    let (mut bench, stream) = connected();
    stream.fail(io::ErrorKind::BrokenPipe);
    bench.send(to_host(op::RW), b"abc");
    assert_eq!(bench.operations(), [(op::SHUTDOWN, shut::RECEIVE)]);
    let chunk = vec![5; 65_536];
    (0..8).for_each(|_| bench.send(to_host(op::RW), &chunk));
    let updates = bench.receive();
    assert!(updates.iter().all(|(header, _)| header.op == op::CREDIT_UPDATE));
    assert!(updates.last().unwrap().0.fwd_cnt > BUFFER);
    stream.give(b"but it still gives");
    bench.ready(&stream);
    assert_eq!(bench.operations(), [(op::RW, 0)]);
}

#[test]
fn a_peer_that_is_gone_is_read_to_the_end_first() {
    let (mut bench, stream) = connected();
    stream.set_room(0);
    bench.send(to_host(op::RW), b"never delivered");
    let credit = usize::try_from(CREDIT).unwrap();
    stream.give(&vec![1; credit + 1]);
    stream.end();
    bench.event(&stream, |token| Ready { token, readable: true, writable: true, hangup: true });
    assert!(!bench.is_watched(&stream), "a hang-up is reported without end");
    let heard = bench.operations();
    assert_eq!(heard[0], (op::SHUTDOWN, shut::RECEIVE));
    assert!(heard[1..].iter().all(|&(operation, _)| operation == op::RW || operation == op::CREDIT_REQUEST));
    bench.send(Header { fwd_cnt: CREDIT, ..to_host(op::CREDIT_UPDATE) }, b"");
    assert_eq!(bench.operations(), [(op::RW, 0), (op::SHUTDOWN, shut::BOTH)]);
    assert!(stream.is_closed());
    assert_eq!(bench.hub.len(), 1, "the guest's confirmation is due");
    bench.send(to_host(op::RST), b"");
    assert_eq!(bench.hub.len(), 0);
}

#[test]
fn a_connection_that_only_awaits_confirmation_gives_way_to_a_new_one() {
    let (mut bench, stream) = connected();
    stream.end();
    bench.event(&stream, |token| Ready { token, readable: true, writable: false, hangup: true });
    assert_eq!(bench.operations().last(), Some(&(op::SHUTDOWN, shut::BOTH)));
    let next = bench.connect(PORT, GUEST_PORT);
    bench.send(to_host(op::RW), b"x");
    assert_eq!(next.taken(), b"x");
    assert_eq!(bench.hub.len(), 1);
}

#[test]
fn a_stream_that_cannot_be_watched_is_closed() {
    let (mut bench, stream) = connected();
    bench.fail_watching();
    stream.set_room(0);
    bench.send(to_host(op::RW), b"abc");
    assert!(stream.is_closed());
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    assert_eq!(bench.hub.len(), 0);
    let (mut bench, stream) = connected();
    stream.set_room(0);
    bench.send(to_host(op::RW), b"abc");
    bench.send(to_host(op::RST), b"");
    bench.drop_wait_set();
    bench.hub.watch_all(&mut bench::Blind);
    assert!(stream.is_closed());
    assert!(bench.operations().is_empty(), "the guest knows nothing of it any more");
    assert_eq!(bench.hub.len(), 0);
}

#[test]
fn spoofed_cids_are_ignored_without_an_answer() {
    let (mut bench, stream) = connected();
    let good = to_host(op::RW);
    for (src_cid, dst_cid) in [(2, 2), (4, 2), (3, 3), (3, 1), (3, 0), (u64::MAX, 2), (3, 2 + (1 << 32)), (0, 0)] {
        bench.send(Header { src_cid, dst_cid, ..good }, b"spoof");
        bench.send(Header { src_cid, dst_cid, ..request(PORT, 1) }, b"");
    }
    assert!(bench.operations().is_empty());
    assert!(stream.taken().is_empty());
}

#[test]
fn packets_that_belong_nowhere_are_reset_but_resets_are_not() {
    let mut bench = Bench::new();
    for operation in [op::RESPONSE, op::SHUTDOWN, op::RW, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 8, u16::MAX] {
        bench.send(to_host(operation), b"");
        assert_eq!(bench.operations(), [(op::RST, 0)], "{operation}");
    }
    bench.send(to_host(op::RST), b"");
    assert!(bench.operations().is_empty());
    bench.expect(PORT);
    bench.send(Header { kind: 2, ..request(PORT, GUEST_PORT) }, b"");
    let packets = bench.receive();
    assert_eq!((packets[0].0.op, packets[0].0.kind), (op::RST, 2), "SOCK_SEQPACKET is not offered");
}

#[test]
fn what_makes_no_sense_on_a_connection_resets_it() {
    for operation in [0, op::REQUEST, op::RESPONSE, 8, u16::MAX] {
        let (mut bench, stream) = connected();
        bench.send(to_host(operation), b"");
        assert_eq!(bench.operations(), [(op::RST, 0)], "{operation}");
        assert!(stream.is_closed());
        assert_eq!(bench.hub.len(), 0);
    }
}

#[test]
fn credit_is_told_when_asked_for() {
    let (mut bench, _stream) = connected();
    bench.send(to_host(op::CREDIT_REQUEST), b"");
    assert_eq!(bench.operations(), [(op::CREDIT_UPDATE, 0)]);
}

#[test]
fn connections_take_turns() {
    let (mut bench, one) = connected();
    let other = bench.connect(PORT + 1, GUEST_PORT + 1);
    one.give(&[1; 20_000]);
    other.give(&[2; 20_000]);
    bench.ready(&one);
    bench.ready(&other);
    let order: Vec<_> = bench.receive().iter().map(|(header, _)| header.src_port - PORT).collect();
    assert_eq!(order[..6], [0, 1, 0, 1, 0, 1]);
}

#[test]
fn without_buffers_nothing_is_read_and_none_is_lost() {
    let (mut bench, stream) = connected();
    let bytes: Vec<u8> = (0..5000).map(|index: u32| u8::try_from(index % 249).unwrap()).collect();
    stream.give(&bytes);
    bench.ready(&stream);
    let mut packets = bench.receive_without_new_buffers();
    assert!(!bench.interest(&stream).readable);
    packets.extend(bench.receive());
    assert_eq!(packets.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>(), bytes);
    // Found ready but empty: the buffer that was taken for it goes back and serves the next packet.
    bench.ready(&stream);
    assert!(bench.receive().is_empty());
    bench.send(to_host(op::CREDIT_REQUEST), b"");
    assert_eq!(bench.operations(), [(op::CREDIT_UPDATE, 0)]);
}

#[test]
fn a_guest_that_takes_no_resets_is_not_listened_to() {
    let mut bench = Bench::new();
    let mut taken = 0;
    for port in 0..1000 {
        bench.offer(request(PORT, port), b"");
        taken += usize::from(bench.take().unwrap());
        if bench.hub.is_paused() {
            break;
        }
    }
    assert_eq!(taken, MAX_STRAYS);
    assert!(!bench.take().unwrap());
    assert_eq!(bench.receive().len(), MAX_STRAYS);
    assert!(!bench.hub.is_paused());
}

#[test]
fn there_is_a_limit_to_connections() {
    let mut bench = Bench::new();
    for port in 0..u32::try_from(MAX_CONNECTIONS).unwrap() {
        bench.connect(PORT + port, GUEST_PORT);
    }
    bench.expect(1);
    bench.send(request(1, GUEST_PORT), b"");
    assert_eq!(bench.operations(), [(op::RST, 0)]);
    bench.send(to_host(op::RST), b"");
    bench.send(request(1, GUEST_PORT), b"");
    assert_eq!(bench.operations(), [(op::RESPONSE, 0)], "the expectation was not used up");
}

#[test]
fn ten_thousand_connections_at_a_time_are_as_many_as_the_limit() {
    let mut bench = Bench::new();
    let (mut streams, mut accepted, mut refused) = (Vec::new(), 0, 0);
    for port in 0..10_000 {
        streams.push(bench.expect(PORT + port));
        bench.send(request(PORT + port, GUEST_PORT), b"");
        match bench.operations()[..] {
            [(op::RESPONSE, 0)] => accepted += 1,
            [(op::RST, 0)] => refused += 1,
            ref other => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted, refused), (MAX_CONNECTIONS, 10_000 - MAX_CONNECTIONS));
    assert_eq!(bench.hub.len(), MAX_CONNECTIONS);
    // The guest takes no packets any more, but goes on dialling.
    for port in 0..10_000 {
        bench.offer(request(1, port), b"");
        if !bench.take().unwrap() {
            break;
        }
    }
    assert!(bench.hub.is_paused() && bench.hub.len() == MAX_CONNECTIONS);
}

#[test]
fn of_ten_thousand_connections_one_after_another_nothing_is_left() {
    let mut bench = Bench::new();
    for turn in 0..10_000 {
        // Ends of every kind; ports are used again.
        let stream = bench.connect(PORT, GUEST_PORT + turn % 7);
        let header = Header { src_port: GUEST_PORT + turn % 7, ..to_host(op::RST) };
        bench.send(Header { op: op::RW, ..header }, b"x");
        match turn % 3 {
            0 => bench.send(header, b""),
            1 => {
                bench.send(Header { op: op::SHUTDOWN, flags: shut::BOTH, ..header }, b"");
                bench.operations();
            }
            _ => {
                bench.send(Header { op: 99, ..header }, b"");
                bench.operations();
            }
        }
        assert!(stream.is_closed(), "{turn}");
        assert_eq!((bench.hub.len(), bench.hub.remembered()), (0, 0), "{turn}");
    }
}

#[test]
fn malformed_packets_break_the_queue() {
    let header = Header { len: 10, ..to_host(op::RW) };
    for (length, parts) in [
        (43, vec![readable(BUFFERS, 43)]),
        (10, vec![readable(BUFFERS, 44), readable(BUFFERS + 44, 9)]),
        (u32::MAX, vec![readable(BUFFERS, 44), readable(BUFFERS + 44, 4096)]),
        (0, vec![writable(BUFFERS, 44)]),
        (0, vec![readable(0, 0)]),
    ] {
        let (mut bench, stream) = connected();
        bench.tx.write(BUFFERS, &Header { len: length, ..header }.to_bytes());
        bench.tx.offer_chain(&parts);
        assert!(matches!(bench.take(), Err(QueueError::Request { .. })), "{parts:?}");
        assert!(stream.taken().is_empty());
    }
    let (mut bench, _stream) = connected();
    bench.tx.offer_chain(&[readable(HOLE - 8, 44)]);
    assert!(matches!(bench.take(), Err(QueueError::Chain { .. })));
}

#[test]
fn buffers_without_room_break_the_queue() {
    for part in [writable(BUFFERS, 44), writable(BUFFERS, 10), readable(BUFFERS, 4096), writable(0, 0)] {
        let mut bench = Bench::new();
        bench.send(to_host(op::RW), b"belongs nowhere");
        bench.rx.offer_chain(&[part]);
        assert!(matches!(bench.give_one(), Err(QueueError::Request { .. })), "{part:?}");
    }
}

#[test]
fn no_packets_whatever_cause_a_panic_or_a_backlog_beyond_the_credit() {
    let mut random = Random::new(11);
    let mut bench = Bench::new();
    let mut streams: Vec<Stream> = (0..4).map(|port| bench.expect(PORT + port)).collect();
    for _ in 0..5000 {
        let any_op = random.below(9);
        let any_op = random.pick(&[1, 5, 5, 5, 5, 6, any_op]);
        let header = Header {
            src_cid: random.pick(&[3, 3, 3, 3, 3, 3, 2]),
            src_port: random.pick(&[GUEST_PORT, GUEST_PORT + 1]),
            dst_port: PORT + u32::try_from(random.below(4)).unwrap(),
            kind: random.pick(&[1, 1, 1, 1, 1, 1, 2]),
            op: u16::try_from(any_op).unwrap(),
            flags: u32::try_from(random.below(5)).unwrap(),
            buf_alloc: random.pick(&[0, 1, 65_536, u32::MAX]),
            fwd_cnt: random.pick(&[0, 1, 65_536, u32::MAX]),
            ..to_host(0)
        };
        let length = random.pick(&[0, 0, 1, 4096, 65_000]);
        bench.send(header, &vec![0; length]);
        for stream in &streams {
            match random.below(8) {
                0 => stream.set_room(random.pick(&[0, 0, 100, usize::MAX])),
                1 => stream.give(&[0; 100]),
                2 => bench.ready(stream),
                _ => {}
            }
        }
        if random.below(4) == 0 {
            bench.receive();
        }
        for (port, stream) in (PORT..).zip(&mut streams) {
            if stream.is_closed() {
                *stream = bench.expect(port);
            }
        }
        assert!(bench.hub.backlog() <= usize::try_from(BUFFER).unwrap() * bench.hub.len());
    }
}
