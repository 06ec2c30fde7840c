//! The handler with an output that a test holds, and the device with a pipe.

use super::handler::PATIENCE;
use super::output::Output;
use super::*;
use crate::queue::driver::{BUFFERS, Driver, HOLE, Random, SEAM, readable, writable};
use crate::queue::{Buffers, Queue, QueueError, QueueHandler, QueueInterrupt};
use hull_platform::event::Event;
use std::io::{PipeReader, Read, Seek, Write, pipe};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// What an output has taken, and how much more it takes.
#[derive(Default)]
struct Held {
    text: Vec<u8>,
    room: usize,
    failure: Option<io::ErrorKind>,
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Held>>);

impl Output for Paper {
    fn write(&self, text: &Buffers<'_>) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap();
        if let Some(failure) = held.failure {
            return Err(failure.into());
        }
        if held.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = vec![0; text.len().min(held.room)];
        text.clone().read(&mut bytes).unwrap();
        held.room -= bytes.len();
        held.text.extend(&bytes);
        Ok(bytes.len())
    }
}

struct Bench {
    driver: Driver,
    queue: Queue,
    paper: Paper,
    handler: ConsoleHandler<Paper>,
}

impl Bench {
    fn new(room: usize) -> Self {
        let driver = Driver::new(16);
        let (queue, paper) = (driver.queue(0), Paper::default());
        paper.0.lock().unwrap().room = room;
        let handler = ConsoleHandler::new(paper.clone());
        Self { driver, queue, paper, handler }
    }

    fn offer(&mut self, text: &[u8]) {
        self.driver.write(BUFFERS, text);
        self.driver.offer_chain(&[readable(BUFFERS, u32::try_from(text.len()).unwrap())]);
    }

    fn serve(&mut self) -> bool {
        self.handler.serve_one(&mut self.queue).unwrap()
    }

    fn text(&self) -> Vec<u8> {
        self.paper.0.lock().unwrap().text.clone()
    }

    fn set_room(&self, room: usize) {
        self.paper.0.lock().unwrap().room = room;
    }
}

#[test]
fn text_comes_out_as_it_went_in() {
    let mut bench = Bench::new(usize::MAX);
    bench.offer(b"hello ");
    assert!(bench.serve());
    bench.driver.write(SEAM - 3, b"world\n");
    bench.driver.offer_chain(&[readable(SEAM - 3, 5), readable(0, 0), readable(SEAM + 2, 1), writable(BUFFERS, 9)]);
    assert!(bench.serve());
    assert!(!bench.serve());
    assert_eq!(bench.text(), b"hello world\n");
    assert_eq!(bench.driver.used(), [(0, 0), (1, 0)]);
}

#[test]
fn a_full_output_is_waited_for_and_then_nothing_is_lost() {
    let mut bench = Bench::new(2);
    bench.offer(b"hello");
    assert!(!bench.serve());
    assert!(bench.driver.used().is_empty() && bench.handler.awaits_output());
    assert!(bench.handler.pause().is_some());
    bench.set_room(usize::MAX);
    bench.handler.output_is_ready();
    assert!(bench.handler.pause().is_none());
    assert!(bench.serve());
    assert_eq!((bench.text(), bench.driver.used().len()), (b"hello".to_vec(), 1));
}

#[test]
fn after_a_while_text_is_lost_until_the_output_takes_some_again() {
    let mut bench = Bench::new(2);
    bench.offer(b"hello");
    assert!(!bench.serve());
    let until = bench.handler.pause().unwrap();
    assert!(until <= Instant::now() + PATIENCE);
    assert_eq!(bench.handler.pause_at(until), None);
    assert!(bench.serve());
    assert_eq!(bench.driver.used().len(), 1);
    bench.offer(b"lost altogether");
    assert!(bench.handler.pause().is_none());
    assert!(bench.serve());
    assert_eq!((bench.text(), bench.driver.used().len()), (b"he".to_vec(), 1));
    assert!(bench.handler.awaits_output());
    bench.set_room(usize::MAX);
    bench.handler.output_is_ready();
    bench.offer(b" again");
    assert!(bench.serve());
    assert_eq!(bench.text(), b"he again");
    assert!(!bench.handler.awaits_output());
}

#[test]
fn an_output_that_failed_is_not_tried_again() {
    let mut bench = Bench::new(usize::MAX);
    bench.paper.0.lock().unwrap().failure = Some(io::ErrorKind::BrokenPipe);
    bench.offer(b"a");
    assert!(bench.serve());
    bench.paper.0.lock().unwrap().failure = None;
    bench.handler.output_is_ready();
    bench.offer(b"b");
    assert!(bench.serve());
    assert_eq!((bench.text(), bench.driver.used().len()), (Vec::new(), 2));
}

#[test]
fn of_an_endless_chain_only_the_beginning_is_written() {
    let mut bench = Bench::new(usize::MAX);
    bench.driver.offer_chain(&[readable(SEAM, 1 << 20); 16]);
    assert!(bench.serve());
    assert_eq!(bench.text().len(), 64 << 10);
}

#[test]
fn a_chain_at_hand_is_given_back_when_the_queue_is_stopped() {
    let mut bench = Bench::new(0);
    bench.offer(b"hello");
    assert!(!bench.serve());
    bench.handler.give_up(&mut bench.queue).unwrap();
    bench.handler.give_up(&mut bench.queue).unwrap();
    assert_eq!(bench.driver.used(), [(0, 0)]);
}

#[test]
fn no_request_whatever_causes_a_panic() {
    let mut random = Random::new(13);
    for _ in 0..1000 {
        let mut bench = Bench::new(usize::try_from(random.below(5000)).unwrap());
        let count = random.below(4);
        let parts: Vec<_> = (0..=count).map(|_| random.part()).collect();
        bench.driver.offer_chain(&parts);
        let served = bench.handler.serve_one(&mut bench.queue);
        assert!(matches!(served, Ok(_) | Err(QueueError::Chain { .. })));
    }
    let mut bench = Bench::new(1);
    bench.driver.offer_chain(&[readable(HOLE - 1, 2)]);
    assert!(matches!(bench.handler.serve_one(&mut bench.queue), Err(QueueError::Chain { .. })));
}

struct Interrupt(Sender<()>);

impl QueueInterrupt for Interrupt {
    fn used(&self) {
        // The test may have ended.
        let _ = self.0.send(());
    }
    fn broken(&self) {
        panic!("the queue is sound");
    }
}

fn device() -> (ConsoleDevice, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    (ConsoleDevice::new(File::from(OwnedFd::from(writer))).unwrap(), reader)
}

#[test]
fn a_guest_that_writes_to_a_pipe_which_nobody_reads_goes_on() {
    let (mut device, mut reader) = device();
    let (mut driver, kick) = (Driver::new(16), Event::new().unwrap());
    let (sender, used) = channel();
    let active = ActiveQueue::new(
        "test".to_owned(),
        Queue::new(driver.memory(), driver.layout(), 0, 0).unwrap(),
        kick.try_clone().unwrap(),
        Box::new(Interrupt(sender)),
    );
    device.start_queue(TRANSMIT, active).unwrap();
    driver.write(BUFFERS, &[b'x'; 30_000]);
    // A pipe holds 64 KiB; ten chains are more than four times that.
    for _ in 0..10 {
        driver.offer_chain(&[readable(BUFFERS, 30_000)]);
        kick.signal().unwrap();
        used.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert_eq!(driver.used().len(), 10);
    assert_eq!(device.stop_queue(TRANSMIT).unwrap().next_used, 10);
    assert_eq!(device.stop_queue(TRANSMIT), None);
    drop(device);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!((30_000..=65_536).contains(&bytes.len()) && bytes.iter().all(|byte| *byte == b'x'), "{}", bytes.len());
}

#[test]
fn two_that_share_a_full_pipe_wait_for_nobody() {
    let (_reader, writer) = pipe().unwrap();
    let file = File::from(OwnedFd::from(writer));
    let other = file.try_clone().unwrap();
    let output = Arc::new(FileOutput::new(file).unwrap());
    let (sender, done) = channel();
    // On a thread, because one that waits would do so for ever.
    std::thread::spawn(move || {
        let refused = (0..).find_map(|_| (&other).write(&[b'o'; 4096]).err()).map(|error| error.kind());
        sender.send(refused).unwrap();
    });
    assert_eq!(done.recv_timeout(Duration::from_secs(20)).unwrap(), Some(io::ErrorKind::WouldBlock));
    assert_eq!(output.send(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_regular_file_serves_as_output() {
    let mut file = tempfile::tempfile().unwrap();
    let output = Arc::new(FileOutput::new(file.try_clone().unwrap()).unwrap());
    let mut driver = Driver::new(16);
    let mut queue = driver.queue(0);
    driver.write(BUFFERS, b"kept");
    driver.offer_chain(&[readable(BUFFERS, 4)]);
    assert!(ConsoleHandler::new(output).serve_one(&mut queue).unwrap());
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "kept");
}
