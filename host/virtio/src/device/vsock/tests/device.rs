//! The device with its worker thread and real streams.

use crate::device::vsock::bench::{GUEST_PORT, PORT, request, to_host};
use crate::device::vsock::packet::{HEADER, Header, op};
use crate::device::vsock::{ExpectError, VsockDevice};
use crate::device::{StartError, VirtioDevice};
use crate::queue::driver::{BUFFERS, Driver, readable, writable};
use crate::queue::{ActiveQueue, QueueInterrupt};
use hull_platform::event::Event;
use hull_platform::socket::LocalStream;
use hull_platform::wait::{Interest, WaitSet};
use std::io::{Read, Write};
use std::time::Duration;

/// Signals an event; never broken.
struct Interrupt(Event);

impl QueueInterrupt for Interrupt {
    fn used(&self) {
        self.0.signal().unwrap();
    }

    fn broken(&self) {
        panic!("the queue is sound");
    }
}

/// One of the guest's queues.
struct Side {
    driver: Driver,
    kick: Event,
    interrupt: Event,
    waits: WaitSet,
    next_available: u16,
}

impl Side {
    fn new() -> Self {
        let (interrupt, waits) = (Event::new().unwrap(), WaitSet::new().unwrap());
        waits.add(&interrupt, 1, Interest::READ).unwrap();
        Self { driver: Driver::new(16), kick: Event::new().unwrap(), interrupt, waits, next_available: 0 }
    }

    fn active(&self) -> ActiveQueue {
        let queue =
            crate::queue::Queue::new(self.driver.memory(), self.driver.layout(), 0, self.next_available).unwrap();
        let interrupt = Interrupt(self.interrupt.try_clone().unwrap());
        ActiveQueue::new("test".to_owned(), queue, self.kick.try_clone().unwrap(), Box::new(interrupt))
    }

    /// Waits until the device has used a chain.
    fn wait(&mut self) -> (u16, u32) {
        loop {
            if let Some(&used) = self.driver.used().first() {
                return used;
            }
            assert!(!self.waits.wait(Some(Duration::from_secs(20))).unwrap().is_empty(), "no interrupt came");
            self.interrupt.clear().unwrap();
        }
    }
}

struct Guest {
    rx: Side,
    tx: Side,
}

impl Guest {
    fn send(&mut self, header: Header, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let packet = [&Header { len, ..header }.to_bytes()[..], payload].concat();
        self.tx.driver.write(BUFFERS, &packet);
        self.tx.driver.offer_chain(&[readable(BUFFERS, u32::try_from(packet.len()).unwrap())]);
        self.tx.kick.signal().unwrap();
        self.tx.wait();
    }

    fn receive(&mut self) -> (u16, Vec<u8>) {
        self.rx.driver.offer_chain(&[writable(BUFFERS, 4096)]);
        self.rx.kick.signal().unwrap();
        let (_, length) = self.rx.wait();
        let bytes = self.rx.driver.read(BUFFERS, usize::try_from(length).unwrap());
        let (header, payload) = bytes.split_first_chunk::<HEADER>().unwrap();
        (Header::parse(header).op, payload.to_vec())
    }
}

#[test]
fn a_connection_outlives_stopping_and_starting_in_any_order() {
    let mut device = VsockDevice::new(3);
    let vsock = device.handle();
    let (ours, theirs) = LocalStream::pair().unwrap();
    vsock.expect(PORT, theirs).unwrap();
    let mut guest = Guest { rx: Side::new(), tx: Side::new() };
    device.start_queue(1, guest.tx.active()).unwrap();
    device.start_queue(2, Side::new().active()).unwrap();
    device.start_queue(0, guest.rx.active()).unwrap();
    guest.send(request(PORT, GUEST_PORT), b"");
    assert_eq!(guest.receive(), (op::RESPONSE, vec![]));
    guest.send(to_host(op::RW), b"ping");
    let mut bytes = [0; 4];
    (&ours).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");

    assert!(matches!(device.start_queue(0, Side::new().active()), Err(StartError::Running { index: 0 })));
    assert!(matches!(device.start_queue(3, Side::new().active()), Err(StartError::NoSuchQueue { index: 3 })));
    guest.rx.next_available = device.stop_queue(0).unwrap().next_available;
    guest.tx.next_available = device.stop_queue(1).unwrap().next_available;
    assert_eq!((guest.rx.next_available, guest.tx.next_available), (1, 2));
    assert_eq!(device.stop_queue(0), None);
    (&ours).write_all(b"while it was stopped").unwrap();
    device.start_queue(0, guest.rx.active()).unwrap();
    device.start_queue(1, guest.tx.active()).unwrap();
    assert_eq!(guest.receive(), (op::RW, b"while it was stopped".to_vec()));

    drop(ours);
    assert_eq!(guest.receive().0, op::SHUTDOWN);
    drop(device);
}

#[test]
fn a_port_is_expected_once_until_cancelled_and_a_dropped_device_closes_streams() {
    let device = VsockDevice::new(3);
    let vsock = device.handle();
    let (ours, theirs) = LocalStream::pair().unwrap();
    let (_, other) = LocalStream::pair().unwrap();
    vsock.expect(PORT, theirs).unwrap();
    assert!(matches!(vsock.expect(PORT, other), Err(ExpectError::Taken(PORT))));
    assert!(vsock.cancel(PORT));
    assert!(!vsock.cancel(PORT));
    assert_eq!((&ours).read(&mut [0]).unwrap(), 0, "cancelling closes the stream");
}
