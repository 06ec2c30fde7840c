//! The interface of device-mapper: ioctls on `/dev/mapper/control` with one structure for all (`linux/dm-ioctl.h`).
//!
//! A device takes three of them: create it, load a table, resume it, which makes the loaded table the live one.

#![expect(unsafe_code, reason = "the interface is a set of ioctls")]

use crate::error::{Context, Result, internal};
use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

/// `struct dm_ioctl`, which leads every request.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Header {
    version: [u32; 3],
    /// Bytes of the whole request, this structure included.
    data_size: u32,
    /// Where in it the parameters begin.
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    /// The device number, as userland packs it.
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// `struct dm_target_spec`, which is followed by the target's parameters as a C string.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct TargetSpec {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
}

/// Room for the parameters of the linear target: a device number and a sector.
const PARAMETERS: usize = 64;

/// A request with one target; those without one use the header alone.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Request {
    header: Header,
    target: TargetSpec,
    parameters: [u8; PARAMETERS],
}

/// Sizes that the kernel wants to know, as `structures_have_the_kernels_layout` checks them.
const HEADER_SIZE: u32 = 312;
const TARGET_SIZE: u32 = 40 + 64;

/// The oldest interface that has all this.
const VERSION: [u32; 3] = [4, 0, 0];
const READ_ONLY_FLAG: u32 = 1;

/// Commands: `_IOWR(0xfd, n, struct dm_ioctl)`.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Command {
    Create = request(3),
    Remove = request(4),
    /// Without the suspend flag: resume.
    Resume = request(6),
    LoadTable = request(9),
}

const fn request(number: u64) -> u64 {
    // asm-generic/ioctl.h: direction in the upper two bits, size in 14, type in 8, number in 8.
    3 << 30 | (size_of::<Header>() as u64) << 16 | 0xfd << 8 | number
}

/// Whether a device can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A table of one linear target.
#[derive(Debug)]
pub(super) struct Table<'a> {
    pub sectors: u64,
    /// `major:minor` of the device below.
    pub window: &'a str,
    /// First sector on it.
    pub start: u64,
}

/// The control device.
#[derive(Debug)]
pub(super) struct Mapper {
    control: File,
}

impl Mapper {
    pub(super) fn open() -> Result<Self> {
        let path = "/dev/mapper/control";
        let control = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self { control: control.context(|| format!("cannot open {path}"))? })
    }

    /// Makes a device; its minor number names its node, `/dev/dm-MINOR`.
    pub(super) fn create(&self, name: &str, table: &Table<'_>, access: Access) -> Result<u64> {
        let mut request = Request::new(name)?;
        self.call(Command::Create, &mut request).context(|| format!("cannot create the device {name}"))?;
        let number = request.header.dev;
        match self.fill(name, table, access) {
            Ok(()) => Ok(minor_of(number)),
            Err(error) => {
                let _unused = self.remove(name);
                Err(error)
            }
        }
    }

    fn fill(&self, name: &str, table: &Table<'_>, access: Access) -> Result<()> {
        let mut request = Request::new(name)?;
        request.set_table(table)?;
        if access == Access::ReadOnly {
            request.header.flags |= READ_ONLY_FLAG;
        }
        self.call(Command::LoadTable, &mut request).context(|| format!("cannot load the table {table:?} of {name}"))?;
        let mut request = Request::new(name)?;
        self.call(Command::Resume, &mut request).context(|| format!("cannot resume the device {name}"))
    }

    /// Removes a device. `EBUSY` while it is open.
    pub(super) fn remove(&self, name: &str) -> nix::Result<()> {
        let mut request = Request::new(name).map_err(|_| Errno::ENAMETOOLONG)?;
        self.call(Command::Remove, &mut request)
    }

    fn call(&self, command: Command, request: &mut Request) -> nix::Result<()> {
        // SAFETY: `data_size` is the size of the request, to which alone the kernel writes.
        let done = unsafe { libc::ioctl(self.control.as_raw_fd(), command as _, &raw mut *request) };
        Errno::result(done).map(drop)
    }
}

/// The kernel packs the number as `makedev` of the C library does for numbers this small.
fn minor_of(device: u64) -> u64 {
    debug_assert!(major(device) != 0, "device-mapper has a major number");
    minor(device)
}

impl Request {
    fn new(name: &str) -> Result<Self> {
        let header = Header {
            version: VERSION,
            data_size: HEADER_SIZE + TARGET_SIZE,
            data_start: HEADER_SIZE,
            target_count: 0,
            open_count: 0,
            flags: 0,
            event_nr: 0,
            padding: 0,
            dev: 0,
            name: c_string(name)?,
            uuid: [0; 129],
            data: [0; 7],
        };
        let target = TargetSpec { sector_start: 0, length: 0, status: 0, next: 0, target_type: [0; 16] };
        Ok(Self { header, target, parameters: [0; PARAMETERS] })
    }

    fn set_table(&mut self, table: &Table<'_>) -> Result<()> {
        self.header.target_count = 1;
        self.target.length = table.sectors;
        self.target.target_type = c_string("linear")?;
        self.parameters = c_string(&format!("{} {}", table.window, table.start))?;
        Ok(())
    }
}

/// A C string in a field of fixed size.
fn c_string<const N: usize>(text: &str) -> Result<[u8; N]> {
    let mut field = [0; N];
    match field.get_mut(..text.len()) {
        Some(start) if text.len() < N && !text.contains('\0') => start.copy_from_slice(text.as_bytes()),
        _ => return Err(internal(format!("{text:?} does not fit into {N} bytes"))),
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_have_the_kernels_layout() {
        assert_eq!(size_of::<Header>(), usize::try_from(HEADER_SIZE).unwrap());
        assert_eq!(size_of::<Request>(), usize::try_from(HEADER_SIZE + TARGET_SIZE).unwrap());
        assert_eq!(offset_of!(Header, flags), 28);
        assert_eq!(offset_of!(Header, dev), 40);
        assert_eq!(offset_of!(Header, name), 48);
        assert_eq!(offset_of!(Header, uuid), 176);
        assert_eq!(size_of::<TargetSpec>(), 40);
        assert_eq!(offset_of!(Request, target), 312);
        assert_eq!(offset_of!(Request, parameters), 352);
    }

    #[test]
    fn commands_are_the_kernels() {
        assert_eq!(Command::Create as u64, 0xc138_fd03);
        assert_eq!(Command::Remove as u64, 0xc138_fd04);
        assert_eq!(Command::Resume as u64, 0xc138_fd06);
        assert_eq!(Command::LoadTable as u64, 0xc138_fd09);
    }

    #[test]
    fn a_table_is_a_linear_target() {
        let mut request = Request::new("x").unwrap();
        request.set_table(&Table { sectors: 8, window: "254:16", start: 2048 }).unwrap();
        assert_eq!(request.target.length, 8);
        assert!(request.parameters.starts_with(b"254:16 2048\0"));
        assert!(Request::new(&"x".repeat(128)).is_err());
        assert!(Request::new(&"x".repeat(127)).is_ok());
        assert!(Request::new("a\0b").is_err());
    }
}
