//! What an idle guest costs the host: returns of `KVM_RUN` to user space, by the kernel's trace point, and KVM's own count
//! of exits, most of which never leave the kernel.

use crate::report::Figure;
use anyhow::{Context, Result};
use hull_tests::process::Role;
use hull_tests::sandbox::Sandbox;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const SECONDS: u32 = 10;

/// How long the guest may still be busy with the container's start.
const SETTLE: Duration = Duration::from_secs(5);

/// Figures of a VM whose container sleeps. Needs root, tracefs and debugfs.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let container = sandbox.idle(&[])?;
    let processes = container.vm_processes()?;
    let vmm = processes.iter().find(|process| process.role == Role::Vmm).context("no vmm")?;
    thread::sleep(SETTLE);
    let returns = Returns::start()?;
    let exits = exits(vmm.pid)?;
    thread::sleep(Duration::from_secs(SECONDS.into()));
    let exits = self::exits(vmm.pid)?.saturating_sub(exits);
    let returns = returns.count()?;
    let per_second = |count: u64| Ok::<_, anyhow::Error>(f64::from(u32::try_from(count)?) / f64::from(SECONDS));
    let over = format!("over {SECONDS} s");
    Ok(vec![
        Figure::promised("returns of KVM_RUN of an idle guest", per_second(returns)?, "1/s", 5.0, over.clone()),
        Figure::stated("exits of the same, by KVM's count", per_second(exits)?, "1/s", over),
    ])
}

/// Counts `kvm_userspace_exit`, of every VM of the host.
struct Returns(PathBuf);

const TRIGGER: &str = "hist:keys=reason";

impl Returns {
    fn start() -> Result<Self> {
        let event = Path::new("/sys/kernel/debug/tracing/events/kvm/kvm_userspace_exit");
        fs::write(event.join("trigger"), TRIGGER).with_context(|| {
            format!("cannot count {}: root, debugfs and the kernel's histograms are needed", event.display())
        })?;
        Ok(Self(event.to_owned()))
    }

    fn count(&self) -> Result<u64> {
        let text = fs::read_to_string(self.0.join("hist"))?;
        let hits = text.lines().find_map(|line| line.trim().strip_prefix("Hits: "));
        hits.and_then(|count| count.trim().parse().ok()).with_context(|| format!("no hits in {text:?}"))
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        // It counts on, at no cost to speak of, if this fails.
        fs::write(self.0.join("trigger"), format!("!{TRIGGER}")).ok();
    }
}

fn exits(pid: u32) -> Result<u64> {
    let all = Path::new("/sys/kernel/debug/kvm");
    let entries = fs::read_dir(all).with_context(|| format!("cannot list {}", all.display()))?.flatten();
    let of_vm = |name: &str| name.strip_prefix(&pid.to_string()).is_some_and(|rest| rest.starts_with('-'));
    let found = entries.filter(|entry| entry.file_name().to_str().is_some_and(of_vm)).map(|entry| entry.path()).next();
    let path = found.with_context(|| format!("no VM of process {pid} in {}", all.display()))?.join("exits");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds {text:?}", path.display()))
}
