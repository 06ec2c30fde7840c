//! The handler under sound and hostile guests, and the device with its thread.

use super::*;
use crate::queue::QueueInterrupt;
use crate::queue::driver::{BUFFERS, Driver, HOLE, Part, Random, SEAM, readable, writable};
use hull_platform::event::Event;

fn serve(parts: &[Part]) -> (Driver, Result<bool, QueueError>) {
    let mut driver = Driver::new(16);
    let mut queue = driver.queue(0);
    driver.offer_chain(parts);
    let served = RngHandler::new(RateLimit::new(PER_SECOND, BURST)).serve_one(&mut queue);
    (driver, served)
}

#[test]
fn a_request_is_filled_up_to_the_bound() {
    for (length, filled) in [(1, 1), (64, 64), (256, 256), (257, 256), (4096, 256)] {
        let (mut driver, served) = serve(&[writable(BUFFERS, length)]);
        assert!(served.unwrap());
        assert_eq!(driver.used(), [(0, filled)]);
        assert_eq!(driver.read(BUFFERS + u64::from(filled), 16), [0; 16], "nothing is written beyond");
    }
    let (driver, _) = serve(&[writable(SEAM - 20, 40), writable(BUFFERS, 40)]);
    let (one, other) = (driver.read(SEAM - 20, 40), driver.read(BUFFERS, 40));
    assert_ne!(one, other);
    assert!(one.iter().filter(|byte| **byte == 0).count() < 10, "{one:?}");
}

#[test]
fn chains_that_are_not_for_random_bytes_break_the_queue() {
    for parts in [
        &[readable(BUFFERS, 8)][..],
        &[readable(BUFFERS, 8), writable(BUFFERS, 8)],
        &[writable(0, 0)],
        &[readable(0, 0)],
    ] {
        assert!(matches!(serve(parts).1, Err(QueueError::Request { .. })), "{parts:?}");
    }
    assert!(matches!(serve(&[writable(HOLE - 1, 2)]).1, Err(QueueError::Chain { .. })));
}

#[test]
fn a_guest_that_asks_without_end_has_to_wait() {
    let mut driver = Driver::new(16);
    let mut queue = driver.queue(0);
    let mut handler = RngHandler::new(RateLimit::new(PER_SECOND, BURST));
    let mut served = 0;
    while handler.pause().is_none() {
        driver.offer_chain(&[writable(BUFFERS, 1)]);
        assert!(handler.serve_one(&mut queue).unwrap());
        served += 1;
    }
    // The burst, and what flows in meanwhile.
    assert!((256..10_000).contains(&served), "{served}");
    assert!(handler.pause().unwrap() > Instant::now() || handler.pause().is_none());
}

/// A driver that looks at the ring only.
struct Deaf;

impl QueueInterrupt for Deaf {
    fn used(&self) {}
    fn broken(&self) {
        panic!("the queue is sound");
    }
}

#[test]
fn a_restarted_queue_goes_on_under_the_same_limit() {
    let mut device = RngDevice::new();
    // A debt of an hour, which a first burst would have left in a device that is asked without end.
    device.limit.charge(3600 * PER_SECOND.get(), Instant::now());
    for _ in 0..2 {
        let mut driver = Driver::new(16);
        for _ in 0..3 {
            driver.offer_chain(&[writable(BUFFERS, 64)]);
        }
        let active = ActiveQueue::new("test".to_owned(), driver.queue(0), Event::new().unwrap(), Box::new(Deaf));
        device.start_queue(0, active).unwrap();
        // To stop a worker is to let it begin first.
        assert_eq!(device.stop_queue(0).unwrap().next_used, 0);
    }
}

#[test]
fn what_a_queue_spent_is_spent_when_it_is_started_again() {
    let (mut device, mut driver) = (RngDevice::new(), Driver::new(16));
    driver.offer_chain(&[writable(BUFFERS, 64)]);
    let active = ActiveQueue::new("test".to_owned(), driver.queue(0), Event::new().unwrap(), Box::new(Deaf));
    let before = device.limit;
    device.start_queue(0, active).unwrap();
    assert_eq!(device.stop_queue(0).unwrap().next_used, 1);
    assert_ne!(device.limit, before);
}

#[test]
fn no_request_whatever_causes_a_panic() {
    let mut random = Random::new(5);
    for _ in 0..1000 {
        let count = random.below(4);
        let parts: Vec<_> = (0..=count).map(|_| random.part()).collect();
        let _ = serve(&parts);
    }
}
