//! Host processes, as `/proc` shows them.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process at the time when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// What it is to hull.
    pub role: Role,
    /// Its command line, arguments joined by spaces.
    pub line: String,
}

/// What a process of a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `hull shim`
    Shim,
    /// `hull vmm`
    Vmm,
    /// QEMU
    Qemu,
    /// Another, such as a `hull run`.
    Other,
}

impl Process {
    /// `None` if it has ended: a process whose parent has not yet asked for its status counts as ended.
    fn read(pid: u32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        // The name, in parentheses, may hold anything: the fields begin after the last one.
        let stat = fs::read_to_string(directory.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
        if matches!(state, "Z" | "X") {
            return None;
        }
        let raw = fs::read(directory.join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&raw);
        let words: Vec<&str> = text.split('\0').collect();
        let role = match (words.first(), words.get(1)) {
            (Some(program), _) if program.contains("qemu-system") => Role::Qemu,
            (_, Some(&"shim")) => Role::Shim,
            (_, Some(&"vmm")) => Role::Vmm,
            _ => Role::Other,
        };
        Some(Self { pid, parent, role, line: words.join(" ").trim_end().to_owned() })
    }

    /// Whether it is a hull process that has to do with `root`, by its command line, environment or open files.
    fn names(&self, root: &Path) -> bool {
        let text = root.to_string_lossy();
        let directory = PathBuf::from(format!("/proc/{}", self.pid));
        let in_environment = || {
            let environment = fs::read(directory.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == format!("HULL_ROOT={text}").as_bytes())
        };
        let in_files = || {
            let files = fs::read_dir(directory.join("fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.starts_with(root))
        };
        self.line.contains(&*text) || in_environment() || in_files()
    }
}

/// Every process that lives.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Process::read).collect()
}

/// The processes that have to do with a state root, and what descends from them; not this one.
pub fn of_root(root: &Path) -> Vec<Process> {
    let all = all();
    let me = std::process::id();
    let mut ours: BTreeSet<u32> = all.iter().filter(|p| p.pid != me && p.names(root)).map(|p| p.pid).collect();
    loop {
        let before = ours.len();
        ours.extend(all.iter().filter(|p| ours.contains(&p.parent)).map(|p| p.pid).collect::<Vec<_>>());
        if ours.len() == before {
            break;
        }
    }
    all.into_iter().filter(|process| ours.contains(&process.pid)).collect()
}

/// Whether it lives; one that only waits to be reaped does not.
pub fn lives(pid: u32) -> bool {
    Process::read(pid).is_some()
}

/// Sends a signal.
///
/// # Errors
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill_process(as_pid(pid)?, signal).with_context(|| format!("cannot send {signal:?} to process {pid}"))
}

/// Waits for the end of a process without reaping it; `false` when `limit` has passed.
///
/// # Errors
/// If the system cannot wait.
pub fn wait_for_end(pid: u32, limit: Duration) -> Result<bool> {
    let descriptor = match pidfd_open(as_pid(pid)?, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(true),
        other => other.with_context(|| format!("cannot watch process {pid}"))?,
    };
    let limit = Timespec::try_from(limit).context("limit is too long")?;
    let mut set = [PollFd::new(&descriptor, PollFlags::IN)];
    Ok(rustix::io::retry_on_intr(|| poll(&mut set, Some(&limit)))? > 0)
}

/// Resident memory of a process in KiB without the memory of its guest.
///
/// The guest's memory is a memfd under QEMU, and private memory of at least [`GUEST`] bytes in the native VMM: both are left out.
///
/// # Errors
/// If the process has ended.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps");
    let maps = fs::read_to_string(&path).with_context(|| path)?;
    let (mut sum, mut guest) = (0, false);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") if !guest => sum += words.next().unwrap_or_default().parse::<u64>().unwrap_or_default(),
            // A mapping begins with its address range and ends with its file.
            Some(word) if !word.ends_with(':') => guest = line.contains("/memfd:") || length(word) >= GUEST,
            _ => (),
        }
    }
    Ok(sum)
}

/// The least memory that a guest can have; hull has no mapping of its own that is as long.
const GUEST: u64 = 64 << 20;

/// Of a mapping, from its range as in `7f00-8000`.
fn length(range: &str) -> u64 {
    let ends = range.split_once('-').map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)));
    match ends {
        Some((Ok(start), Ok(end))) => end.saturating_sub(start),
        _ => 0,
    }
}

fn as_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(|| format!("{pid} is not a process id"))
}
