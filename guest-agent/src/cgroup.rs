//! Control groups, version 2 (`Documentation/admin-guide/cgroup-v2.rst`): one for each container, right below the root.
//!
//! A container's processes are born in it (`CLONE_INTO_CGROUP`); nothing is ever moved, which would cost the kernel a
//! grace period.

mod devices;
mod limits;

pub use devices::DeviceProgram;
pub use limits::{Setting, settings};

use crate::error::{Context, Result, internal, unsupported};
use hull_protocol::ContainerId;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Controllers that a container's limits and figures need.
const CONTROLLERS: [&str; 5] = ["cpu", "memory", "pids", "io", "cpuset"];

/// The root of the hierarchy.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
}

/// Hands the controllers of the hierarchy that is mounted at `root` down to the containers' groups.
///
/// # Errors
/// The kernel's.
pub fn hand_controllers_down(root: &Path) -> Result<()> {
    let path = root.join("cgroup.controllers");
    let present = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
    let wanted: Vec<_> = present
        .split_ascii_whitespace()
        .filter(|name| CONTROLLERS.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() { Ok(()) } else { write(&root.join("cgroup.subtree_control"), &wanted.join(" ")) }
}

impl Cgroups {
    /// The hierarchy that is mounted at `root`, whose controllers have been handed down.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Makes a container's group.
    ///
    /// # Errors
    /// The kernel's, or that a limit has no controller.
    pub fn create(&self, container: &ContainerId, settings: &[Setting]) -> Result<Cgroup> {
        let path = self.root.join(container.as_str());
        let made = match fs::create_dir(&path) {
            // One that could not be removed when it should have been.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir(&path).and_then(|()| fs::create_dir(&path))
            }
            made => made,
        };
        made.context(|| format!("cannot make {}", path.display()))?;
        let created = set_up(&path, settings);
        if created.is_err() {
            // The reason is more interesting than what follows from it.
            let _incomplete = fs::remove_dir(&path);
        }
        created
    }
}

fn set_up(path: &Path, settings: &[Setting]) -> Result<Cgroup> {
    settings.iter().try_for_each(|setting| apply(path, setting))?;
    let directory = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let directory = directory.context(|| format!("cannot open {}", path.display()))?;
    Ok(Cgroup { path: path.to_owned(), directory })
}

fn apply(group: &Path, setting: &Setting) -> Result<()> {
    let path = group.join(&*setting.file);
    match write_raw(&path, &setting.value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && setting.optional => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(unsupported(format!("the guest's kernel has no {}, which a limit needs", setting.file)))
        }
        written => written.context(|| format!("cannot write {:?} to {}", setting.value, path.display())),
    }
}

/// A container's group.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
}

impl Cgroup {
    /// Kills every process in it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> Result<()> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// Whether the kernel killed a process of it for want of memory.
    pub fn had_oom_kill(&self) -> bool {
        self.figure("memory.events", "oom_kill").is_some_and(|kills| kills > 0)
    }

    /// The figure called `key` in a file of `key value` lines; none if the file or the key is absent.
    pub fn figure(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        limits::find_figure(&text, key)
    }

    /// The one figure of a file; none if it is absent or `max`.
    pub fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }

    /// Ids of all processes in it and in the groups that the container made below it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut processes = Vec::new();
        walk(&self.path, &mut |group| {
            let listed = fs::read_to_string(group.join("cgroup.procs"))?;
            processes.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
            Ok(())
        })
        .context(|| format!("cannot list the processes of {}", self.path.display()))?;
        Ok(processes)
    }

    /// The group that one of its processes really is in: where to go when the group itself takes no process because the
    /// container handed controllers on to groups of its own.
    ///
    /// # Errors
    /// If it cannot be told.
    pub fn group_of(&self, process: u32) -> Result<OwnedFd> {
        let path = format!("/proc/{process}/cgroup");
        let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
        let own = self.path.file_name().unwrap_or_default();
        let below = text.lines().find_map(|line| below(line.strip_prefix("0::")?, own));
        let below = below.ok_or_else(|| internal(format!("{path} does not name the container's cgroup")))?;
        let group = self.path.join(below);
        let directory = open(&group, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        directory.context(|| format!("cannot open {}", group.display()))
    }

    /// Removes it, and the groups that the container made below it. Nothing runs in it any more.
    ///
    /// # Errors
    /// The kernel's: `EBUSY` if something is still in it.
    pub fn remove(&self) -> nix::Result<()> {
        match fs::remove_dir(&self.path) {
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {
                walk(&self.path, &mut |group| fs::remove_dir(group))
            }
            removed => removed,
        }
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    }
}

impl AsFd for Cgroup {
    /// The group's directory, for `CLONE_INTO_CGROUP`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The part of a group's path that comes after the group called `own`.
fn below<'a>(group: &'a str, own: &OsStr) -> Option<&'a Path> {
    let mut components = Path::new(group).components();
    components.by_ref().find(|component| component.as_os_str() == own)?;
    Some(components.as_path())
}

/// Calls `visit` for every group below `group` and for itself, children first.
fn walk(group: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), visit)?;
        }
    }
    visit(group)
}

fn write(path: &Path, value: &str) -> Result<()> {
    write_raw(path, value).context(|| format!("cannot write {value:?} to {}", path.display()))
}

/// Without `O_CREAT`, so that an absent file says so.
fn write_raw(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_from_the_containers_own_on() {
        let own = OsStr::new("abc");
        assert_eq!(below("/hull/abc/in/deep", own), Some(Path::new("in/deep")));
        assert_eq!(below("/abc", own), Some(Path::new("")));
        assert_eq!(below("/abcd/x", own), None);
    }
}
