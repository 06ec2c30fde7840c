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
use hull_virtio::device::console::FileOutput;
use hull_virtio::tally::Tally;
use hull_virtio::transport::mmio::MmioTransport;
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
    serial: Serial,
    kicks: Kicks,
}

impl Bus {
    /// A bus with these devices; what is written to the serial port goes to `console`, and a reset stops every vCPU.
    pub fn new(devices: Vec<MmioTransport>, console: Handle, kicks: Kicks) -> Self {
        let devices = devices.into_iter().map(Mutex::new).collect();
        Self { devices, serial: Serial::new(console), kicks }
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
            (SERIAL_DATA, [byte]) => self.serial.write(*byte),
            _ => {}
        }
    }
}

/// The serial port's way out. A vCPU that writes there can do nothing else meanwhile and cannot be stopped, so it waits
/// for nobody: what the console does not take at once is lost.
struct Serial {
    /// `None` if it might have to be waited for.
    console: Option<FileOutput>,
    lost: Mutex<Tally>,
}

impl Serial {
    fn new(console: Handle) -> Self {
        let console = FileOutput::new(console.into());
        let console = console.inspect_err(|error| log::warn!("no serial port: its console may block: {error}")).ok();
        Self { console, lost: Mutex::default() }
    }

    fn write(&self, byte: u8) {
        if self.console.as_ref().is_some_and(|console| console.send(&[byte]).is_ok_and(|sent| sent > 0)) {
            return;
        }
        if let Some(lost) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).count() {
            log::warn!("serial port: the console took no more; bytes lost so far: {lost}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, pipe};
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn a_serial_port_that_nobody_reads_loses_bytes_and_counts_them() {
        let (mut reader, writer) = pipe().unwrap();
        let serial = Arc::new(Serial::new(Handle::from(OwnedFd::from(writer))));
        let (done, is_done) = channel();
        let vcpu = Arc::clone(&serial);
        // On a thread, because one that waits would do so for ever.
        thread::spawn(move || {
            for _ in 0..100_000 {
                vcpu.write(b'x');
            }
            drop(vcpu);
            done.send(()).unwrap();
        });
        is_done.recv_timeout(Duration::from_secs(20)).expect("nobody is waited for");
        let lost = serial.lost.lock().unwrap().total();
        drop(serial);
        let mut kept = Vec::new();
        reader.read_to_end(&mut kept).unwrap();
        assert!(lost > 0);
        assert_eq!(kept.len() as u64 + lost, 100_000);
    }
}
