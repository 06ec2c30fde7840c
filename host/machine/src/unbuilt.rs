//! Backends that hull does not have yet, so that `hull doctor` says so truthfully on hosts that have no other.

use crate::backend::{Capabilities, Machine, MachineBackend, MachineError, NamedDevice, Prepared, Unavailable};
use crate::plan::MachinePlan;
use hull_platform::handle::Handle;

/// A backend that has a name and nothing else.
pub(crate) struct Unbuilt {
    name: &'static str,
    reason: &'static str,
}

#[cfg(target_os = "macos")]
pub(crate) static HVF: Unbuilt =
    Unbuilt { name: "hvf", reason: "hull does not have its backend for Apple's Hypervisor.framework yet" };

#[cfg(windows)]
pub(crate) static WHP: Unbuilt =
    Unbuilt { name: "whp", reason: "hull does not have its backend for the Windows Hypervisor Platform yet" };

impl Unbuilt {
    fn unavailable(&self) -> Unavailable {
        Unavailable { reason: self.reason.into(), remedy: Some("run hull on Linux for now".into()) }
    }

    fn refuse<T>(&self) -> Result<T, MachineError> {
        Err(MachineError::Unavailable { name: self.name, why: self.unavailable() })
    }
}

impl MachineBackend for Unbuilt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn probe(&self) -> Result<Capabilities, Unavailable> {
        Err(self.unavailable())
    }

    fn prepare(&self, _: &MachinePlan, _: Handle) -> Result<Prepared, MachineError> {
        self.refuse()
    }

    fn launch(&self, _: &MachinePlan, _: Vec<NamedDevice>, _: Vec<Handle>) -> Result<Box<dyn Machine>, MachineError> {
        self.refuse()
    }
}
