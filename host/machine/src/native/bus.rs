//! What a guest reaches outside its memory.
//!
//! | | |
//! |---|---|
//! | virtio-mmio windows | the devices |
//! | port 0x64 | the reset line of a keyboard controller: reads 0 ("ready"), a write of 0xfe ends the machine (`reboot=k`). A triple fault, the other way without ACPI, cannot be told from a crash |
//! | ports 0x3f8 to 0x3ff | a write-only serial port: bytes written to 0x3f8 go to the console, the line status says "empty", everything else reads 0. For the kernel's early and last words |
//!
//! All else reads as ones and swallows writes, as an empty bus does.

use super::layout;
use super::running::Kicks;
use hull_hypervisor::GuestIo;
use hull_platform::handle::Handle;
use hull_virtio::transport::mmio::MmioTransport;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

const KEYBOARD: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
const SERIAL_DATA: u16 = 0x3f8;
const SERIAL_LINE_STATUS: u16 = 0x3fd;
const SERIAL_LAST: u16 = 0x3ff;
/// Transmitter and holding register empty.
const EMPTY: u8 = 0x60;

/// The devices and ports of a machine.
pub struct Bus {
    // One lock a device, for registers only: the data path does not come here.
    devices: Vec<Mutex<MmioTransport>>,
    console: Mutex<File>,
    kicks: Kicks,
}

impl Bus {
    /// A bus with these devices; what is written to the serial port goes to `console`, and a reset stops every vCPU.
    pub fn new(devices: Vec<MmioTransport>, console: Handle, kicks: Kicks) -> Self {
        let devices = devices.into_iter().map(Mutex::new).collect();
        Self { devices, console: Mutex::new(console.into()), kicks }
    }

    fn with_device(&self, address: u64, access: impl FnOnce(&mut MmioTransport, u64)) -> bool {
        let Some((slot, offset)) = layout::device_at(address) else { return false };
        let Some(device) = self.devices.get(slot) else { return false };
        access(&mut device.lock().unwrap_or_else(PoisonError::into_inner), offset);
        true
    }
}

impl GuestIo for Bus {
    fn mmio_read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        self.with_device(address, |device, offset| device.read(offset, data));
    }

    fn mmio_write(&self, address: u64, data: &[u8]) {
        self.with_device(address, |device, offset| device.write(offset, data));
    }

    fn port_read(&self, port: u16, data: &mut [u8]) {
        data.fill(match port {
            SERIAL_LINE_STATUS => EMPTY,
            KEYBOARD | SERIAL_DATA..=SERIAL_LAST => 0,
            _ => 0xff,
        });
    }

    fn port_write(&self, port: u16, data: &[u8]) {
        match (port, data) {
            (KEYBOARD, [PULSE_RESET]) => self.kicks.all(),
            // The shim drains the console and caps what it keeps; if it is gone, so will be this machine.
            (SERIAL_DATA, [_]) => {
                let _ = self.console.lock().unwrap_or_else(PoisonError::into_inner).write_all(data);
            }
            _ => {}
        }
    }
}
