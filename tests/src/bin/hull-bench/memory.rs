//! What the two host processes of a VM hold, without the guest's memory.

use crate::report::Figure;
use anyhow::Result;
use hull_tests::process::{Role, resident_kib};
use hull_tests::sandbox::Sandbox;

/// Figures of a VM whose container idles.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let container = sandbox.idle(&[])?;
    container.exec(&[], &["true"]).output()?.ok()?;
    let mut parts = Vec::new();
    for process in container.vm_processes()? {
        let name = match process.role {
            Role::Shim => "shim",
            Role::Vmm => "vmm",
            Role::Qemu | Role::Other => continue,
        };
        let kib = u32::try_from(resident_kib(process.pid)?)?;
        parts.push((name, f64::from(kib) / 1024.0));
    }
    let detail = parts.iter().map(|(name, mib)| format!("{name} {mib:.1}")).collect::<Vec<_>>().join(", ");
    let sum = parts.iter().map(|(_, mib)| mib).sum();
    Ok(vec![Figure::promised("resident memory of shim and vmm", sum, "MiB", 16.0, detail)])
}
