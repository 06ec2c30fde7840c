//! Queues under sound and hostile drivers.

use super::driver::{BUFFERS, Driver, END, HOLE, INDIRECT, ISLAND, NEXT, Part, Random, SEAM, readable, writable};
use super::*;
use std::sync::atomic::AtomicU32;

const INDIRECT_DESC: u64 = 1 << VIRTIO_RING_F_INDIRECT_DESC;
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;

/// What popping the only chain says.
fn pop(driver: &Driver, features: u64) -> Result<Chain, ChainError> {
    let mut chain = Chain::default();
    match driver.queue(features).pop(&mut chain) {
        Ok(true) => Ok(chain),
        Ok(false) => panic!("nothing was available"),
        Err(QueueError::Chain { source, .. }) => Err(source),
        Err(error) => panic!("{error}"),
    }
}

/// What popping a chain of these buffers says.
fn pop_parts(parts: &[Part]) -> Result<Chain, ChainError> {
    let mut driver = Driver::new(16);
    driver.offer_chain(parts);
    pop(&driver, INDIRECT_DESC)
}

#[test]
fn a_sound_chain_is_read_and_written_across_buffers_and_regions() {
    let mut driver = Driver::new(16);
    driver.write(BUFFERS, b"abc");
    driver.write(SEAM - 2, b"defg");
    let parts = [readable(BUFFERS, 3), readable(SEAM - 2, 4), writable(BUFFERS + 100, 1), writable(ISLAND, 8)];
    let head = driver.offer_chain(&parts);
    let mut queue = driver.queue(0);
    let mut chain = Chain::default();
    assert!(queue.pop(&mut chain).unwrap());
    let mut from = chain.readable(queue.memory());
    let mut bytes = [0; 5];
    assert_eq!((from.len(), from.read(&mut bytes).unwrap()), (7, 5));
    assert_eq!(&bytes, b"abcde");
    assert_eq!(from.read(&mut bytes).unwrap(), 2);
    assert_eq!(&bytes[..2], b"fg");
    let mut to = chain.writable(queue.memory());
    assert_eq!(to.write(b"0123456789").unwrap(), 9);
    assert!(to.is_empty());
    queue.push(chain.head(), 9).unwrap();
    assert_eq!(driver.used(), [(head, 9)]);
    assert_eq!(driver.read(BUFFERS + 100, 1), b"0");
    assert_eq!(driver.read(ISLAND, 8), b"12345678");
    assert!(!queue.pop(&mut chain).unwrap());
}

#[test]
fn loops_and_chains_longer_than_the_queue_are_refused() {
    let part = readable(BUFFERS, 1);
    let mut own_tail = Driver::new(16);
    own_tail.describe(0, Part { flags: NEXT, ..part }, 0);
    own_tail.offer(0);
    assert_eq!(pop(&own_tail, 0).unwrap_err(), ChainError::TooLong);
    let mut ring = Driver::new(16);
    (0..16).for_each(|index| ring.describe(index, Part { flags: NEXT, ..part }, (index + 1) % 16));
    ring.offer(5);
    assert_eq!(pop(&ring, 0).unwrap_err(), ChainError::TooLong);
    assert!(pop_parts(&[part; 16]).is_ok());
}

#[test]
fn descriptors_beyond_the_table_are_refused() {
    let mut driver = Driver::new(16);
    driver.offer(16);
    assert_eq!(pop(&driver, 0).unwrap_err(), ChainError::Index { index: 16, size: 16 });
    let mut driver = Driver::new(16);
    driver.describe(0, Part { flags: NEXT, ..readable(BUFFERS, 1) }, u16::MAX);
    driver.offer(0);
    assert_eq!(pop(&driver, 0).unwrap_err(), ChainError::Index { index: u16::MAX, size: 16 });
}

#[test]
fn buffers_must_be_within_memory() {
    for (address, length) in [
        (HOLE, 1),
        (HOLE - 1, 2),
        (HOLE - 8, 1 << 21),
        (END - 1, 2),
        (END, 1),
        (u64::MAX, 1),
        (u64::MAX - 1, u32::MAX),
        (BUFFERS, u32::MAX),
    ] {
        for part in [readable(address, length), writable(address, length)] {
            assert_eq!(pop_parts(&[part]).unwrap_err(), ChainError::Memory { address, length });
        }
    }
    assert!(pop_parts(&[readable(HOLE - 1, 1), readable(SEAM - 1, 2), writable(END - 1, 1)]).is_ok());
}

#[test]
fn chains_of_more_than_4_gib_are_refused() {
    let error = pop_parts(&[readable(BUFFERS, 1), readable(BUFFERS, u32::MAX)]).unwrap_err();
    assert_eq!(error, ChainError::TotalLength);
}

#[test]
fn a_readable_buffer_after_a_writable_one_is_refused() {
    let error = pop_parts(&[writable(BUFFERS, 8), readable(BUFFERS, 8)]).unwrap_err();
    assert_eq!(error, ChainError::Order);
}

#[test]
fn empty_buffers_are_passed_over_wherever_they_point() {
    let chain =
        pop_parts(&[readable(u64::MAX, 0), readable(BUFFERS, 4), writable(HOLE, 0), writable(BUFFERS, 2)]).unwrap();
    let driver = Driver::new(16);
    assert_eq!(chain.readable(&driver.memory()).len(), 4);
    assert_eq!(chain.writable(&driver.memory()).len(), 2);
    let chain = pop_parts(&[readable(0, 0)]).unwrap();
    assert!(chain.readable(&driver.memory()).is_empty());
}

const TABLE: u64 = 0x4000;

/// A queue whose only chain is an indirect table of `length` bytes, after `before` other buffers.
fn indirect(before: &[Part], length: u32, flags: u16) -> Driver {
    let mut driver = Driver::new(16);
    let table = Part { address: TABLE, length, flags: INDIRECT | flags };
    driver.offer_chain(&[before, &[table]].concat());
    driver
}

#[test]
fn an_indirect_table_continues_the_chain() {
    let driver = indirect(&[readable(BUFFERS, 3)], 48, 0);
    driver.describe_at(TABLE, 0, Part { flags: NEXT, ..readable(BUFFERS, 5) }, 2);
    driver.describe_at(TABLE, 2, writable(BUFFERS, 7), 0);
    let chain = pop(&driver, INDIRECT_DESC).unwrap();
    assert_eq!(chain.readable(&driver.memory()).len(), 8);
    assert_eq!(chain.writable(&driver.memory()).len(), 7);
}

#[test]
fn malformed_indirect_tables_are_refused() {
    let refuse = |driver: &Driver| pop(driver, INDIRECT_DESC).unwrap_err();
    for length in [0, 1, 15, 17, 16 * 17, 16 * 65536, u32::MAX] {
        assert_eq!(refuse(&indirect(&[], length, 0)), ChainError::IndirectLength(length));
    }
    // Followed by another descriptor; not negotiated; within another table; its own loop; an index beyond it.
    let mut followed = Driver::new(16);
    followed.describe(0, Part { address: TABLE, length: 16, flags: INDIRECT | NEXT }, 1);
    followed.offer(0);
    assert_eq!(refuse(&followed), ChainError::Indirect);
    assert_eq!(pop(&indirect(&[], 16, 0), 0).unwrap_err(), ChainError::Indirect);
    let nested = indirect(&[], 16, 0);
    nested.describe_at(TABLE, 0, Part { address: TABLE, length: 16, flags: INDIRECT }, 0);
    assert_eq!(refuse(&nested), ChainError::Indirect);
    let late = indirect(&[], 32, 0);
    late.describe_at(TABLE, 0, Part { flags: NEXT, ..readable(BUFFERS, 1) }, 1);
    late.describe_at(TABLE, 1, Part { address: TABLE, length: 16, flags: INDIRECT }, 0);
    assert_eq!(refuse(&late), ChainError::Indirect);
    let looped = indirect(&[], 16, 0);
    looped.describe_at(TABLE, 0, Part { flags: NEXT, ..readable(BUFFERS, 1) }, 0);
    assert_eq!(refuse(&looped), ChainError::TooLong);
    let beyond = indirect(&[], 16, 0);
    beyond.describe_at(TABLE, 0, Part { flags: NEXT, ..readable(BUFFERS, 1) }, 1);
    assert_eq!(refuse(&beyond), ChainError::Index { index: 1, size: 1 });
    for address in [HOLE - 8, END, u64::MAX - 15] {
        let mut outside = Driver::new(16);
        outside.offer_chain(&[Part { address, length: 32, flags: INDIRECT }]);
        assert_eq!(refuse(&outside), ChainError::Memory { address, length: 32 });
    }
}

#[test]
fn an_available_index_further_than_the_queue_is_long_is_refused() {
    let driver = Driver::new(16);
    driver.set_available(17);
    let error = driver.queue(0).pop(&mut Chain::default()).unwrap_err();
    assert!(matches!(error, QueueError::Ring(virtio_queue::Error::InvalidAvailRingIndex)), "{error}");
}

#[test]
fn unusable_layouts_are_refused() {
    let driver = Driver::new(16);
    let good = driver.layout();
    for layout in [
        Layout { size: 0, ..good },
        Layout { size: 24, ..good },
        Layout { size: 1 << 15, descriptors: HOLE / 2 + 16, ..good },
        Layout { descriptors: 0x1008, ..good },
        Layout { descriptors: HOLE - 16, ..good },
        Layout { available: 0, ..good },
        Layout { available: 0x6001, ..good },
        Layout { available: HOLE - 2, ..good },
        Layout { used: 0x8002, ..good },
        Layout { used: u64::MAX - 3, ..good },
    ] {
        let result = Queue::new(driver.memory(), layout, 0, 0);
        assert!(matches!(result, Err(QueueError::Layout(_))), "{layout:?}");
    }
}

#[test]
fn a_stopped_queue_goes_on_where_it_stood() {
    let mut driver = Driver::new(4);
    let mut queue = driver.queue(0);
    let mut chain = Chain::default();
    for _ in 0..6 {
        driver.offer_chain(&[writable(BUFFERS, 1)]);
        assert!(queue.pop(&mut chain).unwrap());
        queue.push(chain.head(), 1).unwrap();
    }
    driver.offer_chain(&[writable(BUFFERS, 1)]);
    let state = queue.state();
    assert_eq!(state, QueueState { next_available: 6, next_used: 6 });
    let mut queue = Queue::new(driver.memory(), driver.layout(), 0, state.next_available).unwrap();
    assert!(queue.pop(&mut chain).unwrap());
    queue.undo_pop();
    assert!(queue.pop(&mut chain).unwrap());
    queue.push(chain.head(), 0).unwrap();
    assert!(!queue.pop(&mut chain).unwrap());
    assert_eq!(driver.used().len(), 7);
    assert_eq!(queue.state(), QueueState { next_available: 7, next_used: 7 });
}

#[test]
fn interrupts_are_wanted_as_the_driver_says() {
    let mut driver = Driver::new(8);
    let mut queue = driver.queue(EVENT_IDX);
    let mut chain = Chain::default();
    let mut serve = |driver: &mut Driver, queue: &mut Queue| {
        driver.offer_chain(&[writable(BUFFERS, 1)]);
        assert!(queue.pop(&mut chain).unwrap());
        queue.push(chain.head(), 0).unwrap();
    };
    driver.set_used_event(1);
    serve(&mut driver, &mut queue);
    assert!(!queue.wants_interrupt().unwrap(), "used index 1 has not passed event 1");
    serve(&mut driver, &mut queue);
    serve(&mut driver, &mut queue);
    assert!(queue.wants_interrupt().unwrap(), "2 and 3 have");
    assert!(!queue.wants_interrupt().unwrap(), "and were told");
    assert!(!queue.enable_kicks().unwrap());
    assert_eq!(driver.avail_event(), 3);
    let mut queue = Queue::new(driver.memory(), driver.layout(), 0, 3).unwrap();
    driver.set_flags(1);
    assert!(!queue.wants_interrupt().unwrap());
    driver.set_flags(0);
    assert!(queue.wants_interrupt().unwrap());
    driver.offer_chain(&[writable(BUFFERS, 1)]);
    assert!(queue.enable_kicks().unwrap(), "what came before is to be served without a kick");
}

#[test]
fn buffers_cut_anywhere_hold_the_same_bytes() {
    let mut random = Random::new(7);
    let mut driver = Driver::new(16);
    let memory = driver.memory();
    let bytes: Vec<u8> = (0..200_u8).collect();
    driver.write(SEAM - 100, &bytes);
    let mut at = SEAM - 100;
    let parts = [1, 30, 2, 67, 1, 99].map(|length: u32| {
        at += u64::from(length);
        readable(at - u64::from(length), length)
    });
    driver.offer_chain(&parts);
    let chain = pop(&driver, 0).unwrap();
    for _ in 0..500 {
        let mut rest = chain.readable(&memory);
        let mut expected = bytes.as_slice();
        while !rest.is_empty() {
            let count = usize::try_from(random.below(90)).unwrap();
            if random.below(2) == 0 {
                rest.skip(count);
            } else {
                let mut front = rest.split(count);
                let mut copy = vec![0; front.len()];
                assert_eq!(front.read(&mut copy).unwrap(), copy.len());
                assert_eq!(copy, expected[..copy.len()]);
            }
            expected = &expected[count.min(expected.len())..];
            assert_eq!(rest.len(), expected.len());
            assert_eq!(rest.slices().map(|slice| slice.unwrap().len()).sum::<usize>(), rest.len());
        }
    }
}

#[derive(Default)]
struct Counts {
    used: AtomicU32,
    broken: AtomicU32,
}

impl QueueInterrupt for Arc<Counts> {
    fn used(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    fn broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives every chain back at once.
struct Echo(Chain);

impl QueueHandler for Echo {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        let popped = queue.pop(&mut self.0)?;
        if popped {
            queue.push(self.0.head(), 0)?;
        }
        Ok(popped)
    }
}

fn active(driver: &Driver) -> (ActiveQueue, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let interrupt = Box::new(Arc::clone(&counts));
    (ActiveQueue::new("test".to_owned(), driver.queue(0), Event::new().unwrap(), interrupt), counts)
}

#[test]
fn a_malformed_chain_breaks_its_queue_once_and_for_good() {
    let mut driver = Driver::new(16);
    let (mut queue, counts) = active(&driver);
    driver.offer_chain(&[writable(BUFFERS, 1)]);
    driver.offer_chain(&[writable(HOLE, 1)]);
    driver.offer_chain(&[writable(BUFFERS, 1)]);
    let mut echo = Echo(Chain::default());
    for _ in 0..3 {
        queue.serve(&mut echo);
    }
    assert_eq!(driver.used().len(), 1);
    assert_eq!((counts.used.load(Ordering::Relaxed), counts.broken.load(Ordering::Relaxed)), (1, 1));
}

/// A driver that makes a chain available for each that is used.
struct Endless(Echo, Driver);

impl QueueHandler for Endless {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        self.1.offer_chain(&[writable(BUFFERS, 1)]);
        self.0.serve_one(queue)
    }
}

#[test]
fn a_driver_that_never_pauses_does_not_hold_the_worker() {
    let driver = Driver::new(16);
    let (mut queue, _) = active(&driver);
    queue.serve(&mut Endless(Echo(Chain::default()), driver));
    assert_eq!(queue.kick().clear().unwrap(), Some(1), "it kicked itself, to go on later");
}

#[test]
fn a_ring_over_the_other_does_not_hold_the_worker() {
    // The flags of the used ring, which say whether kicks are wanted, lie on the index of the available ring: while they
    // are it seems to have a chain, while they are not it seems to have none.
    let driver = Driver::new(16);
    let layout = Layout { used: driver.layout().available + 4, ..driver.layout() };
    let layout = Layout { available: layout.used - 2, ..layout };
    for next_available in [0, 1] {
        let queue = Queue::new(driver.memory(), layout, 0, next_available).unwrap();
        let interrupt = Box::new(Arc::new(Counts::default()));
        let mut queue = ActiveQueue::new("test".to_owned(), queue, Event::new().unwrap(), interrupt);
        queue.serve(&mut Echo(Chain::default()));
    }
}

/// Takes its time for each request.
struct Slow(Echo, Duration);

impl QueueHandler for Slow {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        let served = self.0.serve_one(queue)?;
        if served {
            std::thread::sleep(self.1);
        }
        Ok(served)
    }
}

#[test]
fn long_requests_do_not_hold_the_worker_one_after_another() {
    let mut driver = Driver::new(16);
    let (mut queue, _) = active(&driver);
    for _ in 0..5 {
        driver.offer_chain(&[readable(BUFFERS, 1)]);
    }
    let mut slow = Slow(Echo(Chain::default()), SLICE + Duration::from_millis(1));
    assert_eq!(queue.serve(&mut slow), None);
    assert_eq!((driver.used().len(), queue.kick().clear().unwrap()), (1, Some(1)), "and it goes on by itself");
}

/// Serves two requests and then pauses.
struct Lazy(Echo, u32, Instant);

impl QueueHandler for Lazy {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        self.1 += 1;
        self.0.serve_one(queue)
    }

    fn pause(&mut self) -> Option<Instant> {
        (self.1 == 2).then_some(self.2)
    }
}

#[test]
fn a_handler_that_pauses_is_left_alone_until_its_time() {
    let mut driver = Driver::new(16);
    let (mut queue, counts) = active(&driver);
    for _ in 0..3 {
        driver.offer_chain(&[readable(BUFFERS, 1)]);
    }
    let mut lazy = Lazy(Echo(Chain::default()), 0, Instant::now());
    assert_eq!(queue.serve(&mut lazy), Some(lazy.2));
    assert_eq!((driver.used().len(), queue.kick().clear().unwrap()), (2, None));
    lazy.1 = 10;
    assert_eq!(queue.serve(&mut lazy), None);
    assert_eq!(driver.used().len(), 1);
    assert_eq!(counts.used.load(Ordering::Relaxed), 3);
}

#[test]
fn no_descriptors_whatever_cause_a_panic_or_a_buffer_outside_memory() {
    let mut random = Random::new(42);
    for _ in 0..20_000 {
        let mut driver = Driver::new(8);
        for index in 0..8 {
            random.describe(&driver, driver.layout().descriptors, index);
            random.describe(&driver, BUFFERS, index);
        }
        driver.offer(u16::try_from(random.below(9)).unwrap());
        let mut chain = Chain::default();
        if driver.queue(INDIRECT_DESC).pop(&mut chain).is_ok() {
            let memory = driver.memory();
            for buffers in [chain.readable(&memory), chain.writable(&memory)] {
                assert_eq!(buffers.slices().map(|slice| slice.unwrap().len()).sum::<usize>(), buffers.len());
            }
        }
    }
}
