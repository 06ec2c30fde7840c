//! A driver that reads and writes registers and its own memory as the input says, and a device that serves what it is
//! given.

use super::{InterruptLine, MmioTransport, WINDOW_SIZE, status};
use crate::device::{Description, QueueState, StartError, VirtioDevice};
use crate::fuzzing::{FIRST, Input, memory};
use crate::queue::{ActiveQueue, Chain, Queue, QueueError, QueueHandler};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC};
use vm_memory::{Bytes, GuestAddress};

const QUEUES: [u16; 2] = [256, 16];

type Running = Arc<Mutex<[Option<ActiveQueue>; QUEUES.len()]>>;

/// Holds its queues to the contract of [`VirtioDevice`].
struct Device(Running);

fn lock(running: &Running) -> MutexGuard<'_, [Option<ActiveQueue>; QUEUES.len()]> {
    running.lock().expect("nobody panics and goes on")
}

impl VirtioDevice for Device {
    fn describe(&self) -> Description {
        let bits = [VIRTIO_F_VERSION_1, VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC];
        let features = bits.iter().fold(0, |features, bit| features | 1 << bit);
        Description { device_id: 2, features, queue_sizes: QUEUES.to_vec() }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        assert!(offset < WINDOW_SIZE);
        data.fill(1);
    }

    fn write_config(&mut self, offset: u64, _: &[u8]) {
        assert!(offset < WINDOW_SIZE);
    }

    fn start_queue(&mut self, index: u16, queue: ActiveQueue) -> Result<(), StartError> {
        let slot = &mut lock(&self.0)[usize::from(index)];
        assert!(slot.is_none(), "a queue is stopped before it is started again");
        assert!(queue.size() <= QUEUES[usize::from(index)], "no queue is larger than the device said");
        *slot = Some(queue);
        Ok(())
    }

    fn stop_queue(&mut self, index: u16) -> Option<QueueState> {
        let queue = lock(&self.0)[usize::from(index)].take();
        Some(queue.expect("only a queue that runs is stopped").state())
    }
}

/// Gives every chain back.
#[derive(Default)]
struct Handler(Chain);

impl QueueHandler for Handler {
    fn serve_one(&mut self, queue: &mut Queue) -> Result<bool, QueueError> {
        if !queue.pop(&mut self.0)? {
            return Ok(false);
        }
        queue.push(self.0.head(), 0)?;
        Ok(true)
    }
}

struct Line;

impl InterruptLine for Line {
    fn raise(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Does one thing after another to a device's registers.
pub fn registers(input: &[u8]) {
    let mut input = Input::new(input);
    let memory = memory(&[]);
    let running = Running::default();
    let device = Box::new(Device(Arc::clone(&running)));
    let transport = MmioTransport::new("fuzz", device, Arc::clone(&memory), Arc::new(Line));
    let mut transport = transport.expect("there are files to open");
    while !input.is_empty() {
        match input.u8() % 8 {
            0..=3 => {
                // The registers that do something, mostly.
                let offset = input.pick(&[0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x90, 0xa0]);
                let value = u32::from(input.u16());
                transport.write(offset, &value.to_le_bytes());
            }
            4 => {
                let (offset, width, value) =
                    (u64::from(input.u16()) % WINDOW_SIZE, input.pick(&[1, 2, 4, 8]), input.u64());
                transport.write(offset, &value.to_le_bytes()[..width]);
            }
            5 => {
                let (offset, width) = (u64::from(input.u16()) % WINDOW_SIZE, input.pick(&[1, 2, 4, 8]));
                transport.read(offset, &mut [0; 8][..width]);
            }
            6 => {
                let (address, count) = (u64::from(input.u16()), input.u8());
                let bytes = input.take(count.into());
                let room = usize::try_from(FIRST - address).unwrap_or(0).min(bytes.len());
                memory.write_slice(&bytes[..room], GuestAddress(address)).expect("it is within the first region");
            }
            _ => {
                for queue in lock(&running).iter_mut().flatten() {
                    queue.serve(&mut Handler::default());
                }
            }
        }
        check(&transport, &running);
    }
}

/// What holds whatever the driver has done.
fn check(transport: &MmioTransport, running: &Running) {
    let read = |offset| {
        let mut data = [0; 4];
        transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    };
    assert_eq!((read(0x000), read(0x004), read(0x008)), (super::MAGIC, super::VERSION, 2));
    for (slot, queue) in lock(running).iter().zip(&transport.queues) {
        assert_eq!(slot.is_some(), queue.running);
        assert!(!queue.running || (queue.ready && transport.status & status::DRIVER_OK != 0));
        assert!(transport.status & status::FEATURES_OK == 0 || transport.features_acceptable());
    }
}
