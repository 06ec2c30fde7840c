//! virtio over MMIO, version 2 (virtio 1.2 §4.2): the register file of one device.
//!
//! The machine routes accesses within [`WINDOW_SIZE`] bytes to [`MmioTransport::read`] and [`MmioTransport::write`]; what
//! is hot does not come here: a machine with doorbells attaches [`MmioTransport::kick`] to the `QueueNotify` register, and
//! interrupts go from the worker straight to the [`InterruptLine`]. So nothing here is on the data path.
//!
//! A driver that breaks the rules is ignored where the specification leaves that open, and told `DEVICE_NEEDS_RESET`
//! where its queues can no longer be served.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod register;
mod status;
#[cfg(test)]
mod tests;

use crate::device::{Description, QueueState, VirtioDevice};
use crate::queue::{ActiveQueue, GuestMemory, Layout, Queue, QueueError, QueueInterrupt, report_broken, warn_failed};
use hull_platform::event::Event;
use register::Register;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;

pub use register::{QUEUE_NOTIFY, WINDOW_SIZE};

/// "virt" in little-endian (§4.2.2).
const MAGIC: u32 = 0x7472_6976;
/// The version without "legacy" in its name.
const VERSION: u32 = 2;
/// "hull".
const VENDOR: u32 = 0x6c6c_7568;

const INTERRUPT_USED: u32 = 1 << 0;
const INTERRUPT_CONFIG: u32 = 1 << 1;

/// The interrupt of a device; edge-triggered.
pub trait InterruptLine: Send + Sync {
    /// Raises it once.
    ///
    /// # Errors
    /// What the system said.
    fn raise(&self) -> io::Result<()>;
}

/// What the workers of a device and its registers share.
struct Signals {
    line: Arc<dyn InterruptLine>,
    interrupt: AtomicU32,
    needs_reset: AtomicU32,
}

impl Signals {
    fn raise(&self, cause: u32) {
        self.interrupt.fetch_or(cause, Ordering::AcqRel);
        warn_failed("interrupt the guest", self.line.raise());
    }
}

struct Interrupt(Arc<Signals>);

impl QueueInterrupt for Interrupt {
    fn used(&self) {
        self.0.raise(INTERRUPT_USED);
    }

    fn broken(&self) {
        self.0.needs_reset.store(status::NEEDS_RESET, Ordering::Release);
        // §2.1.2: after DRIVER_OK the device notifies of the change; queues run only then.
        self.0.raise(INTERRUPT_CONFIG);
    }

    fn configuration_changed(&self) {
        self.0.raise(INTERRUPT_CONFIG);
    }
}

/// One queue as the driver has set it up.
struct QueueRegisters {
    largest: u16,
    kick: Event,
    layout: Layout,
    ready: bool,
    running: bool,
}

impl QueueRegisters {
    fn reset(&mut self) {
        self.layout = Layout { size: self.largest, descriptors: 0, available: 0, used: 0 };
        self.ready = false;
        self.running = false;
    }
}

/// The registers of one device, and the device.
pub struct MmioTransport {
    name: String,
    device: Box<dyn VirtioDevice>,
    description: Description,
    memory: Arc<GuestMemory>,
    signals: Arc<Signals>,
    queues: Vec<QueueRegisters>,
    status: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
}

impl MmioTransport {
    /// Registers for `device`. `name` is for messages.
    ///
    /// # Errors
    /// Too many open files.
    pub fn new(
        name: &str,
        device: Box<dyn VirtioDevice>,
        memory: Arc<GuestMemory>,
        line: Arc<dyn InterruptLine>,
    ) -> io::Result<Self> {
        let description = device.describe();
        let queue = |largest: &u16| {
            let layout = Layout { size: *largest, descriptors: 0, available: 0, used: 0 };
            Ok(QueueRegisters { largest: *largest, kick: Event::new()?, layout, ready: false, running: false })
        };
        let queues = description.queue_sizes.iter().map(queue).collect::<io::Result<_>>()?;
        let signals = Signals { line, interrupt: AtomicU32::new(0), needs_reset: AtomicU32::new(0) };
        Ok(Self {
            name: name.to_owned(),
            device,
            description,
            memory,
            signals: Arc::new(signals),
            queues,
            status: 0,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
        })
    }

    /// What a doorbell for the queue signals; `None` if there is no such queue. The same event for the device's life.
    pub fn kick(&self, queue: u16) -> Option<&Event> {
        self.queues.get(usize::from(queue)).map(|queue| &queue.kick)
    }

    /// Number of queues.
    pub fn queue_count(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    /// A read at `offset` in the window. Registers are read as 4 aligned bytes; anything else reads as zeros. The
    /// configuration space may be read in any width.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(register::CONFIG) {
            return self.device.read_config(offset, data);
        }
        data.fill(0);
        if let (Ok(data), Some(register)) = (<&mut [u8; 4]>::try_from(data), Register::at(offset)) {
            *data = self.register(register).to_le_bytes();
        }
    }

    /// A write at `offset` in the window. Registers are written as 4 aligned bytes; anything else is ignored.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(register::CONFIG) {
            // §2.5.1: a driver may write to the configuration once it has read the features.
            if self.status & status::DRIVER != 0 {
                self.device.write_config(offset, data);
            }
            return;
        }
        if let (Ok(data), Some(register)) = (<[u8; 4]>::try_from(data), Register::at(offset)) {
            self.set_register(register, u32::from_le_bytes(data));
        }
    }

    fn register(&self, register: Register) -> u32 {
        let queue = self.selected();
        match register {
            Register::MagicValue => MAGIC,
            Register::Version => VERSION,
            Register::DeviceId => self.description.device_id,
            Register::VendorId => VENDOR,
            Register::DeviceFeatures => half(self.description.features, self.device_features_select),
            Register::QueueSizeMax => queue.map_or(0, |queue| queue.largest.into()),
            Register::QueueReady => queue.map_or(0, |queue| queue.ready.into()),
            Register::InterruptStatus => self.signals.interrupt.load(Ordering::Acquire),
            Register::Status => self.status | self.signals.needs_reset.load(Ordering::Acquire),
            // Devices of ours that change their configuration while they run do so one aligned word at a time.
            Register::ConfigGeneration => 0,
            // §4.2.2: no shared memory region has this length.
            Register::ShmLenLow | Register::ShmLenHigh | Register::ShmBaseLow | Register::ShmBaseHigh => u32::MAX,
            _ => 0,
        }
    }

    fn set_register(&mut self, register: Register, value: u32) {
        match register {
            Register::DeviceFeaturesSel => self.device_features_select = value,
            Register::DriverFeaturesSel => self.driver_features_select = value,
            Register::DriverFeatures => self.set_driver_features(value),
            Register::QueueSel => self.queue_select = value,
            Register::QueueSize => {
                if let Some(queue) = self.idle_queue() {
                    // What is too large is kept, so that the queue is refused rather than run at a size of our own.
                    queue.layout.size = u16::try_from(value).unwrap_or(u16::MAX);
                }
            }
            Register::QueueReady => self.set_queue_ready(value),
            Register::QueueNotify => self.notify(value),
            Register::InterruptAck => {
                self.signals.interrupt.fetch_and(!value, Ordering::AcqRel);
            }
            Register::Status => self.set_status(value),
            Register::QueueDescLow => self.set_address(|layout| &mut layout.descriptors, 0, value),
            Register::QueueDescHigh => self.set_address(|layout| &mut layout.descriptors, 32, value),
            Register::QueueDriverLow => self.set_address(|layout| &mut layout.available, 0, value),
            Register::QueueDriverHigh => self.set_address(|layout| &mut layout.available, 32, value),
            Register::QueueDeviceLow => self.set_address(|layout| &mut layout.used, 0, value),
            Register::QueueDeviceHigh => self.set_address(|layout| &mut layout.used, 32, value),
            _ => {}
        }
    }

    fn selected(&self) -> Option<&QueueRegisters> {
        self.queues.get(usize::try_from(self.queue_select).ok()?)
    }

    /// The selected queue while its set-up may change: negotiation is over, and it is not in use (§4.2.2.2).
    fn idle_queue(&mut self) -> Option<&mut QueueRegisters> {
        let negotiated = self.status & status::FEATURES_OK != 0;
        let queue = self.queues.get_mut(usize::try_from(self.queue_select).ok()?)?;
        (negotiated && !queue.ready).then_some(queue)
    }

    fn set_driver_features(&mut self, value: u32) {
        let negotiating = self.status & status::DRIVER != 0 && self.status & status::FEATURES_OK == 0;
        if negotiating && self.driver_features_select <= 1 {
            let shift = self.driver_features_select * 32;
            self.driver_features = self.driver_features & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
        }
    }

    fn set_address(&mut self, part: impl Fn(&mut Layout) -> &mut u64, shift: u32, value: u32) {
        if let Some(queue) = self.idle_queue() {
            let address = part(&mut queue.layout);
            *address = *address & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
        }
    }

    fn set_queue_ready(&mut self, value: u32) {
        let Ok(index) = u16::try_from(self.queue_select) else { return };
        if value & 1 == 0 {
            return self.stop(index);
        }
        if let Some(queue) = self.idle_queue() {
            queue.ready = true;
            self.start(index);
        }
    }

    fn notify(&self, value: u32) {
        let Some(kick) = u16::try_from(value).ok().and_then(|index| self.kick(index)) else { return };
        warn_failed("kick a queue", kick.signal());
    }

    fn set_status(&mut self, value: u32) {
        match status::next(self.status, value, self.features_acceptable()) {
            status::Change::Reset => self.reset(),
            status::Change::To(next) => {
                let started = next & !self.status & status::DRIVER_OK != 0;
                self.status = next;
                if started {
                    (0..self.queue_count()).for_each(|index| self.start(index));
                }
            }
            status::Change::Ignored => {
                log::debug!("{}: status {:#x} after {:#x} is ignored", self.name, value, self.status);
            }
        }
    }

    fn features_acceptable(&self) -> bool {
        let unknown = self.driver_features & !self.description.features;
        unknown == 0 && self.driver_features & 1 << VIRTIO_F_VERSION_1 != 0
    }

    fn start(&mut self, index: u16) {
        let Some(queue) = self.queues.get(usize::from(index)) else { return };
        if !queue.ready || queue.running || self.status & status::DRIVER_OK == 0 {
            return;
        }
        let name = format!("{} queue {index}", self.name);
        // A driver must stay within QueueSizeMax (§4.2.2.2): by the size of its queue goes what it can have a device spend.
        let built = match queue.layout.size <= queue.largest {
            true => Queue::new(Arc::clone(&self.memory), queue.layout, self.driver_features, 0),
            false => Err(QueueError::Layout(queue.layout)),
        };
        let interrupt = Box::new(Interrupt(Arc::clone(&self.signals)));
        let active = match (built, queue.kick.try_clone()) {
            (Ok(built), Ok(kick)) => ActiveQueue::new(name.clone(), built, kick, interrupt),
            (Err(error), _) => return self.refuse(&name, &error),
            (_, Err(error)) => return self.refuse(&name, &error),
        };
        match self.device.start_queue(index, active) {
            Ok(()) => self.queues[usize::from(index)].running = true,
            Err(error) => self.refuse(&name, &error),
        }
    }

    fn refuse(&self, name: &str, error: &dyn std::error::Error) {
        report_broken(name, error);
        Interrupt(Arc::clone(&self.signals)).broken();
    }

    fn stop(&mut self, index: u16) {
        let Some(queue) = self.queues.get_mut(usize::from(index)) else { return };
        queue.ready = false;
        if std::mem::take(&mut queue.running) {
            self.device.stop_queue(index);
        }
    }

    /// Stops every queue that runs; where each stood, by index. The guest must not run meanwhile.
    pub fn suspend(&mut self) -> Vec<Option<QueueState>> {
        let count = self.queue_count();
        let stop = |index: u16| {
            let running = std::mem::take(&mut self.queues[usize::from(index)].running);
            if running { self.device.stop_queue(index) } else { None }
        };
        (0..count).map(stop).collect()
    }

    fn reset(&mut self) {
        (0..self.queue_count()).for_each(|index| self.stop(index));
        self.queues.iter_mut().for_each(QueueRegisters::reset);
        self.status = 0;
        self.device_features_select = 0;
        self.driver_features_select = 0;
        self.driver_features = 0;
        self.queue_select = 0;
        self.signals.interrupt.store(0, Ordering::Release);
        self.signals.needs_reset.store(0, Ordering::Release);
    }
}

impl Drop for MmioTransport {
    fn drop(&mut self) {
        (0..self.queue_count()).for_each(|index| self.stop(index));
    }
}

/// The half of a feature word that `select` names; zeros beyond.
fn half(features: u64, select: u32) -> u32 {
    let half = match select {
        0 => features & u64::from(u32::MAX),
        1 => features >> 32,
        _ => 0,
    };
    u32::try_from(half).unwrap_or(0)
}
