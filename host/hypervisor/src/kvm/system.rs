//! The KVM device as a [`Hypervisor`].

use super::machine::Machine;
use super::system_error;
use crate::{Hypervisor, HypervisorError, Limits, VmConfig};
use hull_platform::handle::Handle;
use kvm_ioctls::{Cap, Kvm as Device};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::path::Path;

/// The version of the interface that has been stable since 2007.
const API_VERSION: i32 = 12;

/// What a machine cannot do without; the last one is the youngest, of Linux 5.10.
const NEEDED: [(Cap, &str); 8] = [
    (Cap::Irqchip, "an in-kernel interrupt controller"),
    (Cap::Irqfd, "interrupts by eventfd"),
    (Cap::Ioeventfd, "doorbells by eventfd"),
    (Cap::UserMemory, "guest memory in user space"),
    (Cap::ExtCpuid, "CPUID lists"),
    (Cap::ImmediateExit, "an exit before entry"),
    (Cap::SetTssAddr, "a place for the task state segment"),
    (Cap::X86MsrFilter, "a filter of model-specific registers, which Linux has since 5.10"),
];

/// The system's KVM.
pub struct Kvm(Device);

impl Kvm {
    /// Opens `/dev/kvm`.
    ///
    /// # Errors
    /// It is not there, may not be used, or lacks something.
    pub fn open() -> Result<Self, HypervisorError> {
        let file = File::options().read(true).write(true).open(Path::new(super::DEVICE));
        let file = file.map_err(|source| HypervisorError::System { action: "open /dev/kvm", source })?;
        Self::from_handle(file.into())
    }

    /// Takes over an open `/dev/kvm`, for a process that may open nothing.
    ///
    /// # Errors
    /// It is something else, or lacks something.
    #[expect(unsafe_code, reason = "kvm-ioctls takes the descriptor as a number")]
    pub fn from_handle(handle: Handle) -> Result<Self, HypervisorError> {
        let fd = OwnedFd::from(handle).into_raw_fd();
        // SAFETY: `into_raw_fd` gave up the ownership of an open descriptor, which `Device` takes over.
        let device = unsafe { Device::from_raw_fd(fd) };
        let version = device.get_api_version();
        if version != API_VERSION {
            let source = io::Error::other(format!("it speaks version {version}, not {API_VERSION}"));
            return Err(HypervisorError::System { action: "use /dev/kvm", source });
        }
        match NEEDED.into_iter().find(|(cap, _)| !device.check_extension(*cap)) {
            Some((_, what)) => Err(HypervisorError::System {
                action: "use /dev/kvm",
                source: io::Error::other(format!("it lacks {what}")),
            }),
            None => Ok(Self(device)),
        }
    }
}

impl Hypervisor for Kvm {
    type Vm = Machine;

    fn limits(&self) -> Limits {
        Limits {
            max_vcpus: u16::try_from(self.0.get_max_vcpus()).unwrap_or(u16::MAX),
            address_bits: super::cpuid::address_bits(),
            page_size: 4096,
        }
    }

    fn create(&self, config: VmConfig) -> Result<Machine, HypervisorError> {
        let vm = loop {
            match self.0.create_vm() {
                // A signal arrived while the kernel was at it.
                Err(error) if error.errno() == libc::EINTR => {}
                other => break other.map_err(system_error("create a virtual machine"))?,
            }
        };
        let supported = self.0.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES);
        let supported = supported.map_err(system_error("list the CPU features"))?;
        Machine::build(vm, supported.as_slice(), config)
    }
}
