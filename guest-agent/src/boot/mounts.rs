//! The agent's own file systems: the initramfs as a root that can be pivoted away from, and the kernel's file systems.

use crate::container::MountPoints;
use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, mkdir};
use std::path::Path;

/// The hierarchy of control groups.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";
/// Containers mount the layers of their roots below it.
pub(super) const LAYERS: &str = "/layers";

/// Type and place.
const KERNEL: [(&str, &str); 4] = [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("cgroup2", CGROUPS)];

pub(super) fn make() -> Result<()> {
    for directory in ["/dev", "/proc", "/sys", LAYERS] {
        match mkdir(directory, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error).context(|| format!("cannot make {directory}")),
        }
    }
    MountPoints::below(Path::new(LAYERS)).make()?;
    settle_root().context(|| "cannot settle the root file system".to_owned())?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    KERNEL.into_iter().try_for_each(|(kind, place)| {
        let mounted = mount(Some(kind), place, Some(kind), safe, None::<&str>);
        mounted.context(|| format!("cannot mount {kind} on {place}"))
    })
}

/// Nothing can pivot away from the initramfs itself, so a mount of the same files is put over it. Both are read-only:
/// through /proc/PID/exe a container can get hold of the agent's program, but not change it.
fn settle_root() -> nix::Result<()> {
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, nothing)?;
    mount(Some("/"), LAYERS, nothing, MsFlags::MS_BIND, nothing)?;
    chdir(LAYERS)?;
    mount(Some("."), "/", nothing, MsFlags::MS_MOVE, nothing)?;
    chroot(".")?;
    chdir("/")
}
