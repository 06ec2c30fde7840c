//! From the command entered to its end, in a VM that was not there before, against a bare boot of the same kernel.

use crate::Backend;
use crate::qemu::{Machine, rebooting_initramfs};
use crate::report::{Figure, median, spread};
use anyhow::Result;
use hull_tests::sandbox::Sandbox;

const RUN: &str = "cold hull run --rm … true";

/// Figures from `pairs` pairs of runs, one of each kind in turn, so that whatever else the host does hits both.
pub fn measure(sandbox: &Sandbox, backend: Backend, pairs: usize) -> Result<Vec<Figure>> {
    let machine = match backend {
        Backend::Qemu => Machine::of_default_vm(sandbox)?,
        Backend::Kvm => Machine::accelerated(sandbox)?,
    };
    let initramfs = rebooting_initramfs(sandbox.path())?;
    let (mut bare, mut hull) = (Vec::new(), Vec::new());
    // The first pair fills caches.
    for pair in 0..=pairs {
        let (baseline, run) = (machine.bare(&initramfs).output()?.ok()?, sandbox.run(&[], &["true"])?.ok()?);
        if pair > 0 {
            bare.push(baseline.took.as_secs_f64());
            hull.push(run.took.as_secs_f64());
        }
    }
    let vm = format!("{} vCPUs, {} MiB", machine.processors, machine.memory);
    let (base, cold) = (median(&bare), median(&hull));
    let cold_figure = match backend {
        Backend::Qemu => Figure::promised(RUN, cold, "s", 0.9, spread(&hull)),
        Backend::Kvm => Figure::stated(RUN, cold, "s", spread(&hull)),
    };
    let ratio = match backend {
        Backend::Qemu => 1.5,
        Backend::Kvm => 0.7,
    };
    Ok(vec![
        Figure::stated(
            "bare boot to a rebooting init",
            base,
            "s",
            format!("{}; {vm}; {}", spread(&bare), machine.kernel_parameters),
        ),
        cold_figure,
        Figure::promised("the same, in bare boots", cold / base, "times", ratio, format!("{pairs} pairs in turn")),
    ])
}
