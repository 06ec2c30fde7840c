//! Paths of a container that are hidden or read-only: parts of /proc and /sys that tell of the machine or act on it.

#![expect(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]

use super::root::OldRoot;
use crate::error::{Context, Result};
use crate::namespaces::{Depth, attach_mount, copy_mount};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Hides paths: a file behind the VM's /dev/null, a directory behind an empty one. What does not exist needs no hiding.
pub(super) fn mask(paths: &[PathBuf], old_root: &OldRoot) -> Result<()> {
    // Not the container's own /dev/null: under that name an image could have put anything.
    let mut spare: Option<OwnedFd> = None;
    for path in paths {
        let what = || format!("cannot hide {}", path.display());
        let null = match spare.take() {
            Some(null) => null,
            None => copy_mount(old_root.as_fd(), Path::new("dev/null"), Depth::One).context(what)?,
        };
        match attach_mount(null.as_fd(), path) {
            Err(Errno::ENOENT) => spare = Some(null),
            // A file does not cover a directory.
            Err(Errno::EINVAL | Errno::ENOTDIR) => {
                spare = Some(null);
                hide_directory(path).context(what)?;
            }
            attached => attached.context(what)?,
        }
    }
    Ok(())
}

fn hide_directory(path: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some("nr_blocks=1,nr_inodes=1")) {
        // Below a file: it does not exist.
        Err(Errno::ENOTDIR) => Ok(()),
        hidden => hidden,
    }
}

/// Makes paths read-only, together with what is mounted below them.
pub(super) fn make_read_only(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let bound = mount(Some(path), path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>);
        match bound.and_then(|()| set_read_only(path, libc::AT_RECURSIVE)) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            done => done.context(|| format!("cannot make {} read-only", path.display()))?,
        }
    }
    Ok(())
}

/// Makes the root file system read-only; what is mounted on it stays as it is.
pub(super) fn make_root_read_only() -> Result<()> {
    set_read_only(Path::new("/"), 0).context(|| "cannot make the root file system read-only".to_owned())
}

/// Adds the read-only attribute to a mount and leaves its others alone.
fn set_read_only(path: &Path, depth: libc::c_int) -> nix::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let size = size_of_val(&attributes);
    // SAFETY: the path is a C string and the attributes are as long as stated; both outlive the call.
    let set = unsafe {
        libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), depth, &raw const attributes, size)
    };
    Errno::result(set).map(drop)
}
