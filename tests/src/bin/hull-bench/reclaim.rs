//! Memory that a container used and freed comes back to the host.

use crate::report::Figure;
use anyhow::{Context, Result, ensure};
use hull_tests::process::Role;
use hull_tests::sandbox::Sandbox;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const MIB: u32 = 256;
const LIMIT: Duration = Duration::from_secs(15);

/// Figures of a VM whose container fills a file in memory and removes it.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let container = sandbox.idle(&["--tmpfs", "/fill"])?;
    let processes = container.vm_processes()?;
    let vmm = processes.iter().find(|process| process.role == Role::Vmm).context("no vmm")?.pid;
    let before = resident_mib(vmm)?;
    container.sh(&format!("dd if=/dev/zero of=/fill/file bs=1M count={MIB} 2>/dev/null"))?;
    let full = resident_mib(vmm)?;
    ensure!(full - before > 0.9 * f64::from(MIB), "only {:.0} MiB of {MIB} became resident", full - before);
    container.sh("rm /fill/file")?;
    let freed = Instant::now();
    let mut left = full - before;
    while left > 32.0 && freed.elapsed() < LIMIT {
        thread::sleep(Duration::from_millis(200));
        left = resident_mib(vmm)? - before;
    }
    let detail = format!("{MIB} MiB written and removed, {:.0} MiB more at most", full - before);
    Ok(vec![
        Figure::promised("memory that does not come back", left, "MiB", 32.0, detail),
        Figure::promised("the rest is back after", freed.elapsed().as_secs_f64(), "s", 15.0, "from rm on".to_owned()),
    ])
}

/// All resident memory of a process, that of its guest included.
fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse::<u32>().ok());
    Ok(f64::from(kib.with_context(|| format!("no VmRSS in {path}"))?) / 1024.0)
}
