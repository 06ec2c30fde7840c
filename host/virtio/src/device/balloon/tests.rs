//! The handlers under sound and hostile guests, and the device with its thread.

use super::*;
use crate::queue::driver::{BUFFERS, Driver, END, HOLE, ISLAND, Part, Random, SEAM, readable, writable};
use crate::queue::{Queue, QueueError, QueueHandler, QueueInterrupt};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Remembers what was released.
#[derive(Default)]
struct Released(Mutex<Vec<(u64, u64)>>);

impl Release for Released {
    fn release(&self, guest_address: u64, length: u64) {
        self.0.lock().unwrap().push((guest_address, length));
    }
}

/// What comes of one chain on a queue of this kind.
fn serve(kind: Kind, driver: &mut Driver, parts: &[Part]) -> Result<Vec<(u64, u64)>, QueueError> {
    let released = Arc::new(Released::default());
    let mut queue = Queue::new(driver.memory(), driver.layout(), 0, 0).unwrap();
    let head = driver.offer_chain(parts);
    let release: Arc<dyn Release> = Arc::clone(&released) as _;
    assert!(PagesHandler::new(kind, release).serve_one(&mut queue)?);
    assert_eq!(driver.used(), [(head, 0)]);
    Ok(std::mem::take(&mut *released.0.lock().unwrap()))
}

fn numbers(driver: &Driver, pages: &[u32]) -> Part {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    driver.write(BUFFERS, &bytes);
    readable(BUFFERS, u32::try_from(bytes.len()).unwrap())
}

#[test]
fn pages_of_the_balloon_are_released_neighbours_together() {
    let mut driver = Driver::new(16);
    let pages = numbers(&driver, &[7, 8, 9, 20, 19, 18, 3, 3, u32::MAX]);
    let released = serve(Kind::Inflate, &mut driver, &[pages]).unwrap();
    let page = 4096;
    assert_eq!(
        released,
        [
            (7 * page, 3 * page),
            (18 * page, 3 * page),
            (3 * page, page),
            (3 * page, page),
            (u64::from(u32::MAX) * page, page)
        ]
    );
}

#[test]
fn page_numbers_may_be_cut_anywhere_and_a_rest_is_none() {
    let mut driver = Driver::new(16);
    numbers(&driver, &[5, 6, 0x0100]);
    let parts = [readable(BUFFERS, 3), readable(BUFFERS + 3, 6), readable(0, 0), writable(BUFFERS, 100)];
    assert_eq!(serve(Kind::Inflate, &mut driver, &parts).unwrap(), [(5 * 4096, 2 * 4096)]);
    let mut driver = Driver::new(16);
    assert_eq!(serve(Kind::Inflate, &mut driver, &[readable(BUFFERS, 3)]).unwrap(), []);
    let mut driver = Driver::new(16);
    assert_eq!(serve(Kind::Inflate, &mut driver, &[writable(BUFFERS, 64)]).unwrap(), []);
}

#[test]
fn of_an_endless_list_only_the_beginning_is_read() {
    let mut driver = Driver::new(16);
    // The whole memory, again and again, all of it "page 0".
    let parts = [readable(SEAM, 1 << 20); 8];
    assert_eq!(serve(Kind::Inflate, &mut driver, &parts).unwrap().len(), 1024);
}

#[test]
fn what_leaves_the_balloon_needs_nothing() {
    let mut driver = Driver::new(16);
    let pages = numbers(&driver, &[7, 8, 9]);
    assert_eq!(serve(Kind::Deflate, &mut driver, &[pages]).unwrap(), []);
}

#[test]
fn reported_pages_are_released_and_only_what_the_device_may_write() {
    let mut driver = Driver::new(16);
    let parts = [readable(BUFFERS, 4096), writable(ISLAND, 1 << 20), writable(SEAM - 4096, 8192), writable(HOLE, 0)];
    let released = serve(Kind::Report, &mut driver, &parts).unwrap();
    assert_eq!(released, [(ISLAND, 1 << 20), (SEAM - 4096, 8192)]);
    for part in [writable(HOLE, 4096), writable(END - 4096, 8192), writable(u64::MAX - 4095, 4096)] {
        assert!(matches!(serve(Kind::Report, &mut Driver::new(16), &[part]), Err(QueueError::Chain { .. })));
    }
}

#[test]
fn no_request_whatever_causes_a_panic() {
    let mut random = Random::new(9);
    for _ in 0..1000 {
        let kind = random.pick(&KINDS);
        let count = random.below(4);
        let parts: Vec<_> = (0..=count).map(|_| random.part()).collect();
        let _ = serve(kind, &mut Driver::new(16), &parts);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Used,
    Configuration,
}

struct Interrupt(Sender<Told>);

impl QueueInterrupt for Interrupt {
    fn used(&self) {
        self.0.send(Told::Used).unwrap();
    }
    fn broken(&self) {
        panic!("the queue is sound");
    }
    fn configuration_changed(&self) {
        self.0.send(Told::Configuration).unwrap();
    }
}

struct Side {
    driver: Driver,
    kick: Event,
    told: Receiver<Told>,
    active: Option<ActiveQueue>,
}

fn side(next_available: u16) -> Side {
    let (sender, told) = channel();
    let (driver, kick) = (Driver::new(16), Event::new().unwrap());
    let queue = Queue::new(driver.memory(), driver.layout(), 0, next_available).unwrap();
    let interrupt = Box::new(Interrupt(sender));
    let active = Some(ActiveQueue::new("test".to_owned(), queue, kick.try_clone().unwrap(), interrupt));
    Side { driver, kick, told, active }
}

impl Side {
    fn expect(&self, what: &Told) {
        assert_eq!(&self.told.recv_timeout(Duration::from_secs(20)).unwrap(), what);
    }
}

#[test]
fn queues_start_and_stop_on_their_own_and_a_new_size_is_told() {
    let released = Arc::new(Released::default());
    let mut device = BalloonDevice::new(Arc::clone(&released) as _).unwrap();
    let balloon = device.handle();
    let [mut inflate, mut report] = [side(0), side(0)];
    device.start_queue(0, inflate.active.take().unwrap()).unwrap();
    device.start_queue(2, report.active.take().unwrap()).unwrap();
    assert!(matches!(device.start_queue(3, side(0).active.unwrap()), Err(StartError::NoSuchQueue { index: 3 })));
    assert!(matches!(device.start_queue(2, side(0).active.unwrap()), Err(StartError::Running { index: 2 })));

    report.driver.offer_chain(&[writable(ISLAND, 4096)]);
    report.kick.signal().unwrap();
    report.expect(&Told::Used);
    assert_eq!(*released.0.lock().unwrap(), [(ISLAND, 4096)]);

    balloon.set_pages(100).unwrap();
    inflate.expect(&Told::Configuration);
    let mut config = [0; 8];
    device.read_config(0, &mut config);
    assert_eq!(config, [100, 0, 0, 0, 0, 0, 0, 0]);
    device.write_config(4, &64_u32.to_le_bytes());
    device.write_config(0, &9_u32.to_le_bytes());
    device.write_config(4, &[1]);
    device.write_config(u64::MAX, &[1, 2, 3, 4]);
    assert_eq!(balloon.actual_pages(), 64);
    device.read_config(0, &mut config);
    assert_eq!(config, [100, 0, 0, 0, 64, 0, 0, 0]);

    assert_eq!(device.stop_queue(2).unwrap().next_available, 1);
    assert_eq!(device.stop_queue(2), None);
    assert_eq!(device.stop_queue(7), None);
    let pages = numbers(&inflate.driver, &[1]);
    inflate.driver.offer_chain(&[pages]);
    inflate.kick.signal().unwrap();
    inflate.expect(&Told::Used);
    assert_eq!(device.stop_queue(0).unwrap().next_used, 1);
}
