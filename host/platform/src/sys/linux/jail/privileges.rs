//! What only root can do to itself, and capabilities.
#![expect(unsafe_code, reason = "capset(2) and the capability bounding set have no wrapper")]

use super::failed;
use crate::jail::JailError;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, chdir, chroot, pivot_root, setgroups, setresgid, setresuid};

/// A directory that every Linux system has, to be the empty root's place for a moment.
const PLACE: &str = "/proc";

/// Moves into namespaces with no files, no network and no neighbours; false if this root may not, as in a container.
pub(super) fn leave_file_systems() -> Result<bool, JailError> {
    let spaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    match unshare(spaces) {
        Err(Errno::EPERM) => return Ok(false),
        outcome => outcome.map_err(failed("leave the host's namespaces"))?,
    }
    let none = None::<&str>;
    match mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none) {
        // The root is no mount point where hull itself runs in a chroot: nothing is mounted in this namespace's copy of
        // it that could spread.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(failed("make mounts private")(error)),
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), PLACE, Some("tmpfs"), flags, Some("size=4k,mode=0555"))
        .map_err(failed("mount an empty root"))?;
    chdir(PLACE).map_err(failed("enter the empty root"))?;
    match pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH).map_err(failed("let the old root go"))?,
        // The root is no mount point where hull itself runs in a chroot. Leaving one takes a capability, and all are
        // about to go.
        Err(Errno::EINVAL) => chroot(".").map_err(failed("change the root"))?,
        Err(error) => return Err(failed("change the root")(error)),
    }
    chdir("/").map_err(failed("enter the new root"))?;
    Ok(true)
}

/// Becomes a user that owns nothing; false if there is none for this root, as in a user namespace.
pub(super) fn become_uid(uid: u32) -> Result<bool, JailError> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    match setgroups(&[]) {
        Err(Errno::EPERM) => return Ok(false),
        outcome => outcome.map_err(failed("leave its groups"))?,
    }
    match setresgid(group, group, group) {
        Err(Errno::EPERM | Errno::EINVAL) => return Ok(false),
        outcome => outcome.map_err(failed("change its group"))?,
    }
    setresuid(user, user, user).map_err(failed("change its user"))?;
    Ok(true)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 capabilities.
const VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability, and the chance to get one.
pub(super) fn drop_capabilities() -> Result<(), JailError> {
    for capability in 0..64_u64 {
        // SAFETY: takes numbers only.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            // Not privileged: there is nothing to drop. Not a capability: the last one was the one before.
            Err(Errno::EPERM | Errno::EINVAL) => break,
            outcome => outcome.map_err(failed("empty the capability bounding set"))?,
        };
    }
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let nothing = [CapabilityData { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: the kernel reads the header and two words of data, which version 3 has; both live on this frame.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) };
    Errno::result(outcome).map(drop).map_err(failed("give up its capabilities"))
}
