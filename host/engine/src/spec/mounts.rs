//! Mounts over the root file system: the kernel's own file systems, and `--tmpfs`.

use super::SpecError;
use hull_state::{ContainerConfig, Tmpfs};
use oci_spec::runtime::{Mount, MountBuilder};
use std::path::Path;

/// Destination, type, source and options of what every container has, parents before children.
const DEFAULT: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
];

/// Options of a `--tmpfs` that says nothing to the contrary.
const TMPFS_OPTIONS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// Pairs of flags that undo each other.
const OPPOSITES: [(&str, &str); 5] =
    [("ro", "rw"), ("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev"), ("noatime", "atime")];

pub(super) fn mounts(config: &ContainerConfig) -> Result<Vec<Mount>, SpecError> {
    let taken = |destination: &str| config.tmpfs.iter().any(|tmpfs| same_path(&tmpfs.target, destination));
    let mut mounts = Vec::with_capacity(DEFAULT.len() + config.tmpfs.len());
    for (destination, kind, source, options) in DEFAULT {
        if taken(destination) {
            continue;
        }
        // A privileged container may write to sysfs and to its cgroups.
        let writable = config.privileged && destination.starts_with("/sys");
        let options =
            options.iter().filter(|option| !(writable && **option == "ro")).map(|option| (*option).to_owned());
        mounts.push(mount(destination, kind, source, options.collect())?);
    }
    for tmpfs in &config.tmpfs {
        mounts.push(mount(&tmpfs.target, "tmpfs", "tmpfs", tmpfs_options(tmpfs))?);
    }
    Ok(mounts)
}

fn mount(destination: &str, kind: &str, source: &str, options: Vec<String>) -> Result<Mount, SpecError> {
    Ok(MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build()?)
}

fn same_path(one: &str, other: &str) -> bool {
    Path::new(one).components().eq(Path::new(other).components())
}

/// The defaults, then the user's; of flags that undo each other, and of values of the same key, the last holds.
fn tmpfs_options(tmpfs: &Tmpfs) -> Vec<String> {
    let given = tmpfs.options.iter().flat_map(|options| options.split(',')).filter(|option| !option.is_empty());
    let mut options: Vec<String> = Vec::new();
    for option in TMPFS_OPTIONS.into_iter().chain(given) {
        options.retain(|earlier| !replaces(option, earlier));
        options.push(option.to_owned());
    }
    options
}

fn replaces(option: &str, earlier: &str) -> bool {
    let key = |option: &str| option.split_once('=').map(|(key, _)| key.to_owned());
    let same_key = key(option).is_some() && key(option) == key(earlier);
    let opposite =
        OPPOSITES.iter().any(|(one, other)| (option, earlier) == (one, other) || (option, earlier) == (other, one));
    option == earlier || same_key || opposite
}
