//! The coarse cut: what a machine is, and the ways of running one.
//!
//! A machine is data ([`plan::MachinePlan`]) beside live devices ([`backend::NamedDevice`]); a [`MachineBackend`] runs it.
//! Two kinds of backend have nothing in common inside: those of our own (`native`), which run vCPUs in this process
//! through `hull-hypervisor`, and QEMU's software CPU (`qemu`), a child process to which our devices are served over
//! vhost-user. Nothing above this crate knows which one runs.

pub mod backend;
pub mod kernel;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod native;
pub mod plan;
#[cfg(target_os = "linux")]
pub mod qemu;
#[cfg(not(target_os = "linux"))]
mod unbuilt;

use backend::MachineBackend;

/// Every backend of this host's system, the best first. QEMU is the last resort: slow, and no security boundary.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
static BACKENDS: [&dyn MachineBackend; 2] = [&native::kvm::KvmBackend, &qemu::Qemu];
#[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
static BACKENDS: [&dyn MachineBackend; 1] = [&qemu::Qemu];
#[cfg(target_os = "macos")]
static BACKENDS: [&dyn MachineBackend; 1] = [&unbuilt::HVF];
#[cfg(windows)]
static BACKENDS: [&dyn MachineBackend; 1] = [&unbuilt::WHP];

/// Every backend of this host's system, in the order in which `--backend auto` tries them.
pub fn backends() -> &'static [&'static dyn MachineBackend] {
    &BACKENDS
}

/// The backend of that name, if this host's system has it.
pub fn backend(name: &str) -> Option<&'static dyn MachineBackend> {
    backends().iter().copied().find(|backend| backend.name() == name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn backends_are_found_by_name_and_software_comes_last() {
        for backend in super::backends() {
            assert_eq!(super::backend(backend.name()).unwrap().name(), backend.name());
        }
        assert!(super::backend("auto").is_none());
        if cfg!(target_os = "linux") {
            assert_eq!(super::backends().last().unwrap().name(), "qemu");
        }
    }
}
