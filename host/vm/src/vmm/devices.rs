//! The devices of every VM, and what can be done to them while it runs.

use crate::control::Disk;
use hull_machine::backend::{DEVICE_NAMES, NamedDevice};
use hull_platform::handle::Handle;
use hull_platform::socket::LocalStream;
use hull_protocol::Port;
use hull_protocol::agent::Extent;
use hull_virtio::device::block::{Access, BlockDevice, MapError, UnmapError, Window};
use hull_virtio::device::vsock::{ExpectError, Vsock, VsockDevice};
use std::ops::Range;

/// The guest's vsock address; with one VM behind each device, all have the same.
const GUEST_CID: u32 = 3;

/// Why a device did not do what was ordered.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The extent makes no sense.
    #[error("extent of {length} bytes at {offset} overflows")]
    Extent {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        length: u64,
    },
    /// It cannot be mapped.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is not mapped.
    #[error(transparent)]
    Unmap(#[from] UnmapError),
    /// It cannot be expected.
    #[error(transparent)]
    Expect(#[from] ExpectError),
}

/// What the shim may do to the devices of a running machine.
#[derive(Debug)]
pub struct Controls {
    images: Window,
    data: Window,
    vsock: Vsock,
}

/// The devices of a machine, in their order.
pub fn build() -> (Controls, Vec<NamedDevice>) {
    let [images_name, data_name, vsock_name] = DEVICE_NAMES;
    let images = BlockDevice::new(images_name, Access::ReadOnly);
    let data = BlockDevice::new(data_name, Access::ReadWrite);
    let vsock = VsockDevice::new(GUEST_CID);
    let controls = Controls { images: images.window(), data: data.window(), vsock: vsock.handle() };
    let devices = vec![
        NamedDevice { name: images_name, device: Box::new(images) },
        NamedDevice { name: data_name, device: Box::new(data) },
        NamedDevice { name: vsock_name, device: Box::new(vsock) },
    ];
    (controls, devices)
}

impl Controls {
    fn window(&self, disk: Disk) -> (&Window, Access) {
        match disk {
            Disk::Images => (&self.images, Access::ReadOnly),
            Disk::Data => (&self.data, Access::ReadWrite),
            Disk::Scratch => (&self.data, Access::Scratch),
        }
    }

    /// Maps a file.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn map(&self, disk: Disk, extent: Extent, file: Handle) -> Result<(), DeviceError> {
        let (window, access) = self.window(disk);
        Ok(window.map(range(extent)?, file.into(), 0, access)?)
    }

    /// Takes a mapping away.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn unmap(&self, disk: Disk, extent: Extent) -> Result<(), DeviceError> {
        let (window, _) = self.window(disk);
        Ok(window.unmap(range(extent)?)?)
    }

    /// Joins the guest's next connection to `port` to `stream`.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn expect(&self, port: Port, stream: Handle) -> Result<(), DeviceError> {
        Ok(self.vsock.expect(port.0, LocalStream::from(stream))?)
    }

    /// Expects nothing on `port` any more.
    pub fn cancel(&self, port: Port) {
        self.vsock.cancel(port.0);
    }
}

fn range(Extent { offset, length }: Extent) -> Result<Range<u64>, DeviceError> {
    let end = offset.checked_add(length).ok_or(DeviceError::Extent { offset, length })?;
    Ok(offset..end)
}
