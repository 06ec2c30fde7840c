//! What the two host processes of a VM hold, without the guest's memory.

use crate::Backend;
use crate::report::Figure;
use anyhow::Result;
use hull_tests::process::{Role, resident_kib};
use hull_tests::sandbox::Sandbox;

/// Figures of a VM whose container idles.
pub fn measure(sandbox: &Sandbox, backend: Backend) -> Result<Vec<Figure>> {
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
    if backend == Backend::Kvm {
        let goal = |name: &str| if name == "shim" { 4.0 } else { 5.0 };
        let figure = |(name, mib): (&str, f64)| {
            let detail = "smaps, mappings of the guest's memory left out".to_owned();
            Figure::promised(&format!("resident memory of the {name}"), mib, "MiB", goal(name), detail)
        };
        return Ok(parts.into_iter().map(figure).collect());
    }
    let detail = parts.iter().map(|(name, mib)| format!("{name} {mib:.1}")).collect::<Vec<_>>().join(", ");
    let sum = parts.iter().map(|(_, mib)| mib).sum();
    Ok(vec![Figure::promised("resident memory of shim and vmm", sum, "MiB", 16.0, detail)])
}
