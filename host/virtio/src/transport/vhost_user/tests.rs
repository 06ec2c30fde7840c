//! A block device behind a socket, under sound and hostile front-ends.

mod front_end;

use crate::queue::driver::{BUFFERS, readable, writable};
use front_end::{FrontEnd, USER, config_request, memfd, region, request};
use hull_platform::event::Event;
use std::os::fd::AsFd;

const SECTOR: usize = 512;
const HEADER: u64 = BUFFERS;
const DATA: u64 = BUFFERS + 0x1000;
const STATUS: u64 = BUFFERS + 0x100;

/// Makes a read of the device's first sector available.
fn offer_read(front_end: &mut FrontEnd) {
    front_end.driver.write(HEADER, &[0; 16]);
    front_end.driver.write(DATA, &[9; SECTOR]);
    front_end.driver.write(STATUS, &[9]);
    let parts = [readable(HEADER, 16), writable(DATA, 512), writable(STATUS, 1)];
    front_end.driver.want_interrupt();
    front_end.driver.offer_chain(&parts);
}

fn kick_and_wait(front_end: &mut FrontEnd) {
    front_end.kick.signal().unwrap();
    front_end.wait();
    assert_eq!(front_end.driver.used().len(), 1);
    assert_eq!(front_end.driver.read(STATUS, 1), [0]);
    assert_eq!(front_end.driver.read(DATA, SECTOR), [0; SECTOR]);
}

#[test]
fn a_ring_runs_stops_and_runs_again() {
    let mut front_end = FrontEnd::new();
    front_end.start();
    for _ in 0..2 {
        offer_read(&mut front_end);
        kick_and_wait(&mut front_end);
    }
    assert_eq!(front_end.vring_base(0), 2);
    offer_read(&mut front_end);
    front_end.kick.signal().unwrap();
    assert_eq!(front_end.vring_base(0), 2, "a stopped ring takes nothing");
    assert!(front_end.driver.used().is_empty());
    // It goes on without a further kick: this one came while nobody listened.
    front_end.set_up_ring(2);
    front_end.wait();
    assert_eq!(front_end.driver.used().len(), 1);
    front_end.hang_up().unwrap();
}

#[test]
fn a_disabled_ring_waits_and_catches_up() {
    let mut front_end = FrontEnd::new();
    front_end.start();
    front_end.acknowledged(request::SET_VRING_ENABLE, &[0_u32, 0].map(u32::to_le_bytes).concat(), &[]);
    offer_read(&mut front_end);
    front_end.kick.signal().unwrap();
    front_end.acknowledged(request::SET_VRING_ENABLE, &[0_u32, 1].map(u32::to_le_bytes).concat(), &[]);
    front_end.wait();
    assert_eq!(front_end.driver.used().len(), 1);
    front_end.hang_up().unwrap();
}

#[test]
fn memory_and_interrupt_may_be_exchanged_while_a_ring_runs() {
    let mut front_end = FrontEnd::new();
    front_end.start();
    offer_read(&mut front_end);
    kick_and_wait(&mut front_end);
    front_end.share_memory();
    front_end.exchange_call();
    offer_read(&mut front_end);
    kick_and_wait(&mut front_end);
    front_end.hang_up().unwrap();
}

#[test]
fn the_configuration_is_the_device_s() {
    let mut front_end = FrontEnd::new();
    front_end.negotiate();
    let reply = front_end.ask(request::GET_CONFIG, &config_request(0, 60));
    assert_eq!(reply[12..20], ((16_u64 << 40) / 512).to_le_bytes());
    let reply = front_end.ask(request::GET_CONFIG, &config_request(4000, 96));
    assert_eq!(reply[12..], [0; 96]);
    assert_eq!(front_end.ask(request::GET_QUEUE_NUM, &[])[0], 1);
    front_end.hang_up().unwrap();
}

#[test]
fn a_malformed_chain_is_told_and_the_connection_goes_on() {
    let mut front_end = FrontEnd::new();
    front_end.start();
    front_end.driver.offer_chain(&[writable(u64::MAX, 1)]);
    front_end.kick.signal().unwrap();
    front_end.wait_for_error();
    offer_read(&mut front_end);
    front_end.kick.signal().unwrap();
    front_end.ask(request::GET_FEATURES, &[]);
    assert_eq!(front_end.vring_base(0), 1);
    assert!(front_end.driver.used().is_empty());
    front_end.hang_up().unwrap();
}

#[test]
fn rings_outside_memory_are_told_and_the_connection_goes_on() {
    let inside = USER + 0x1000;
    for (descriptors, used, available) in [
        (0x1000, inside, inside),
        (inside, USER - 16, inside),
        (inside, inside, USER + (1 << 20)),
        (USER + (1 << 20) - 16, inside, inside),
        (u64::MAX - 15, inside, inside),
    ] {
        let mut front_end = FrontEnd::new();
        front_end.negotiate();
        front_end.share_memory();
        front_end.set_addresses(descriptors, used, available);
        front_end.set_up_events();
        front_end.wait_for_error();
        front_end.hang_up().unwrap();
    }
}

#[test]
fn a_connection_may_end_at_any_time() {
    FrontEnd::new().hang_up().unwrap();
    let mut front_end = FrontEnd::new();
    front_end.negotiate();
    front_end.hang_up().unwrap();
    let mut front_end = FrontEnd::new();
    front_end.raw(&[1, 0, 0, 0, 1]);
    front_end.hang_up().unwrap();
}

/// The connection ends with an error after this request.
fn refused(code: u32, payload: &[u8], prepare: impl FnOnce(&mut FrontEnd)) {
    let mut front_end = FrontEnd::new();
    prepare(&mut front_end);
    front_end.send(code, payload, &[]);
    assert!(front_end.hang_up().is_err(), "request {code} with {payload:?}");
}

#[test]
fn requests_that_make_no_sense_end_the_connection() {
    let state = |index: u32, number: u32| [index, number].map(u32::to_le_bytes).concat();
    let negotiated = |front_end: &mut FrontEnd| front_end.negotiate();
    for (index, size) in [(0, 0), (0, 3), (0, 2048), (0, 65_536), (0, u32::MAX), (1, 16), (u32::MAX, 16)] {
        refused(request::SET_VRING_NUM, &state(index, size), negotiated);
    }
    for (index, base) in [(0, 65_536), (7, 0)] {
        refused(request::SET_VRING_BASE, &state(index, base), negotiated);
    }
    refused(request::GET_VRING_BASE, &state(9, 0), negotiated);
    refused(request::SET_VRING_ENABLE, &state(9, 1), negotiated);
    refused(request::SET_VRING_ENABLE, &state(0, 2), negotiated);
    refused(request::SET_FEATURES, &u64::MAX.to_le_bytes(), negotiated);
    refused(request::SET_PROTOCOL_FEATURES, &u64::MAX.to_le_bytes(), negotiated);
    // Bit 8: no descriptor comes along, so that the ring would have to be polled.
    refused(request::SET_VRING_KICK, &0x100_u64.to_le_bytes(), negotiated);
    refused(request::SET_VRING_KICK, &0_u64.to_le_bytes(), negotiated);
    refused(request::GET_CONFIG, &config_request(4096, 1), negotiated);
    refused(request::GET_CONFIG, &config_request(0, 60)[..8], negotiated);
    for code in [0, 2000, u32::MAX] {
        refused(code, &[], negotiated);
    }
    for not_offered in [request::RESET_DEVICE, request::GET_MAX_MEM_SLOTS] {
        refused(not_offered, &[], negotiated);
    }
}

#[test]
fn legacy_virtio_is_refused() {
    let mut front_end = FrontEnd::new();
    front_end.negotiate();
    front_end.share_memory();
    let protocol_features_only = 1_u64 << 30;
    front_end.acknowledged(request::SET_FEATURES, &protocol_features_only.to_le_bytes(), &[]);
    front_end.set_up_ring_unacknowledged();
    front_end.hang_up().unwrap_err();
}

#[test]
fn memory_that_cannot_be_relied_on_is_refused() {
    const MIB: u64 = 1 << 20;
    let unsealed = tempfile::tempfile().unwrap();
    unsealed.set_len(MIB).unwrap();
    let sealed = memfd(MIB);
    let pipe = Event::new().unwrap();
    for (regions, file) in [
        (vec![region(0, MIB, USER, 0)], unsealed.as_fd()),
        (vec![region(0, MIB, USER, 0)], pipe.as_fd()),
        (vec![region(0, 2 * MIB, USER, 0)], sealed.as_fd()),
        (vec![region(0, MIB, USER, 4096)], sealed.as_fd()),
        (vec![region(0, 4096, USER, 1)], sealed.as_fd()),
        (vec![region(0, 0, USER, 0)], sealed.as_fd()),
        (vec![region(u64::MAX, 4096, USER, 0)], sealed.as_fd()),
        (vec![region(0, 4096, u64::MAX, 0)], sealed.as_fd()),
        (vec![region(0, 4096, USER, u64::MAX)], sealed.as_fd()),
        (vec![region(0, 8192, USER, 0), region(4096, 8192, USER + MIB, 8192)], sealed.as_fd()),
        (vec![], sealed.as_fd()),
    ] {
        let mut front_end = FrontEnd::new();
        front_end.negotiate();
        let count = u32::try_from(regions.len()).unwrap();
        let payload = [&count.to_le_bytes()[..], &[0; 4], &regions.concat()].concat();
        front_end.send(request::SET_MEM_TABLE, &payload, &vec![file; regions.len()]);
        assert!(front_end.hang_up().is_err(), "{regions:?}");
    }
}
