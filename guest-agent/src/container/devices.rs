//! Device nodes of a container (runtime specification, `config-linux.md`, Default Devices).

use super::root::OldRoot;
use crate::document::{self, DeviceKind};
use crate::error::{Context, Result, invalid, unsupported};
use crate::namespaces::{Depth, attach_mount, copy_mount};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chown};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Name, major and minor number of what every container has.
const DEFAULT: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Names, and where they lead.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// A node, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    path: PathBuf,
    kind: SFlag,
    number: u64,
    mode: Mode,
    owner: (u32, u32),
}

/// How nodes come about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Making<'a> {
    /// They are made.
    Nodes,
    /// In a user namespace nobody may make nodes: the VM's are mounted.
    Mounts(&'a OldRoot),
}

impl Device {
    pub(super) fn new(device: &document::Device) -> Result<Self> {
        let path = device.path.clone();
        if !path.is_absolute() {
            return Err(invalid(format!("the device path {path:?} is not absolute")));
        }
        let kind = match device.kind {
            DeviceKind::B => SFlag::S_IFBLK,
            DeviceKind::C | DeviceKind::U => SFlag::S_IFCHR,
            DeviceKind::P => SFlag::S_IFIFO,
            DeviceKind::A => return Err(invalid(format!("the device {path:?} has no type"))),
        };
        Ok(Self {
            path,
            kind,
            number: makedev(device.major.into(), device.minor.into()),
            mode: Mode::from_bits_truncate(device.file_mode.unwrap_or(0o666)),
            owner: (device.uid, device.gid),
        })
    }

    fn make(&self, making: Making<'_>) -> Result<()> {
        let what = || format!("cannot make the device {}", self.path.display());
        match making {
            Making::Nodes => {
                match mknod(&self.path, self.kind, self.mode, self.number) {
                    Err(Errno::ENOENT) => {
                        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("/"))).context(what)?;
                        mknod(&self.path, self.kind, self.mode, self.number).context(what)?;
                    }
                    Err(Errno::EEXIST) => return Ok(()),
                    made => made.context(what)?,
                }
                let (uid, gid) = self.owner;
                if self.owner == (0, 0) {
                    return Ok(());
                }
                chown(&self.path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).context(what)
            }
            Making::Mounts(old_root) => {
                let below_root = self.path.strip_prefix("/").unwrap_or(&self.path);
                let copy = match copy_mount(old_root.as_fd(), below_root, Depth::One) {
                    Err(Errno::ENOENT) => {
                        let message =
                            format!("the VM has no {}, and a user namespace can make none", self.path.display());
                        return Err(unsupported(message));
                    }
                    copy => copy.context(what)?,
                };
                fs::create_dir_all(self.path.parent().unwrap_or(Path::new("/"))).context(what)?;
                OpenOptions::new().write(true).create(true).truncate(false).open(&self.path).context(what)?;
                attach_mount(copy.as_fd(), &self.path).context(what)
            }
        }
    }
}

/// Makes the default devices, the planned ones, and the usual links.
pub(super) fn make_all(planned: &[Device], making: Making<'_>) -> Result<()> {
    for (path, major, minor) in DEFAULT {
        let number = makedev(major, minor);
        let mode = Mode::from_bits_truncate(0o666);
        Device { path: path.into(), kind: SFlag::S_IFCHR, number, mode, owner: (0, 0) }.make(making)?;
    }
    planned.iter().try_for_each(|device| device.make(making))?;
    LINKS.iter().try_for_each(|(name, target)| match symlink(target, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked.context(|| format!("cannot link {name} to {target}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_checked() {
        let device = |json: &str| Device::new(&serde_json::from_str(json).unwrap());
        let fuse = device(r#"{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":438,"gid":7}"#).unwrap();
        assert_eq!((fuse.kind, fuse.number, fuse.owner), (SFlag::S_IFCHR, makedev(10, 229), (0, 7)));
        for bad in [
            r#"{"path":"dev/x","type":"c","major":1,"minor":1}"#,
            r#"{"path":"/dev/x","type":"a","major":1,"minor":1}"#,
        ] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }
}
