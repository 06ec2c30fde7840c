//! The mounts of a document (runtime specification, `config.md`, Mounts), made inside the new root: there no path and no
//! symbolic link of the image leads out of it. The links of /proc would, by descriptors that the caller has open; so /proc
//! comes after everything that follows paths of the image.
//!
//! The kernel's own file systems need nothing of the root but a place. They are made before it is there, which takes a
//! while, and only put into place in it.

use super::root::OldRoot;
use crate::document::Mount;
use crate::error::{Context, Result, invalid, quote};
use crate::namespaces::{Depth, attach_mount, copy_mount};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount};
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One mount, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountPlan {
    destination: PathBuf,
    source: Source,
    flags: MsFlags,
    propagation: Vec<MsFlags>,
    data: String,
}

/// A mount of which everything is done that needs no root.
#[derive(Debug)]
pub(super) struct PreparedMount<'a> {
    plan: &'a MountPlan,
    /// Its file system, mounted nowhere yet.
    ready: Option<OwnedFd>,
}

/// File systems that come out of nothing: their sources and options name no file.
const KERNELS_OWN: [&str; 6] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A file system of this type, from this source.
    FileSystem { kind: String, source: PathBuf },
    /// A path of the VM.
    Bind { source: PathBuf, depth: Depth },
}

/// What an option does to the flags.
#[derive(Debug, Clone, Copy)]
enum Effect {
    Set(MsFlags),
    Clear(MsFlags),
    Propagation(MsFlags),
    Bind(Depth),
    Nothing,
}

/// The options of mount(8) that are no file system's own.
fn effect(option: &str) -> Option<Effect> {
    use Effect::{Bind, Clear, Nothing, Propagation, Set};
    Some(match option {
        "defaults" => Nothing,
        "rw" => Clear(MsFlags::MS_RDONLY),
        "suid" => Clear(MsFlags::MS_NOSUID),
        "dev" => Clear(MsFlags::MS_NODEV),
        "exec" => Clear(MsFlags::MS_NOEXEC),
        "async" => Clear(MsFlags::MS_SYNCHRONOUS),
        "atime" => Clear(MsFlags::MS_NOATIME),
        "diratime" => Clear(MsFlags::MS_NODIRATIME),
        "relatime" => Set(MsFlags::MS_RELATIME),
        "nostrictatime" => Clear(MsFlags::MS_STRICTATIME),
        "ro" => Set(MsFlags::MS_RDONLY),
        "nosuid" => Set(MsFlags::MS_NOSUID),
        "nodev" => Set(MsFlags::MS_NODEV),
        "noexec" => Set(MsFlags::MS_NOEXEC),
        "sync" => Set(MsFlags::MS_SYNCHRONOUS),
        "dirsync" => Set(MsFlags::MS_DIRSYNC),
        "noatime" => Set(MsFlags::MS_NOATIME),
        "nodiratime" => Set(MsFlags::MS_NODIRATIME),
        "norelatime" => Clear(MsFlags::MS_RELATIME),
        "strictatime" => Set(MsFlags::MS_STRICTATIME),
        "lazytime" => Set(MsFlags::MS_LAZYTIME),
        "silent" => Set(MsFlags::MS_SILENT),
        "loud" => Clear(MsFlags::MS_SILENT),
        "bind" => Bind(Depth::One),
        "rbind" => Bind(Depth::Tree),
        "private" => Propagation(MsFlags::MS_PRIVATE),
        "rprivate" => Propagation(MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
        "shared" => Propagation(MsFlags::MS_SHARED),
        "rshared" => Propagation(MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
        "slave" => Propagation(MsFlags::MS_SLAVE),
        "rslave" => Propagation(MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
        "unbindable" => Propagation(MsFlags::MS_UNBINDABLE),
        "runbindable" => Propagation(MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
        _ => return None,
    })
}

impl MountPlan {
    pub(super) fn new(mount: &Mount) -> Result<Self> {
        let destination = mount.destination.clone();
        if !destination.is_absolute() {
            return Err(invalid(format!("the mount point {destination:?} is not absolute")));
        }
        let (mut flags, mut propagation, mut data, mut bind) = (MsFlags::empty(), Vec::new(), Vec::new(), None);
        for option in &mount.options {
            match effect(option) {
                Some(Effect::Set(flag)) => flags |= flag,
                Some(Effect::Clear(flag)) => flags -= flag,
                Some(Effect::Propagation(flag)) => propagation.push(flag),
                Some(Effect::Bind(depth)) => bind = Some(depth),
                Some(Effect::Nothing) => {}
                None => data.push(option.as_str()),
            }
        }
        let kind = mount.kind.as_str();
        let source = mount.source.clone();
        let source = match bind.or((kind == "bind").then_some(Depth::One)) {
            Some(depth) => {
                let absolute = source.filter(|source| source.is_absolute());
                let source =
                    absolute.ok_or_else(|| invalid(format!("the source of {destination:?} is not absolute")))?;
                Source::Bind { source, depth }
            }
            None if kind.is_empty() => return Err(invalid(format!("the mount on {destination:?} has no type"))),
            None => {
                // Documents written for version 1 of control groups mean whatever the machine has.
                let kind = if kind == "cgroup" { "cgroup2" } else { kind };
                Source::FileSystem { kind: kind.to_owned(), source: source.unwrap_or_else(|| PathBuf::from(kind)) }
            }
        };
        Ok(Self { destination, source, flags, propagation, data: data.join(",") })
    }

    /// Whether it is the container's `/dev`, which is filled before it becomes read-only.
    fn is_dev(&self) -> bool {
        self.destination == Path::new("/dev")
    }

    /// Whether it is a /proc, or something that belongs into it.
    pub(super) fn brings_proc(&self, all: &[Self]) -> bool {
        let is_proc = |mount: &Self| matches!(&mount.source, Source::FileSystem { kind, .. } if kind == "proc");
        all.iter().any(|other| is_proc(other) && self.destination.starts_with(&other.destination))
    }

    /// Whether devices can be made on `/dev` after this mount.
    pub(super) fn brings_foreign_dev(&self) -> bool {
        self.is_dev() && matches!(self.source, Source::Bind { .. })
    }

    /// Makes its file system, if that is one of the kernel's own, on the directory `staging` of the VM; what is mounted
    /// there stays until the VM's root is left.
    pub(super) fn prepare(&self, staging: &Path) -> Result<PreparedMount<'_>> {
        let ready = match &self.source {
            Source::FileSystem { kind, source } if KERNELS_OWN.contains(&kind.as_str()) => {
                let copy = || copy_mount(AT_FDCWD, staging, Depth::One);
                let made = self.mount_on(staging, kind, source).and_then(|()| copy());
                Some(made.context(|| self.what(kind))?)
            }
            _ => None,
        };
        Ok(PreparedMount { plan: self, ready })
    }

    /// What is left for when everything is in place.
    pub(super) fn finish(&self) -> Result<()> {
        if self.is_dev() && self.flags.contains(MsFlags::MS_RDONLY) {
            self.remount()?;
        }
        Ok(())
    }

    fn what(&self, kind: &str) -> String {
        format!("cannot mount {kind} on {} (options {:?})", self.destination.display(), quote(&self.data))
    }

    fn mount_on(&self, place: &Path, kind: &str, source: &Path) -> nix::Result<()> {
        let later = if self.is_dev() { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let data = (!self.data.is_empty()).then_some(self.data.as_str());
        mount(Some(source), place, Some(kind), self.flags - later, data)
    }

    fn bind(&self, source: &Path, depth: Depth, old_root: &OldRoot) -> Result<()> {
        let destination = &self.destination;
        let what = || format!("cannot mount {} of the VM on {}", source.display(), destination.display());
        let below_root = source.strip_prefix("/").unwrap_or(source);
        let below_root = if below_root.as_os_str().is_empty() { Path::new(".") } else { below_root };
        let copy = copy_mount(old_root.as_fd(), below_root, depth).context(what)?;
        if fs::File::from(copy.try_clone().context(what)?).metadata().context(what)?.is_dir() {
            make_directory(destination)?;
        } else {
            if let Some(parent) = destination.parent() {
                make_directory(parent)?;
            }
            OpenOptions::new().write(true).create(true).truncate(false).open(destination).context(what)?;
        }
        attach_mount(copy.as_fd(), destination).context(what)?;
        if self.flags.is_empty() { Ok(()) } else { self.remount() }
    }

    fn remount(&self) -> Result<()> {
        let flags = self.flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        let remounted = mount(None::<&str>, &self.destination, None::<&str>, flags, None::<&str>);
        remounted.context(|| format!("cannot change the mount on {}", self.destination.display()))
    }
}

impl PreparedMount<'_> {
    /// See [`MountPlan::brings_proc`].
    pub(super) fn brings_proc(&self, all: &[MountPlan]) -> bool {
        self.plan.brings_proc(all)
    }

    /// Mounts it. A read-only `/dev` stays writable until [`MountPlan::finish`].
    pub(super) fn make(&self, old_root: &OldRoot) -> Result<()> {
        let plan = self.plan;
        match &plan.source {
            Source::FileSystem { kind, source } => self.put_into_place(kind, source)?,
            Source::Bind { source, depth } => plan.bind(source, *depth, old_root)?,
        }
        for propagation in &plan.propagation {
            let set = mount(None::<&str>, &plan.destination, None::<&str>, *propagation, None::<&str>);
            set.context(|| format!("cannot set the propagation of {}", plan.destination.display()))?;
        }
        Ok(())
    }

    fn put_into_place(&self, kind: &str, source: &Path) -> Result<()> {
        let destination = &self.plan.destination;
        if matches!(kind, "proc" | "sysfs") {
            // What follows trusts these two: they must be where they seem to be.
            let is_link = fs::symlink_metadata(destination).is_ok_and(|metadata| metadata.is_symlink());
            if is_link {
                return Err(invalid(format!("{} of the image is a symbolic link", destination.display())));
            }
        }
        let attempt = || match &self.ready {
            Some(ready) => attach_mount(ready.as_fd(), destination),
            None => self.plan.mount_on(destination, kind, source),
        };
        let mounted = match attempt() {
            Err(Errno::ENOENT) => {
                make_directory(destination)?;
                attempt()
            }
            mounted => mounted,
        };
        mounted.context(|| self.plan.what(kind))
    }
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context(|| format!("cannot make the directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<MountPlan> {
        MountPlan::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn options_are_flags_or_the_file_systems_own() {
        let json = r#"{"destination":"/dev","type":"tmpfs","source":"x","options":["nosuid","ro","rw","mode=755","size=64k","rslave"]}"#;
        let plan = plan(json).unwrap();
        assert_eq!(plan.flags, MsFlags::MS_NOSUID);
        assert_eq!(plan.data, "mode=755,size=64k");
        assert_eq!(plan.propagation, [MsFlags::MS_SLAVE | MsFlags::MS_REC]);
        assert!(plan.is_dev() && !plan.brings_foreign_dev());
    }

    #[test]
    fn sources_are_file_systems_or_paths() {
        let cgroup = plan(r#"{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"}"#).unwrap();
        assert_eq!(cgroup.source, Source::FileSystem { kind: "cgroup2".to_owned(), source: "cgroup".into() });
        let bind = plan(r#"{"destination":"/x","source":"/y","options":["rbind","ro"]}"#).unwrap();
        assert_eq!(bind.source, Source::Bind { source: "/y".into(), depth: Depth::Tree });
        let bind = plan(r#"{"destination":"/x","type":"bind","source":"/y"}"#).unwrap();
        assert_eq!(bind.source, Source::Bind { source: "/y".into(), depth: Depth::One });
    }

    #[test]
    fn what_is_below_proc_comes_with_it() {
        let all = ["/dev", "/proc", "/proc/x", "/process"].map(|destination| {
            let kind = if destination == "/proc" { "proc" } else { "tmpfs" };
            plan(&format!(r#"{{"destination":"{destination}","type":"{kind}"}}"#)).unwrap()
        });
        assert_eq!(all.each_ref().map(|mount| mount.brings_proc(&all)), [false, true, true, false]);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            r#"{"destination":"x","type":"tmpfs"}"#,
            r#"{"destination":"/x"}"#,
            r#"{"destination":"/x","type":"bind","source":"y"}"#,
            r#"{"destination":"/x","options":["bind"]}"#,
        ] {
            assert!(plan(bad).is_err(), "{bad}");
        }
    }
}
