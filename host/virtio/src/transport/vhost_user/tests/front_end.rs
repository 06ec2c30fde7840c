//! A vhost-user front-end that writes its messages by hand.

use crate::device::block::{Access, BlockDevice};
use crate::queue::GuestMemory;
use crate::queue::driver::Driver;
use crate::transport::vhost_user::{ServeError, serve};
use hull_platform::event::Event;
use hull_platform::handle::Handle;
use hull_platform::socket::LocalStream;
use hull_platform::wait::{Interest, WaitSet};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use vm_memory::{FileOffset, GuestAddress, GuestRegionMmap, MmapRegion};

/// Where the memory is in the front-end's address space, as far as it says.
pub(super) const USER: u64 = 0x7f00_0000_0000;
const MEMORY: u64 = 1 << 20;
const RING_SIZE: u16 = 16;

/// Codes of requests.
pub(super) mod request {
    pub(in super::super) const GET_FEATURES: u32 = 1;
    pub(in super::super) const SET_FEATURES: u32 = 2;
    pub(in super::super) const SET_OWNER: u32 = 3;
    pub(in super::super) const SET_MEM_TABLE: u32 = 5;
    pub(in super::super) const SET_VRING_NUM: u32 = 8;
    pub(in super::super) const SET_VRING_ADDR: u32 = 9;
    pub(in super::super) const SET_VRING_BASE: u32 = 10;
    pub(in super::super) const GET_VRING_BASE: u32 = 11;
    pub(in super::super) const SET_VRING_KICK: u32 = 12;
    pub(in super::super) const SET_VRING_CALL: u32 = 13;
    pub(in super::super) const SET_VRING_ERR: u32 = 14;
    pub(in super::super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(in super::super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(in super::super) const GET_QUEUE_NUM: u32 = 17;
    pub(in super::super) const SET_VRING_ENABLE: u32 = 18;
    pub(in super::super) const GET_CONFIG: u32 = 24;
    pub(in super::super) const RESET_DEVICE: u32 = 34;
    pub(in super::super) const GET_MAX_MEM_SLOTS: u32 = 36;
}

const VERSION: u32 = 1;
const NEED_REPLY: u32 = 1 << 3;

/// Memory that its owner cannot shrink.
pub(super) fn memfd(length: u64) -> File {
    let file = File::from(memfd_create("guest", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.set_len(length).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    file
}

/// A region of a memory table.
pub(super) fn region(guest: u64, size: u64, user: u64, offset: u64) -> Vec<u8> {
    [guest, size, user, offset].map(u64::to_le_bytes).concat()
}

/// A request for configuration space.
pub(super) fn config_request(offset: u32, size: u32) -> Vec<u8> {
    let mut payload = [offset, size, 0].map(u32::to_le_bytes).concat();
    payload.resize(payload.len() + usize::try_from(size).unwrap(), 0);
    payload
}

/// A front-end, the guest's driver in it, and the thread that serves it.
pub(super) struct FrontEnd {
    socket: LocalStream,
    server: JoinHandle<Result<(), ServeError>>,
    memory: File,
    pub(super) driver: Driver,
    pub(super) kick: Event,
    call: Event,
    error: Event,
}

impl FrontEnd {
    pub(super) fn new() -> Self {
        let (socket, theirs) = LocalStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let device = Box::new(BlockDevice::new("test", Access::ReadWrite));
        let server = thread::spawn(move || serve(Handle::from(theirs), "test", device));
        let memory = memfd(MEMORY);
        let mapping = FileOffset::new(memory.try_clone().unwrap(), 0);
        let mapping = MmapRegion::from_file(mapping, usize::try_from(MEMORY).unwrap()).unwrap();
        let mapped = GuestMemory::from_regions(vec![GuestRegionMmap::new(mapping, GuestAddress(0)).unwrap()]).unwrap();
        let driver = Driver::with_memory(Arc::new(mapped), RING_SIZE);
        let event = || Event::new().unwrap();
        Self { socket, server, memory, driver, kick: event(), call: event(), error: event() }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    fn send_with_flags(&mut self, code: u32, flags: u32, payload: &[u8], files: &[BorrowedFd<'_>]) {
        let size = u32::try_from(payload.len()).unwrap();
        let message = [&[code, VERSION | flags, size].map(u32::to_le_bytes).concat(), payload].concat();
        let sent = self.socket.send_with_handles(&message, files).unwrap();
        assert_eq!(sent, message.len());
    }

    /// Sends a request.
    pub(super) fn send(&mut self, code: u32, payload: &[u8], files: &[BorrowedFd<'_>]) {
        self.send_with_flags(code, 0, payload, files);
    }

    /// Sends a request and waits until it was done.
    pub(super) fn acknowledged(&mut self, code: u32, payload: &[u8], files: &[BorrowedFd<'_>]) {
        self.send_with_flags(code, NEED_REPLY, payload, files);
        assert_eq!(self.reply(), 0_u64.to_le_bytes(), "request {code}");
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut header = [0; 12];
        self.socket.read_exact(&mut header).unwrap();
        let mut payload = vec![0; usize::from(u16::from_le_bytes([header[8], header[9]]))];
        self.socket.read_exact(&mut payload).unwrap();
        payload
    }

    /// Sends a request and returns what is answered.
    pub(super) fn ask(&mut self, code: u32, payload: &[u8]) -> Vec<u8> {
        self.send(code, payload, &[]);
        self.reply()
    }

    /// Accepts every feature that is offered.
    pub(super) fn negotiate(&mut self) {
        self.send(request::SET_OWNER, &[], &[]);
        let features = self.ask(request::GET_FEATURES, &[]);
        let protocol_features = self.ask(request::GET_PROTOCOL_FEATURES, &[]);
        self.send(request::SET_PROTOCOL_FEATURES, &protocol_features, &[]);
        self.send(request::SET_FEATURES, &features, &[]);
    }

    pub(super) fn share_memory(&mut self) {
        let payload = [&1_u32.to_le_bytes()[..], &[0; 4], &region(0, MEMORY, USER, 0)].concat();
        let memory = self.memory.try_clone().unwrap();
        self.acknowledged(request::SET_MEM_TABLE, &payload, &[memory.as_fd()]);
    }

    fn state(&mut self, code: u32, number: u32) {
        self.send(code, &[0, number].map(u32::to_le_bytes).concat(), &[]);
    }

    pub(super) fn set_addresses(&mut self, descriptors: u64, used: u64, available: u64) {
        let payload = [&[0; 8][..], &[descriptors, used, available, 0].map(u64::to_le_bytes).concat()].concat();
        self.send(request::SET_VRING_ADDR, &payload, &[]);
    }

    fn event(&mut self, code: u32, event: &Event) {
        self.send(code, &0_u64.to_le_bytes(), &[event.as_fd()]);
    }

    /// Everything that a ring needs but its addresses and memory.
    pub(super) fn set_up_events(&mut self) {
        let [kick, call, error] = [&self.kick, &self.call, &self.error].map(|event| event.try_clone().unwrap());
        self.state(request::SET_VRING_NUM, RING_SIZE.into());
        self.event(request::SET_VRING_CALL, &call);
        self.event(request::SET_VRING_ERR, &error);
        self.event(request::SET_VRING_KICK, &kick);
        self.state(request::SET_VRING_ENABLE, 1);
    }

    /// Everything that a ring needs but memory; whether it was accepted is not waited for.
    pub(super) fn set_up_ring_unacknowledged(&mut self) {
        let layout = self.driver.layout();
        self.set_addresses(USER + layout.descriptors, USER + layout.used, USER + layout.available);
        self.set_up_events();
    }

    /// Everything that a ring needs but memory.
    pub(super) fn set_up_ring(&mut self, base: u32) {
        self.state(request::SET_VRING_BASE, base);
        self.set_up_ring_unacknowledged();
        self.ask(request::GET_FEATURES, &[]);
    }

    /// From the first message to a ring that runs.
    pub(super) fn start(&mut self) {
        self.negotiate();
        self.share_memory();
        self.set_up_ring(0);
    }

    /// Gives a new descriptor for interrupts.
    pub(super) fn exchange_call(&mut self) {
        self.call = Event::new().unwrap();
        let call = self.call.try_clone().unwrap();
        self.event(request::SET_VRING_CALL, &call);
        self.ask(request::GET_FEATURES, &[]);
    }

    /// Stops the ring; the index at which it stood.
    pub(super) fn vring_base(&mut self, ring: u32) -> u32 {
        let reply = self.ask(request::GET_VRING_BASE, &[ring, 0].map(u32::to_le_bytes).concat());
        u32::from_le_bytes(reply[4..8].try_into().unwrap())
    }

    /// Waits for an interrupt.
    pub(super) fn wait(&self) {
        wait_for(&self.call);
    }

    /// Waits for word of a broken ring.
    pub(super) fn wait_for_error(&self) {
        wait_for(&self.error);
    }

    /// Closes the connection; how serving it ended.
    pub(super) fn hang_up(self) -> Result<(), ServeError> {
        drop(self.socket);
        self.server.join().unwrap()
    }
}

fn wait_for(event: &Event) {
    let waits = WaitSet::new().unwrap();
    waits.add(event, 1, Interest::READ).unwrap();
    assert!(!waits.wait(Some(Duration::from_secs(20))).unwrap().is_empty(), "nothing was signalled");
    event.clear().unwrap();
}
