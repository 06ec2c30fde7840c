//! The window under sound and hostile guests.

use super::config::{MAX_ERASE_RANGES, MAX_ERASE_SECTORS};
use super::request::BlockHandler;
use super::window::CAPACITY;
use super::*;
use crate::queue::driver::{BUFFERS, Driver, HOLE, Part, Random, SEAM, readable, writable};
use crate::queue::{Queue, QueueError, QueueHandler, QueueInterrupt};
use crate::rate_limit::RateLimit;
use hull_platform::event::Event;
use hull_platform::file::{read_exact_at, write_all_at};
use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use virtio_bindings::virtio_blk::*;

const MIB: u64 = 1 << 20;
const HEADER: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = BUFFERS + 0x1000;

const OK: Result<(), u8> = Ok(());
const IO_ERROR: Result<(), u8> = Err(1);
const UNSUPPORTED: Result<(), u8> = Err(2);

/// A device in which a file of 1 MiB is mapped for writing at 1 MiB, and one of 1 MiB for reading behind it; byte `i` of
/// the first is `i % 251`, of the second 0xbb.
struct Bench {
    driver: Driver,
    queue: Queue,
    window: Window,
    handler: BlockHandler,
    first: File,
}

/// A file of 1 MiB of this pattern.
fn file(pattern: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    let mut bytes = pattern.repeat(usize::try_from(MIB).unwrap() / pattern.len() + 1);
    bytes.truncate(usize::try_from(MIB).unwrap());
    write_all_at(&file, &bytes, 0).unwrap();
    file
}

impl Bench {
    fn new() -> Self {
        let device = BlockDevice::new("data", Access::ReadWrite);
        let window = device.window();
        let first = file(&(0..251).collect::<Vec<u8>>());
        window.map(MIB..2 * MIB, first.try_clone().unwrap(), 0, Access::ReadWrite).unwrap();
        window.map(2 * MIB..3 * MIB, file(&[0xbb]), 0, Access::ReadOnly).unwrap();
        let driver = Driver::new(16);
        let queue = driver.queue(1 << VIRTIO_BLK_F_FLUSH);
        let handler = BlockHandler::new(window.clone(), "data", SharedLimits::default());
        Self { driver, queue, window, handler, first }
    }

    /// Has a request of these parts served: header, `data`, status. Returns the status, checked against the used ring.
    fn request(&mut self, kind: u32, sector: u64, data: &[Part]) -> Result<(), u8> {
        self.driver.write(HEADER, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
        self.driver.write(STATUS, &[0xff]);
        let parts = [&[readable(HEADER, 16)], data, &[writable(STATUS, 1)]].concat();
        let head = self.driver.offer_chain(&parts);
        assert!(self.handler.serve_one(&mut self.queue).unwrap());
        let status = self.driver.read(STATUS, 1)[0];
        let used = self.driver.used();
        let space: u32 = data.iter().filter(|part| part.flags != 0).map(|part| part.length).sum();
        assert!(used == [(head, 1)] || (status == 0 && used[0].0 == head && used[0].1 <= space + 1), "{used:?}");
        if status == 0 { Ok(()) } else { Err(status) }
    }

    fn read(&mut self, position: u64, length: u32) -> Result<Vec<u8>, u8> {
        self.request(VIRTIO_BLK_T_IN, position / 512, &[writable(DATA, length)])?;
        Ok(self.driver.read(DATA, usize::try_from(length).unwrap()))
    }

    fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), u8> {
        self.driver.write(DATA, bytes);
        let length = u32::try_from(bytes.len()).unwrap();
        self.request(VIRTIO_BLK_T_OUT, position / 512, &[readable(DATA, length)])
    }

    fn erase(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> Result<(), u8> {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(sector, sectors, flags)| {
                [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
            })
            .collect();
        self.driver.write(DATA, &bytes);
        self.request(kind, 0, &[readable(DATA, u32::try_from(bytes.len()).unwrap())])
    }

    fn file_byte(&self, position: u64) -> u8 {
        let mut byte = [0];
        read_exact_at(&self.first, &mut byte, position).unwrap();
        byte[0]
    }

    /// What serving a chain that can carry no request says.
    fn broken_by(&mut self, parts: &[Part]) -> QueueError {
        self.driver.offer_chain(parts);
        let error = self.handler.serve_one(&mut self.queue).unwrap_err();
        assert!(self.driver.used().is_empty());
        error
    }
}

#[test]
fn reads_and_writes_reach_the_file() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(MIB + 512, 512).unwrap()[..3], [(512 % 251) as u8, (513 % 251) as u8, (514 % 251) as u8]);
    bench.write(MIB + 1024, &[7; 1024]).unwrap();
    assert_eq!((bench.file_byte(1023), bench.file_byte(1024), bench.file_byte(2047)), (19, 7, 7));
    assert_eq!(bench.read(MIB + 1024, 1024).unwrap(), [7; 1024]);
}

#[test]
fn data_may_be_scattered_over_buffers_and_regions() {
    let mut bench = Bench::new();
    let parts = [writable(SEAM - 100, 200), writable(DATA, 1), writable(0, 0), writable(DATA + 50, 823)];
    bench.request(VIRTIO_BLK_T_IN, MIB / 512, &parts).unwrap();
    let read =
        [bench.driver.read(SEAM - 100, 200), bench.driver.read(DATA, 1), bench.driver.read(DATA + 50, 823)].concat();
    assert!(read.iter().enumerate().all(|(position, &byte)| usize::from(byte) == position % 251));
}

#[test]
fn a_request_may_have_more_buffers_than_one_system_call_takes() {
    let mut bench = Bench::new();
    bench.driver = Driver::new(256);
    bench.queue = bench.driver.queue(0);
    let parts: Vec<_> = (0..128).map(|part| writable(DATA + 128 * part, 64)).collect();
    bench.request(VIRTIO_BLK_T_IN, MIB / 512, &parts).unwrap();
    let last = bench.driver.read(DATA + 128 * 127, 64);
    assert!((8128..8192).zip(last).all(|(position, byte)| usize::from(byte) == position % 251));
}

#[test]
fn a_request_may_span_extents_but_not_a_gap() {
    let mut bench = Bench::new();
    let bytes = bench.read(2 * MIB - 512, 1024).unwrap();
    assert_eq!((bytes[511], bytes[512]), (((MIB - 1) % 251) as u8, 0xbb));
    assert_eq!(bench.read(3 * MIB - 512, 1024), Err(1));
    assert_eq!(bench.read(3 * MIB, 512), Err(1));
    assert_eq!(bench.read(MIB - 512, 1024).unwrap()[510..514], [0, 0, 0, 1]);
}

#[test]
fn the_first_mebibyte_reads_as_zeros_and_takes_nothing() {
    let mut bench = Bench::new();
    bench.driver.write(DATA, &[9; 8192]);
    assert_eq!(bench.read(0, 8192).unwrap(), [0; 8192]);
    assert_eq!(bench.write(0, &[1; 512]), IO_ERROR);
    assert_eq!(bench.erase(VIRTIO_BLK_T_DISCARD, &[(0, 8, 0)]), IO_ERROR);
}

#[test]
fn nothing_is_written_where_writing_is_not_allowed() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(2 * MIB, &[1; 512]), IO_ERROR);
    assert_eq!(bench.erase(VIRTIO_BLK_T_WRITE_ZEROES, &[(2 * MIB / 512, 1, 0)]), IO_ERROR);
    assert_eq!(bench.read(2 * MIB, 512).unwrap(), [0xbb; 512]);
    let images = BlockDevice::new("images", Access::ReadOnly);
    let window = images.window();
    let refused = window.map(MIB..2 * MIB, file(&[1]), 0, Access::ReadWrite);
    assert!(matches!(refused, Err(MapError::ReadOnlyDevice)));
    window.map(MIB..2 * MIB, file(&[1]), 0, Access::ReadOnly).unwrap();
    bench.handler = BlockHandler::new(window, "images", SharedLimits::default());
    assert_eq!(bench.write(MIB, &[2; 512]), IO_ERROR);
    assert_eq!(bench.erase(VIRTIO_BLK_T_DISCARD, &[(MIB / 512, 8, 0)]), IO_ERROR);
    assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    assert_eq!(bench.read(MIB, 512).unwrap(), [1; 512]);
    assert_ne!(images.describe().features & (1 << VIRTIO_BLK_F_RO), 0);
    assert_eq!(images.describe().features & (1 << VIRTIO_BLK_F_DISCARD), 0);
}

#[test]
fn positions_and_lengths_beyond_reason_are_io_errors() {
    let mut bench = Bench::new();
    for sector in [CAPACITY / 512, CAPACITY / 512 - 1, u64::MAX / 512, u64::MAX / 512 + 1, u64::MAX] {
        for kind in [VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT] {
            let data = if kind == VIRTIO_BLK_T_IN { writable(DATA, 1024) } else { readable(DATA, 1024) };
            assert_eq!(bench.request(kind, sector, &[data]), IO_ERROR, "{sector:#x}");
        }
    }
    for length in [1, 511, 513] {
        assert_eq!(bench.request(VIRTIO_BLK_T_IN, MIB / 512, &[writable(DATA, length)]), IO_ERROR);
        assert_eq!(bench.request(VIRTIO_BLK_T_OUT, MIB / 512, &[readable(DATA, length)]), IO_ERROR);
    }
    assert_eq!(bench.request(VIRTIO_BLK_T_IN, MIB / 512, &[]), OK);
}

#[test]
fn unknown_requests_are_unsupported_and_the_queue_goes_on() {
    let mut bench = Bench::new();
    for kind in [2, 3, 5, 9, 14, 24, u32::MAX] {
        assert_eq!(bench.request(kind, 0, &[writable(DATA, 512)]), UNSUPPORTED, "{kind}");
    }
    assert!(bench.read(MIB, 512).is_ok());
}

#[test]
fn the_id_is_the_name() {
    let mut bench = Bench::new();
    bench.request(VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA, 20)]).unwrap();
    assert_eq!(bench.driver.read(DATA, 20), *b"data\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[writable(DATA, 19)]), IO_ERROR);
    assert_eq!(bench.request(VIRTIO_BLK_T_GET_ID, 0, &[]), IO_ERROR);
}

#[test]
fn chains_without_header_or_status_break_the_queue() {
    for parts in [
        &[][..],
        &[readable(HEADER, 15), writable(STATUS, 1)],
        &[writable(STATUS, 1)],
        &[readable(HEADER, 16)],
        &[readable(HEADER, 16), readable(DATA, 512)],
        &[readable(HEADER, 16), writable(STATUS, 0)],
        &[readable(0, 0), writable(STATUS, 1)],
    ] {
        let parts = if parts.is_empty() { &[readable(0, 0)] } else { parts };
        let error = Bench::new().broken_by(parts);
        assert!(matches!(error, QueueError::Request { .. }), "{error}");
    }
    let error = Bench::new().broken_by(&[readable(HEADER, 16), writable(HOLE - 1, 2)]);
    assert!(matches!(error, QueueError::Chain { .. }), "{error}");
}

#[test]
fn erased_ranges_read_as_zeros_and_discarding_frees_storage() {
    let mut bench = Bench::new();
    let sectors = |bytes: u64| u32::try_from(bytes / 512).unwrap();
    bench.erase(VIRTIO_BLK_T_WRITE_ZEROES, &[(MIB / 512 + 1, 2, 0)]).unwrap();
    assert_eq!((bench.file_byte(511), bench.file_byte(512), bench.file_byte(1535)), (9, 0, 0));
    assert_eq!(bench.file_byte(1536), (1536 % 251) as u8);
    bench.erase(VIRTIO_BLK_T_WRITE_ZEROES, &[(MIB / 512 + 8, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)]).unwrap();
    assert_eq!((bench.file_byte(4096), bench.file_byte(8191)), (0, 0));
    bench
        .erase(VIRTIO_BLK_T_DISCARD, &[(MIB / 512, sectors(MIB / 2), 0), (3 * MIB / 2 / 512, sectors(MIB / 2), 0)])
        .unwrap();
    assert_eq!(bench.file_byte(MIB - 1), 0);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(bench.first.metadata().unwrap().blocks(), 0);
    assert_eq!(bench.first.metadata().unwrap().len(), MIB);
}

#[test]
fn malformed_erase_requests_are_refused() {
    let mut bench = Bench::new();
    let here = MIB / 512;
    for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        assert_eq!(bench.erase(kind, &[]), IO_ERROR);
        assert_eq!(bench.erase(kind, &vec![(here, 1, 0); MAX_ERASE_RANGES as usize + 1]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(here, MAX_ERASE_SECTORS + 1, 0)]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(u64::MAX, u32::MAX, 0)]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(u64::MAX / 512, 2, 0)]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(CAPACITY / 512 - 1, 2, 0)]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(3 * MIB / 512, 1, 0)]), IO_ERROR);
        assert_eq!(bench.erase(kind, &[(here, 1, 2)]), UNSUPPORTED);
        assert_eq!(bench.request(kind, 0, &[readable(DATA, 15)]), IO_ERROR);
        assert_eq!(bench.request(kind, 0, &[readable(DATA, 17)]), IO_ERROR);
    }
    assert_eq!(bench.erase(VIRTIO_BLK_T_DISCARD, &[(here, 1, 1)]), UNSUPPORTED);
    assert_eq!(bench.file_byte(1), 1);
}

#[test]
fn extents_are_checked_when_mapped() {
    let window = BlockDevice::new("data", Access::ReadWrite).window();
    let map = |range, offset| window.map(range, file(&[0]), offset, Access::ReadWrite);
    for range in [
        0..MIB,
        MIB - 4096..MIB + 4096,
        MIB..MIB,
        Range { start: 2 * MIB, end: MIB },
        MIB + 1..2 * MIB,
        MIB..MIB + 4095,
        CAPACITY - 4096..CAPACITY + 4096,
        u64::MAX - 4095..u64::MAX,
    ] {
        assert!(matches!(map(range.clone(), 0), Err(MapError::Range(_))), "{range:?}");
    }
    assert!(matches!(map(MIB..2 * MIB, 1), Err(MapError::FileTooShort { .. })));
    assert!(matches!(map(MIB..2 * MIB, u64::MAX), Err(MapError::FileTooShort { .. })));
    map(4 * MIB..5 * MIB, 0).unwrap();
    for range in
        [4 * MIB..5 * MIB, 4 * MIB + 4096..4 * MIB + 8192, 5 * MIB - 4096..5 * MIB, 5 * MIB - 4096..5 * MIB + 4096]
    {
        assert!(matches!(map(range.clone(), 0), Err(MapError::Overlap { .. })), "{range:?}");
    }
    assert!(matches!(map(4 * MIB - 4096..4 * MIB + 4096, 0), Err(MapError::Overlap { .. })));
    map(3 * MIB..4 * MIB, 0).unwrap();
    map(5 * MIB..6 * MIB, 0).unwrap();
    map(CAPACITY - 4096..CAPACITY, 4096).unwrap();
    assert_eq!(window.unmap(4 * MIB..4 * MIB + 4096), Err(UnmapError(4 * MIB..4 * MIB + 4096)));
    assert_eq!(window.unmap(4 * MIB..6 * MIB), Err(UnmapError(4 * MIB..6 * MIB)));
    window.unmap(4 * MIB..5 * MIB).unwrap();
    assert_eq!(window.unmap(4 * MIB..5 * MIB), Err(UnmapError(4 * MIB..5 * MIB)));
    map(4 * MIB..5 * MIB, 0).unwrap();
}

#[test]
fn a_file_that_shrank_is_an_io_error() {
    let mut bench = Bench::new();
    bench.first.set_len(4096).unwrap();
    assert!(bench.read(MIB, 4096).is_ok());
    assert_eq!(bench.read(MIB + 4096, 512), Err(1));
}

#[test]
fn unmapping_waits_for_requests_and_then_nothing_reaches_the_file() {
    let mut bench = Bench::new();
    let window = bench.window.clone();
    let (entered, has_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    let user = window.clone();
    let request = thread::spawn(move || {
        user.hold(MIB, || {
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
    });
    has_entered.recv().unwrap();
    let (done, is_done) = mpsc::channel();
    let unmapping = thread::spawn(move || {
        window.unmap(MIB..2 * MIB).unwrap();
        done.send(()).unwrap();
    });
    assert!(is_done.recv_timeout(Duration::from_millis(50)).is_err(), "the file was still in use");
    leave.send(()).unwrap();
    is_done.recv().unwrap();
    request.join().unwrap();
    unmapping.join().unwrap();
    assert_eq!(bench.read(MIB, 512), Err(1));
}

#[test]
fn a_flush_syncs_what_was_written_since_the_last() {
    let mut bench = Bench::new();
    assert!(!bench.window.is_unsynced(MIB));
    bench.write(MIB, &[1; 512]).unwrap();
    assert!(bench.window.is_unsynced(MIB));
    bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).unwrap();
    assert!(!bench.window.is_unsynced(MIB));
    bench.erase(VIRTIO_BLK_T_DISCARD, &[(MIB / 512, 8, 0)]).unwrap();
    assert!(bench.window.is_unsynced(MIB));
}

#[test]
fn what_a_driver_writes_that_does_not_flush_is_synced_before_it_is_told() {
    let mut bench = Bench::new();
    bench.driver = Driver::new(16);
    bench.queue = bench.driver.queue(0);
    bench.write(MIB, &[1; 512]).unwrap();
    assert!(!bench.window.is_unsynced(MIB));
    for kind in [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES] {
        bench.erase(kind, &[(MIB / 512, 8, 0)]).unwrap();
        assert!(!bench.window.is_unsynced(MIB));
    }
    // Only where it wrote: what cannot be synced elsewhere is not its matter.
    bench.window.map(4 * MIB..5 * MIB, file(b"x"), 0, Access::ReadWrite).unwrap();
    bench.window.fail_sync(MIB);
    assert_eq!(bench.write(4 * MIB, &[1; 512]), OK);
    assert_eq!(bench.write(MIB, &[1; 512]), IO_ERROR);
}

#[test]
fn what_could_not_be_synced_once_is_never_reported_as_durable() {
    let mut bench = Bench::new();
    let unmapped = bench.first.try_clone().unwrap();
    bench.window.fail_sync(MIB);
    for _ in 0..2 {
        assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), IO_ERROR);
        bench.write(MIB, &[2; 512]).unwrap();
    }
    bench.window.unmap(MIB..2 * MIB).unwrap();
    assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
    bench.window.map(MIB..2 * MIB, unmapped, 0, Access::ReadWrite).unwrap();
    bench.write(MIB, &[3; 512]).unwrap();
    assert_eq!(bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]), OK);
}

#[test]
fn scratch_is_written_and_never_synced() {
    let mut bench = Bench::new();
    bench.window.unmap(MIB..2 * MIB).unwrap();
    bench.window.map(MIB..2 * MIB, file(b"x"), 0, Access::Scratch).unwrap();
    bench.write(MIB, &[1; 512]).unwrap();
    bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).unwrap();
    assert!(bench.window.is_unsynced(MIB));
    let images = BlockDevice::new("images", Access::ReadOnly).window();
    assert!(matches!(images.map(MIB..2 * MIB, file(b"x"), 0, Access::Scratch), Err(MapError::ReadOnlyDevice)));
}

#[test]
fn the_configuration_tells_the_geometry_and_reads_as_zeros_beyond() {
    let device = BlockDevice::new("data", Access::ReadWrite);
    let mut config = [0xff; 80];
    device.read_config(0, &mut config);
    assert_eq!(config[..8], (CAPACITY / 512).to_le_bytes());
    assert_eq!(config[20..24], 512_u32.to_le_bytes());
    assert_eq!(config[24], 3);
    assert_eq!(config[28..32], 512_u32.to_le_bytes());
    assert_eq!(config[34..36], 1_u16.to_le_bytes());
    assert_eq!(config[60..], [0; 20]);
    let mut beyond = [0xff; 4];
    device.read_config(u64::MAX - 1, &mut beyond);
    assert_eq!(beyond[..2], [0, 0]);
}

fn limit(per_second: u64, burst: u64) -> Option<RateLimit> {
    Some(RateLimit::new(NonZeroU64::new(per_second).unwrap(), NonZeroU64::new(burst).unwrap()))
}

#[test]
fn limits_count_bytes_that_move_and_requests_of_any_kind_and_are_off_by_default() {
    let mut bench = Bench::new();
    bench.read(MIB, 65_536).unwrap();
    assert_eq!(bench.handler.pause(), None);
    // An hour for a request, or for 64 KiB: whatever this test takes does not matter.
    let bytes = SharedLimits::new(Limits { bytes: limit(18, 8192), operations: None });
    bench.handler = BlockHandler::new(bench.window.clone(), "data", bytes.clone());
    bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).unwrap();
    bench.erase(VIRTIO_BLK_T_DISCARD, &[(MIB / 512, 1024, 0)]).unwrap();
    bench.read(MIB, 4096).unwrap();
    assert_eq!(bench.handler.pause(), None);
    bench.write(MIB, &[1; 61_440]).unwrap();
    let until = bench.handler.pause().unwrap();
    assert!((until - Instant::now()).abs_diff(Duration::from_secs((65_536 - 8192) / 18)) < Duration::from_secs(60));
    let sibling = BlockHandler::new(bench.window.clone(), "data", bytes).pause().unwrap();
    assert_eq!(sibling, until, "queues of one device share its limits");
    let operations = SharedLimits::new(Limits { bytes: None, operations: limit(1, 3600) });
    bench.handler = BlockHandler::new(bench.window.clone(), "data", operations);
    let flushes =
        (0..).take_while(|_| bench.request(VIRTIO_BLK_T_FLUSH, 0, &[]).is_ok() && bench.handler.pause().is_none());
    assert!((3599..3700).contains(&flushes.count()));
}

#[test]
fn a_device_has_as_many_queues_as_it_was_given() {
    let device = BlockDevice::new("data", Access::ReadWrite).with_queues(NonZeroU16::new(4).unwrap());
    assert_eq!(device.describe().queue_sizes.len(), 4);
    let mut count = [0; 2];
    device.read_config(34, &mut count);
    assert_eq!(u16::from_le_bytes(count), 4);
}

/// Tells a test that a chain was used.
struct Interrupt(mpsc::Sender<()>);

impl QueueInterrupt for Interrupt {
    fn used(&self) {
        self.0.send(()).unwrap();
    }
    fn broken(&self) {
        panic!("the queue is sound");
    }
}

#[test]
fn a_limited_queue_goes_on_by_itself_when_it_may() {
    let limits = Limits { bytes: None, operations: limit(50, 1) };
    let mut device = BlockDevice::new("data", Access::ReadWrite).with_limits(limits);
    let (mut driver, kick, (sender, used)) = (Driver::new(64), Event::new().unwrap(), mpsc::channel());
    driver.write(HEADER, &[&VIRTIO_BLK_T_FLUSH.to_le_bytes()[..], &[0; 12]].concat());
    for _ in 0..4 {
        driver.offer_chain(&[readable(HEADER, 16), writable(STATUS, 1)]);
    }
    let (start, interrupt) = (Instant::now(), Box::new(Interrupt(sender)));
    let active = ActiveQueue::new("test".to_owned(), driver.queue(0), kick, interrupt);
    device.start_queue(0, active).unwrap();
    for _ in 0..4 {
        used.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(60), "three of the four had to wait");
    assert_eq!(device.stop_queue(0).unwrap().next_used, 4);
    assert_eq!(driver.used().len(), 4);
}

#[test]
fn a_queue_that_waits_for_its_limit_can_be_stopped() {
    let limits = Limits { bytes: None, operations: Some(RateLimit::new(NonZeroU64::MIN, NonZeroU64::MIN)) };
    let mut device = BlockDevice::new("data", Access::ReadWrite).with_limits(limits);
    let (mut driver, kick, (sender, used)) = (Driver::new(64), Event::new().unwrap(), mpsc::channel());
    driver.write(HEADER, &[&VIRTIO_BLK_T_FLUSH.to_le_bytes()[..], &[0; 12]].concat());
    for _ in 0..20 {
        driver.offer_chain(&[readable(HEADER, 16), writable(STATUS, 1)]);
    }
    let active = ActiveQueue::new("test".to_owned(), driver.queue(0), kick, Box::new(Interrupt(sender)));
    device.start_queue(0, active).unwrap();
    used.recv_timeout(Duration::from_secs(20)).unwrap();
    let state = device.stop_queue(0).unwrap();
    assert!(state.next_used < 20);
    assert_eq!(state.next_available, state.next_used, "what was not served was not taken");
}

#[test]
fn no_request_whatever_causes_a_panic() {
    let mut random = Random::new(3);
    let mut bench = Bench::new();
    let mut served = 0;
    for _ in 0..3000 {
        let kind: u32 = random.pick(&[0, 0, 1, 1, 4, 8, 11, 13, 99]);
        let sector: u64 = random.pick(&[0, MIB / 512, 2 * MIB / 512 - 1, CAPACITY / 512 - 1, u64::MAX]);
        bench.driver.write(HEADER, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
        let mut parts = vec![readable(HEADER, 16)];
        parts.extend((0..random.below(4)).map(|_| random.part()));
        bench.driver.offer_chain(&parts);
        if bench.handler.serve_one(&mut bench.queue).is_ok() {
            served += 1;
        } else {
            bench.driver = Driver::new(16);
            bench.queue = bench.driver.queue(0);
        }
    }
    assert!(served > 100, "{served} requests were served");
}
