//! The devices that every machine of ours has beside those that it is given. Under `qemu` they are QEMU's own or not
//! there.

use super::memory::Pages;
use crate::backend::{MachineError, NamedDevice};
use hull_platform::handle::Handle;
use hull_virtio::device::balloon::BalloonDevice;
use hull_virtio::device::console::ConsoleDevice;
use hull_virtio::device::rng::RngDevice;
use hull_virtio::queue::GuestMemory;
use std::io;
use std::sync::Arc;

/// Random numbers, a console that writes to `console`, and a balloon that gives pages of `memory` back.
pub fn own(memory: &Arc<GuestMemory>, console: &Handle) -> Result<[NamedDevice; 3], MachineError> {
    let failed = |name: &'static str| {
        move |source: io::Error| MachineError::Io { action: format!("make device {name}"), source }
    };
    let console = console.try_clone().and_then(|output| ConsoleDevice::new(output.into()));
    let balloon = BalloonDevice::new(Arc::new(Pages(Arc::clone(memory))));
    Ok([
        NamedDevice { name: "rng", device: Box::new(RngDevice::new()) },
        NamedDevice { name: "console", device: Box::new(console.map_err(failed("console"))?) },
        NamedDevice { name: "balloon", device: Box::new(balloon.map_err(failed("balloon"))?) },
    ])
}
