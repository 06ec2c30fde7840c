//! The backend `kvm`: our own VMM on Linux's KVM, x86-64.

use super::Files;
use crate::backend::{Capabilities, Machine, MachineBackend, MachineError, NamedDevice, Prepared, Unavailable};
use crate::plan::{KernelImage, MachinePlan};
use hull_hypervisor::kvm::{self, Kvm};
use hull_platform::handle::Handle;
use std::fs::File;
use std::path::Path;

/// See the module.
pub struct KvmBackend;

/// What `prepare` opens for `launch`. As a list they stand in this order.
struct Handles {
    /// `/dev/kvm`.
    device: Handle,
    kernel: Handle,
    initramfs: Handle,
    /// Where the console's bytes go.
    console: Handle,
}

impl From<Handles> for Vec<Handle> {
    fn from(Handles { device, kernel, initramfs, console }: Handles) -> Self {
        vec![device, kernel, initramfs, console]
    }
}

impl TryFrom<Vec<Handle>> for Handles {
    type Error = MachineError;

    fn try_from(handles: Vec<Handle>) -> Result<Self, MachineError> {
        let given = handles.len();
        let [device, kernel, initramfs, console] = <[Handle; 4]>::try_from(handles)
            .map_err(|_| MachineError::Plan(format!("backend kvm takes 4 handles, not {given}")))?;
        Ok(Self { device, kernel, initramfs, console })
    }
}

impl MachineBackend for KvmBackend {
    fn name(&self) -> &'static str {
        "kvm"
    }

    fn probe(&self) -> Result<Capabilities, Unavailable> {
        match kvm::probe() {
            Ok(speed) => Ok(Capabilities { detail: format!("hull's own VMM on KVM: {speed}"), software: false }),
            Err(unusable) => Err(Unavailable { reason: unusable.reason, remedy: unusable.remedy }),
        }
    }

    fn boots(&self, kernel: &KernelImage) -> Result<(), String> {
        super::boots(kernel)
    }

    fn prepare(&self, plan: &MachinePlan, console: Handle) -> Result<Prepared, MachineError> {
        let device = File::options().read(true).write(true).open("/dev/kvm");
        let device = device.map_err(|source| MachineError::Io { action: "open /dev/kvm".into(), source })?;
        let (kernel, initramfs) = (open(&plan.kernel.path)?, open(&plan.initramfs)?);
        let handles = Handles { device: device.into(), kernel, initramfs, console };
        Ok(Prepared { helper: None, handles: handles.into() })
    }

    fn launch(
        &self,
        plan: &MachinePlan,
        devices: Vec<NamedDevice>,
        handles: Vec<Handle>,
    ) -> Result<Box<dyn Machine>, MachineError> {
        let Handles { device, kernel, initramfs, console } = handles.try_into()?;
        let hypervisor = Kvm::from_handle(device).map_err(super::hypervisor_failed)?;
        let files = Files { kernel: kernel.into(), initramfs: initramfs.into(), console };
        super::launch(self.name(), &hypervisor, plan, devices, files)
    }
}

fn open(path: &Path) -> Result<Handle, MachineError> {
    match File::open(path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(MachineError::Io { action: format!("open {}", path.display()), source }),
    }
}
