//! The root file system: overlayfs of the image's EROFS and the writable layer's ext4, mounted in the mount namespace of
//! the container alone. When the last process in it has ended, so have the mounts, and everything is on disk.
//!
//! Mounting takes about as long as everything else that comes before a container's first process, so it is an errand. It
//! begins first, and the process waits for it only when it needs a root:
//!
//! ```text
//!   agent ── root::mount ── document, device rules, cgroup, streams ── clone ── ...
//!                │                                                       child: session, network, host name ── receive ── ...
//!             errand: EROFS, ext4, overlay ── open_tree ── descriptor ───────────────────────────────────────────^
//! ```

use crate::disks::RootDevices;
use crate::errand::Errand;
use crate::error::{Context, Result, internal};
use crate::namespaces::{Depth, attach_mount, copy_mount};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, stat};
use nix::unistd::{Gid, Uid, chdir, chown, chroot, fchdir, mkdir, pivot_root};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How the writable layer is mounted: the host's file shrinks again when files are removed, and no kernel thread goes
/// through the file system to zero its inode tables or to read its bitmaps in advance.
const DATA_OPTIONS: &str = "discard,noinit_itable,no_prefetch_block_bitmaps";

/// Three directories of the VM on which each container mounts, in mount namespaces of its own, the two layers and the
/// whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoints {
    image: PathBuf,
    data: PathBuf,
    root: PathBuf,
}

impl MountPoints {
    /// The directories below `base`.
    pub fn below(base: &Path) -> Self {
        Self { image: base.join("image"), data: base.join("data"), root: base.join("root") }
    }

    /// Makes them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn make(&self) -> Result<()> {
        [&self.image, &self.data, &self.root].into_iter().try_for_each(|directory| {
            fs::create_dir(directory).context(|| format!("cannot make {}", directory.display()))
        })
    }

    /// Begins to mount the layers and the overlay of them. What the errand brings is for [`MountPoints::receive`].
    ///
    /// # Errors
    /// Those of beginning.
    pub fn mount(&self, devices: &RootDevices) -> Result<Errand> {
        Errand::send("the root file system", CloneFlags::CLONE_NEWNS, |_| {
            self.mount_here(devices)?;
            // The layers stay mounted as long as the overlay of them does.
            let root = copy_mount(AT_FDCWD, &self.root, Depth::One);
            root.map(Some).context(|| "cannot hand the root file system over".to_owned())
        })
    }

    /// Where a container's process can mount what it will put into place later.
    pub(super) fn staging(&self) -> &Path {
        &self.data
    }

    /// Waits for what is being mounted, and mounts it for the caller too.
    pub(super) fn receive(&self, root: &Errand) -> Result<()> {
        let root = root.wait()?.ok_or_else(|| internal("the root file system was not handed over"))?;
        attach_mount(root.as_fd(), &self.root).context(|| "cannot take the root file system over".to_owned())
    }

    fn mount_here(&self, devices: &RootDevices) -> Result<()> {
        let what = |layer: &Path| format!("cannot mount the {} layer", layer.file_name().unwrap_or_default().display());
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOATIME;
        let mounted = mount(Some(&devices.image.node), &self.image, Some("erofs"), flags, None::<&str>);
        mounted.context(|| what(&self.image))?;
        let mounted = mount(Some(&devices.data.node), &self.data, Some("ext4"), MsFlags::empty(), Some(DATA_OPTIONS));
        mounted.context(|| what(&self.data))?;
        let (upper, work) = (self.data.join("upper"), self.data.join("work"));
        self.prepare(&upper, &work)?;
        let options =
            format!("lowerdir={},upperdir={},workdir={}", self.image.display(), upper.display(), work.display());
        let mounted = mount(Some("overlay"), &self.root, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
        mounted.context(|| format!("cannot mount the root file system ({options})"))
    }

    /// On first use, makes the two directories that overlayfs wants on the writable layer.
    fn prepare(&self, upper: &Path, work: &Path) -> Result<()> {
        let what = || format!("cannot make {}", upper.display());
        match mkdir(upper, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => return Ok(()),
            made => made.context(what)?,
        }
        // It covers the image's root directory, whose owner and mode it therefore takes on.
        let image = stat(&self.image).context(what)?;
        chown(upper, Some(Uid::from_raw(image.st_uid)), Some(Gid::from_raw(image.st_gid))).context(what)?;
        fs::set_permissions(upper, fs::Permissions::from_mode(image.st_mode & 0o7777)).context(what)?;
        match mkdir(work, Mode::S_IRWXU) {
            Err(Errno::EEXIST) => Ok(()),
            made => made.context(|| format!("cannot make {}", work.display())),
        }
    }

    /// Makes the mounted root the caller's `/`, with the VM's still at hand.
    ///
    /// By chroot(2) for now. After pivot_root(2) the VM's root would lie over the new one until it is detached, and `/..`
    /// would lead into it: a symbolic link in the image could take our mounts there.
    pub(super) fn enter(&self, copied: Copied) -> Result<OldRoot> {
        let what = || "cannot change into the root file system".to_owned();
        if copied == Copied::IntoUserNamespace {
            // The copy of a mount from outside is locked in its place; a mount of that copy is not.
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&self.root), &self.root, None::<&str>, flags, None::<&str>).context(what)?;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let old = open("/", flags, Mode::empty()).context(what)?;
        chdir(&self.root).context(what)?;
        let new = open(".", flags, Mode::empty()).context(what)?;
        chroot(".").context(what)?;
        Ok(OldRoot { old, new })
    }
}

/// Where the mounts were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    /// In the caller's own mount namespace.
    No,
    /// In one of which the caller's, of another user namespace, is a copy.
    IntoUserNamespace,
}

/// The VM's root directory, as long as it is needed: the source of bind mounts.
#[derive(Debug)]
pub(super) struct OldRoot {
    old: OwnedFd,
    new: OwnedFd,
}

impl OldRoot {
    /// Makes the new root that of the container's mount namespace, and detaches the VM's from it.
    pub(super) fn leave(self) -> Result<()> {
        self.pivot().context(|| "cannot leave the VM's root file system".to_owned())
    }

    fn pivot(&self) -> nix::Result<()> {
        // What is put away is the caller's root, so that has to be the VM's once more.
        fchdir(&self.old)?;
        chroot(".")?;
        fchdir(&self.new)?;
        // The old root comes to lie on the new one, from where it is taken away at once.
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        chdir("/")
    }
}

impl AsFd for OldRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.old.as_fd()
    }
}
