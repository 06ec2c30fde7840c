//! What is said of a VM that boots.

use crate::output;
use hull_engine::Boot;
use hull_state::VmDir;

/// Says once per boot what the user has to know of it: a software CPU is slow and no security boundary. `--quiet` and
/// `HULL_QUIET` are for scripts that take every line on standard error for a fault; `HULL_VERBOSE` has the VM itself told.
pub fn announce(boot: &Boot, vm: &VmDir, quiet: bool) {
    if quiet || is_set("HULL_QUIET") {
        return;
    }
    if is_set("HULL_VERBOSE") {
        output::say(&describe(boot, vm));
    }
    let slow = if boot.stock_kernel {
        "; on Debian's kernel, which boots slowly (`./x kernel` builds hull's own)"
    } else {
        ""
    };
    if boot.software {
        output::say(&format!("backend {}: a software CPU, slow and no security boundary{slow}", boot.backend));
    } else if boot.stock_kernel {
        output::say(&format!("backend {}{slow}", boot.backend));
    }
}

/// Which VM it is, and what it is made of.
fn describe(boot: &Boot, vm: &VmDir) -> String {
    let (machine, kernel) = (&boot.machine, boot.machine.kernel.path.display());
    let (cpus, memory) = (machine.vcpus, machine.memory_mib);
    format!("VM {} on backend {}: {cpus} CPUs, {memory} MiB, kernel {kernel}", vm.id(), boot.backend)
}

/// Whether an environment variable says anything.
pub fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}
