//! The two window disks of the VM, and the devices that are cut out of them.
//!
//! Each window is one block device of a huge size in which the host maps extents. A container's root needs two of them:
//! its image, read-only, and its writable layer. dm-linear makes a device of each.

mod dm;

use crate::error::{Context, Result, internal, invalid};
use dm::{Access, Mapper, Table};
use hull_protocol::ContainerId;
use hull_protocol::agent::{Extent, RootDisk};
use std::fmt::Debug;
use std::path::PathBuf;

/// What extents are multiples of.
const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;

/// The kernel's names of the windows, in the order in which the host plugs them in.
const WINDOWS: [&str; 2] = ["vda", "vdb"];

/// Makes block devices out of extents.
pub trait Disks: Debug {
    /// The devices of a container's root.
    ///
    /// # Errors
    /// Extents that are none, and the kernel's.
    fn attach(&mut self, container: &ContainerId, root: &RootDisk) -> Result<RootDevices>;

    /// Gives one of them up. `EBUSY` while a file system is mounted on it.
    ///
    /// # Errors
    /// The kernel's.
    fn detach(&mut self, device: &Device) -> nix::Result<()>;
}

/// The devices of a container's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootDevices {
    /// The image's EROFS.
    pub image: Device,
    /// The writable layer's ext4.
    pub data: Device,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name it was made under.
    pub name: String,
    /// Its node.
    pub node: PathBuf,
}

/// The devices of the VM.
#[derive(Debug, Default)]
pub struct WindowDisks {
    opened: Option<Opened>,
}

#[derive(Debug)]
struct Opened {
    mapper: Mapper,
    /// `major:minor` of the windows, as a table wants them.
    images: String,
    data: String,
}

impl WindowDisks {
    /// Finds the windows. Done when the first container comes: the handshake does not wait for it.
    fn open(&mut self) -> Result<&Opened> {
        if self.opened.is_none() {
            self.opened = Some(Opened::find()?);
        }
        self.opened.as_ref().ok_or_else(|| internal("the disks were just found"))
    }
}

impl Opened {
    fn find() -> Result<Self> {
        let attribute = |disk: &str, name: &str| {
            let path = format!("/sys/block/{disk}/{name}");
            let value = std::fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
            Ok(value.trim().to_owned())
        };
        let (mut images, mut data) = (None, None);
        for disk in WINDOWS {
            let window = if attribute(disk, "ro")? == "1" { &mut images } else { &mut data };
            *window = Some(attribute(disk, "dev")?);
        }
        let absent =
            || internal(format!("of the disks {WINDOWS:?} one must be read-only, for images, and the other not"));
        Ok(Self { mapper: Mapper::open()?, images: images.ok_or_else(absent)?, data: data.ok_or_else(absent)? })
    }
}

impl Disks for WindowDisks {
    fn attach(&mut self, container: &ContainerId, root: &RootDisk) -> Result<RootDevices> {
        check(&root.image)?;
        check(&root.data)?;
        let opened = self.open()?;
        let image = opened.cut(format!("{container}.image"), &opened.images, &root.image, Access::ReadOnly)?;
        match opened.cut(format!("{container}.data"), &opened.data, &root.data, Access::ReadWrite) {
            Ok(data) => Ok(RootDevices { image, data }),
            Err(error) => {
                // Nobody can have opened it yet.
                let _unused = opened.mapper.remove(&image.name);
                Err(error)
            }
        }
    }

    fn detach(&mut self, device: &Device) -> nix::Result<()> {
        match &self.opened {
            Some(opened) => opened.mapper.remove(&device.name),
            None => Ok(()),
        }
    }
}

impl Opened {
    fn cut(&self, name: String, window: &str, extent: &Extent, access: Access) -> Result<Device> {
        let table = Table { sectors: extent.length / SECTOR, window, start: extent.offset / SECTOR };
        let minor = self.mapper.create(&name, &table, access)?;
        Ok(Device { name, node: PathBuf::from(format!("/dev/dm-{minor}")) })
    }
}

/// What the host says must at least make sense; whether it is mapped shows when it is read.
pub fn check(extent: &Extent) -> Result<()> {
    let whole = |value: u64| value.is_multiple_of(BLOCK);
    let ends = extent.offset.checked_add(extent.length).is_some();
    if extent.length == 0 || !whole(extent.offset) || !whole(extent.length) || !ends {
        return Err(invalid(format!("{extent:?} is not a range of whole blocks of {BLOCK} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_whole_blocks() {
        let good = Extent { offset: 1 << 20, length: 4096 };
        assert!(check(&good).is_ok());
        for bad in [
            Extent { length: 0, ..good },
            Extent { length: 512, ..good },
            Extent { offset: 1, ..good },
            Extent { offset: u64::MAX - 4095, length: 4096 },
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
