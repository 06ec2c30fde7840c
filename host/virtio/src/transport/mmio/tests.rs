//! The register file, driven as a driver would and as no driver should.

use super::*;
use crate::device::StartError;
use std::sync::Mutex;
use vm_memory::{Bytes, GuestAddress};

const FEATURES: u64 = 1 << VIRTIO_F_VERSION_1 | 1 << 5;

#[derive(Default)]
struct Log {
    started: Vec<u16>,
    stopped: Vec<u16>,
    configuration: Vec<(u64, Vec<u8>)>,
}

struct Probe(Arc<Mutex<Log>>);

impl VirtioDevice for Probe {
    fn describe(&self) -> Description {
        Description { device_id: 2, features: FEATURES, queue_sizes: vec![256, 64] }
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(u8::try_from(offset & 0xff).unwrap());
    }
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.0.lock().unwrap().configuration.push((offset, data.to_vec()));
    }
    fn start_queue(&mut self, index: u16, _: ActiveQueue) -> Result<(), StartError> {
        self.0.lock().unwrap().started.push(index);
        Ok(())
    }
    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        self.0.lock().unwrap().stopped.push(index);
        Some(QueueState { next_available: 0, next_used: 0 })
    }
}

#[derive(Default)]
struct Line(AtomicU32);

impl InterruptLine for Line {
    fn raise(&self) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

struct Bench {
    transport: MmioTransport,
    log: Arc<Mutex<Log>>,
    line: Arc<Line>,
}

impl Bench {
    fn new() -> Self {
        let log = Arc::default();
        let device = Box::new(Probe(Arc::clone(&log)));
        Self { log, ..Self::with(device) }
    }

    /// With a device that keeps no log.
    fn with(device: Box<dyn VirtioDevice>) -> Self {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap();
        let line = Arc::<Line>::default();
        let transport = MmioTransport::new("probe", device, Arc::new(memory), Arc::clone(&line) as _).unwrap();
        Self { transport, log: Arc::default(), line }
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn write(&mut self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    fn negotiate(&mut self) {
        self.write(0x70, 1);
        self.write(0x70, 3);
        self.write(0x24, 1);
        self.write(0x20, 1);
        self.write(0x70, 11);
        assert_eq!(self.read(0x70), 11);
    }

    fn set_up_queue(&mut self, index: u32, at: u32) {
        self.write(0x30, index);
        self.write(0x38, 64);
        self.write(0x80, at);
        self.write(0x90, at + 0x1000);
        self.write(0xa0, at + 0x2000);
        self.write(0x44, 1);
    }
}

#[test]
fn a_driver_starts_the_device_and_resets_it() {
    let mut bench = Bench::new();
    assert_eq!([bench.read(0), bench.read(4), bench.read(8)], [MAGIC, 2, 2]);
    bench.negotiate();
    bench.set_up_queue(0, 0x1_0000);
    bench.set_up_queue(1, 0x2_0000);
    assert!(bench.log.lock().unwrap().started.is_empty(), "no queue is served before DRIVER_OK");
    bench.write(0x70, 15);
    assert_eq!(bench.log.lock().unwrap().started, [0, 1]);
    bench.write(0x70, 0);
    assert_eq!(bench.log.lock().unwrap().stopped, [0, 1]);
    assert_eq!([bench.read(0x70), bench.read(0x44)], [0, 0]);
}

#[test]
fn features_that_were_not_offered_are_not_accepted() {
    let mut bench = Bench::new();
    bench.write(0x70, 1);
    bench.write(0x70, 3);
    bench.write(0x24, 1);
    bench.write(0x20, 1);
    bench.write(0x24, 0);
    bench.write(0x20, 1 << 6);
    bench.write(0x70, 11);
    assert_eq!(bench.read(0x70), 3);
    bench.write(0x24, 2);
    bench.write(0x20, u32::MAX);
    bench.write(0x24, 0);
    bench.write(0x20, 1 << 5);
    bench.write(0x70, 11);
    assert_eq!(bench.read(0x70), 11);
}

#[test]
fn a_queue_in_use_cannot_be_moved() {
    let mut bench = Bench::new();
    bench.negotiate();
    bench.set_up_queue(0, 0x1_0000);
    bench.write(0x70, 15);
    bench.write(0x80, 0x5_0000);
    bench.write(0x38, 16);
    assert_eq!(bench.transport.queues[0].layout.descriptors, 0x1_0000);
    assert_eq!(bench.transport.queues[0].layout.size, 64);
    bench.write(0x44, 0);
    assert_eq!(bench.log.lock().unwrap().stopped, [0]);
    bench.set_up_queue(0, 0x5_0000);
    assert_eq!(bench.log.lock().unwrap().started, [0, 0], "and starts again at its new place");
}

#[test]
fn a_queue_outside_memory_needs_a_reset() {
    for at in [0xf_f000, 0x10_0000, 0xffff_0000, 0x1_0001] {
        let mut bench = Bench::new();
        bench.negotiate();
        bench.set_up_queue(0, at);
        bench.write(0x70, 15);
        assert!(bench.log.lock().unwrap().started.is_empty(), "{at:#x}");
        assert_eq!(bench.read(0x70), 15 | 64, "{at:#x}");
        assert_eq!(bench.read(0x60), 2, "{at:#x}");
        assert_eq!(bench.line.0.load(Ordering::Relaxed), 1);
        bench.write(0x70, 0);
        assert_eq!(bench.read(0x70), 0);
    }
}

#[test]
fn a_queue_larger_than_the_device_said_is_never_started() {
    for (size, sound) in [(256, true), (128, true), (0, false), (96, false), (512, false), (32_768, false)]
        .into_iter()
        .chain([(0x1_0000, false), (0x1_0100, false), (u32::MAX, false)])
    {
        let mut bench = Bench::new();
        bench.negotiate();
        bench.write(0x30, 0);
        for (register, value) in [(0x38, size), (0x80, 0x1_0000), (0x90, 0x9_0000), (0xa0, 0xa_0000), (0x44, 1)] {
            bench.write(register, value);
        }
        bench.write(0x70, 15);
        assert_eq!(bench.log.lock().unwrap().started, if sound { &[0][..] } else { &[] }, "{size:#x}");
        assert_eq!(bench.read(0x70), if sound { 15 } else { 15 | 64 }, "{size:#x}");
        // And a reset makes it good.
        bench.write(0x70, 0);
        bench.negotiate();
        bench.set_up_queue(0, 0x1_0000);
        bench.write(0x70, 15);
        assert_eq!(bench.read(0x70), 15, "{size:#x}");
    }
}

#[test]
fn kicks_and_interrupts_pass() {
    let mut bench = Bench::new();
    bench.write(0x50, 1);
    bench.write(0x50, 2);
    bench.write(0x50, u32::MAX);
    assert_eq!(bench.transport.kick(1).unwrap().clear().unwrap(), Some(1));
    assert_eq!(bench.transport.kick(0).unwrap().clear().unwrap(), None);
    Interrupt(Arc::clone(&bench.transport.signals)).used();
    assert_eq!(bench.read(0x60), 1);
    bench.write(0x64, 1);
    assert_eq!(bench.read(0x60), 0);
}

#[test]
fn accesses_of_every_width_at_every_offset_in_every_state_do_no_harm() {
    for state in [0, 1, 3, 11, 15] {
        let mut bench = Bench::new();
        for step in [1, 3, 11, 15].into_iter().filter(|step| *step <= state) {
            if step == 11 {
                bench.write(0x24, 1);
                bench.write(0x20, 1);
            }
            bench.write(0x70, step);
        }
        for offset in 0..0x140 {
            for width in [1, 2, 4, 8] {
                let mut data = vec![0xff; width];
                bench.transport.read(offset, &mut data);
                let register = Register::OFFSETS.contains(&offset) && width == 4;
                assert!(register || offset >= register::CONFIG || data.iter().all(|byte| *byte == 0));
                bench.transport.write(offset, &vec![0xff; width]);
                bench.transport.write(offset, &vec![0x01; width]);
            }
        }
    }
}

#[test]
fn the_configuration_is_written_only_by_a_driver() {
    let mut bench = Bench::new();
    bench.transport.write(0x104, &[1, 2]);
    assert!(bench.log.lock().unwrap().configuration.is_empty());
    bench.negotiate();
    bench.transport.write(0x104, &[1, 2]);
    assert_eq!(bench.log.lock().unwrap().configuration, [(4, vec![1, 2])]);
    let mut byte = [0];
    bench.transport.read(0x107, &mut byte);
    assert_eq!(byte, [7]);
}

#[test]
fn a_reset_leads_back_to_the_beginning_from_every_state() {
    for state in [0, 1, 3, 11, 15, 1 | 128, 3 | 128, 11 | 128, 15 | 128] {
        for broken in [false, true] {
            let mut bench = Bench::new();
            for step in [1, 3] {
                if step & !state == 0 {
                    bench.write(0x70, step);
                }
            }
            if state & 8 != 0 {
                bench.write(0x24, 1);
                bench.write(0x20, 1);
                bench.write(0x70, 11);
                bench.set_up_queue(0, if broken { 0xff_f000 } else { 0x1_0000 });
                bench.set_up_queue(1, 0x2_0000);
            }
            if state & 4 != 0 {
                bench.write(0x70, 15);
            }
            bench.write(0x70, state);
            bench.write(0x50, 1);
            assert_eq!(bench.read(0x70) & !64, state, "{state}");
            assert_eq!(bench.read(0x70) & 64 != 0, broken && state & 4 != 0);
            bench.write(0x70, 0);
            let ready = [0, 1].map(|queue| {
                bench.write(0x30, queue);
                bench.read(0x44)
            });
            assert_eq!([bench.read(0x70), bench.read(0x60), ready[0], ready[1]], [0; 4], "{state}");
            let log = bench.log.lock().unwrap();
            assert_eq!(log.started, log.stopped, "what was started was stopped: {state}");
            drop(log);
            // And it works.
            bench.negotiate();
            bench.set_up_queue(0, 0x1_0000);
            bench.write(0x70, 15);
            assert_eq!([bench.read(0x70), bench.read(0x44)], [15, 1], "{state}");
            assert_eq!(bench.log.lock().unwrap().started.last(), Some(&0));
        }
    }
}

/// A driver's queue at 0x1_0000 with one chain: a buffer of 64 bytes, for the device to write, at `buffer`.
fn put_queue(bench: &Bench, at: u64, buffer: u64) {
    let put = |address: u64, bytes: &[u8]| bench.transport.memory.write_slice(bytes, GuestAddress(address)).unwrap();
    put(at, &[&buffer.to_le_bytes()[..], &64_u32.to_le_bytes(), &2_u16.to_le_bytes(), &[0; 2]].concat());
    put(at + 0x1000, &[0, 0, 1, 0, 0, 0]);
    put(at + 0x2000, &[0; 4]);
}

#[test]
fn a_queue_of_a_device_that_serves_it_moves_only_by_way_of_a_stop() {
    let mut bench = Bench::with(Box::new(crate::device::rng::RngDevice::new()));
    let used = |bench: &Bench, at: u64| {
        let index: u16 = bench.transport.memory.read_obj(GuestAddress(at + 0x2002)).unwrap();
        index
    };
    put_queue(&bench, 0x1_0000, 0x8_0000);
    put_queue(&bench, 0x2_0000, 0x9_0000);
    bench.negotiate();
    bench.write(0x30, 0);
    bench.write(0x38, 8);
    for (register, at) in [(0x80, 0x1_0000), (0x90, 0x1_1000), (0xa0, 0x1_2000)] {
        bench.write(register, at);
    }
    bench.write(0x44, 1);
    bench.write(0x70, 15);
    for (register, at) in [(0x80, 0x2_0000), (0x90, 0x2_1000), (0xa0, 0x2_2000), (0x38, 4)] {
        bench.write(register, at);
    }
    bench.write(0x50, 0);
    // To stop a queue is to wait for what it is at, so after this all has happened that ever will.
    bench.write(0x44, 0);
    assert_eq!((used(&bench, 0x1_0000), used(&bench, 0x2_0000)), (1, 0));
    for (register, at) in [(0x80, 0x2_0000), (0x90, 0x2_1000), (0xa0, 0x2_2000)] {
        bench.write(register, at);
    }
    bench.write(0x44, 1);
    bench.write(0x70, 0);
    assert_eq!((used(&bench, 0x1_0000), used(&bench, 0x2_0000)), (1, 1));
    let bytes: [u8; 32] = bench.transport.memory.read_obj(GuestAddress(0x9_0000)).unwrap();
    assert_ne!(bytes, [0; 32]);
}
