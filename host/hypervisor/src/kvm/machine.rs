//! A KVM machine: memory, the in-kernel interrupt controllers, vCPUs.
#![expect(unsafe_code, reason = "guest memory is given to KVM by address")]

use super::kick::KickState;
use super::vcpu::Seed;
use super::{cpuid, entry, msr, state, system_error};
use crate::{Doorbells, Entry, HypervisorError, InterruptController, IrqLine, MemoryRegion, State, Vm, VmConfig};
use hull_platform::event::Event;
use kvm_bindings::{
    CpuId, KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQCHIP_IOAPIC, KvmIrqRouting, Msrs, kvm_cpuid_entry2, kvm_irq_routing_entry,
    kvm_irq_routing_entry__bindgen_ty_1, kvm_irq_routing_irqchip, kvm_msr_entry, kvm_userspace_memory_region,
};
use kvm_ioctls::{IoEventAddress, VcpuFd, VmFd};
use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, IntoRawFd as _};
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// Three pages that Intel's VMX needs in the guest's address space, and one for its identity map before them; below
/// the BIOS area at the top of the first 4 GiB, where no memory and no device lies.
const IDENTITY_MAP: u64 = 0xfffb_c000;
const TASK_STATE: usize = 0xfffb_d000;

/// Pins of the I/O APIC.
const PINS: u32 = 24;

const IA32_MISC_ENABLE: u32 = 0x1a0;
const FAST_STRINGS: u64 = 1;

/// What must outlive every vCPU: the kernel reaches the memory for as long as one of them can run.
pub struct Shared {
    vm: VmFd,
    _memory: Vec<MemoryRegion>,
}

/// A machine on KVM.
pub struct Machine {
    shared: Arc<Shared>,
    seeds: Vec<Seed>,
    doorbells: IoEvents,
}

impl Machine {
    pub(super) fn build(vm: VmFd, supported: &[kvm_cpuid_entry2], config: VmConfig) -> Result<Self, HypervisorError> {
        let InterruptController::IoApic = config.interrupts else {
            return Err(HypervisorError::Config("an x86 machine has an I/O APIC".into()));
        };
        let Entry::Pvh { address, start_info } = config.entry else {
            return Err(HypervisorError::Config("an x86 machine is entered by the PVH protocol".into()));
        };
        vm.set_identity_map_address(IDENTITY_MAP).map_err(system_error("place the identity map"))?;
        vm.set_tss_address(TASK_STATE).map_err(system_error("place the task state segment"))?;
        vm.create_irq_chip().map_err(system_error("create the interrupt controllers"))?;
        route_lines(&vm)?;
        msr::filter(&vm)?;
        map_memory(&vm, &config.memory)?;
        let shared = Arc::new(Shared { vm, _memory: config.memory });
        let count = config.vcpus.get();
        let mut seeds = Vec::with_capacity(count.into());
        for index in 0..count {
            let fd = shared.vm.create_vcpu(index.into()).map_err(system_error("create a vCPU"))?;
            set_up_vcpu(&fd, &cpuid::for_vcpu(supported, index, count))?;
            if index == 0 {
                set_entry(&fd, address, start_info)?;
            }
            seeds.push(Seed::new(index, fd, Arc::clone(&shared), Arc::new(KickState::default())));
        }
        Ok(Self { doorbells: IoEvents(Arc::clone(&shared)), shared, seeds })
    }
}

/// Every line goes to the I/O APIC's pin of the same number, and nowhere else. By default the first 16 go to the 8259s too,
/// which KVM makes along with it: a guest that knows of none would get each interrupt a second time, as an exception.
fn route_lines(vm: &VmFd) -> Result<(), HypervisorError> {
    let line = |pin| kvm_irq_routing_entry {
        gsi: pin,
        type_: KVM_IRQ_ROUTING_IRQCHIP,
        u: kvm_irq_routing_entry__bindgen_ty_1 {
            irqchip: kvm_irq_routing_irqchip { irqchip: KVM_IRQCHIP_IOAPIC, pin },
        },
        ..Default::default()
    };
    let lines: Vec<_> = (0..PINS).map(line).collect();
    let routing =
        KvmIrqRouting::from_entries(&lines).map_err(|_| HypervisorError::Config("too many interrupt lines".into()))?;
    vm.set_gsi_routing(&routing).map_err(system_error("route the interrupt lines"))
}

fn map_memory(vm: &VmFd, regions: &[MemoryRegion]) -> Result<(), HypervisorError> {
    for (slot, region) in (0u32..).zip(regions) {
        let mapping = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.guest_address,
            memory_size: region.memory.length() as u64,
            userspace_addr: region.memory.start() as u64,
        };
        // SAFETY: `HostMemory` promises memory that may change at any time for as long as the value lives, and
        // `Shared` keeps it for as long as the VM and its vCPUs.
        unsafe { vm.set_user_memory_region(mapping) }.map_err(system_error("map the guest's memory"))?;
    }
    Ok(())
}

fn set_up_vcpu(fd: &VcpuFd, leaves: &[kvm_cpuid_entry2]) -> Result<(), HypervisorError> {
    let leaves = CpuId::from_entries(leaves).map_err(|_| HypervisorError::Config("too many CPUID leaves".into()))?;
    fd.set_cpuid2(&leaves).map_err(system_error("set the CPU features"))?;
    let misc = kvm_msr_entry { index: IA32_MISC_ENABLE, data: FAST_STRINGS, ..Default::default() };
    let msrs = Msrs::from_entries(&[misc]).map_err(|_| HypervisorError::Config("too many MSRs".into()))?;
    fd.set_msrs(&msrs).map_err(system_error("set the model-specific registers"))?;
    Ok(())
}

fn set_entry(fd: &VcpuFd, address: u32, start_info: u32) -> Result<(), HypervisorError> {
    let reset = fd.get_sregs().map_err(system_error("read the system registers"))?;
    fd.set_sregs(&entry::pvh_system(&reset)).map_err(system_error("set the system registers"))?;
    fd.set_regs(&entry::pvh_registers(address, start_info)).map_err(system_error("set the registers"))
}

impl Vm for Machine {
    type Seed = Seed;

    fn take_vcpus(&mut self) -> Vec<Seed> {
        std::mem::take(&mut self.seeds)
    }

    fn irq_line(&self, pin: u32) -> Result<Arc<dyn IrqLine>, HypervisorError> {
        if pin >= PINS {
            return Err(HypervisorError::Config(format!("the I/O APIC has no pin {pin}")));
        }
        let event = Event::new().map_err(|source| HypervisorError::System { action: "make an irqfd", source })?;
        let fd = foreign(&event).map_err(|source| HypervisorError::System { action: "make an irqfd", source })?;
        self.shared.vm.register_irqfd(&fd, pin).map_err(system_error("attach an irqfd"))?;
        Ok(Arc::new(IrqFd { event, _machine: Arc::clone(&self.shared) }))
    }

    fn doorbells(&self) -> Option<&dyn Doorbells> {
        Some(&self.doorbells)
    }

    fn state(&self) -> Option<&dyn State> {
        Some(self)
    }
}

impl State for Machine {
    fn save(&self) -> Result<Vec<u8>, HypervisorError> {
        state::save_machine(&self.shared.vm)
    }

    fn restore(&self, state: &[u8]) -> Result<(), HypervisorError> {
        state::restore_machine(&self.shared.vm, state)
    }
}

/// A second descriptor of the event, as the type that kvm-ioctls wants.
fn foreign(event: &Event) -> io::Result<EventFd> {
    let fd = event.as_fd().try_clone_to_owned()?.into_raw_fd();
    // SAFETY: `into_raw_fd` gave up the ownership of an eventfd, which `EventFd` takes over.
    Ok(unsafe { EventFd::from_raw_fd(fd) })
}

struct IrqFd {
    event: Event,
    _machine: Arc<Shared>,
}

impl IrqLine for IrqFd {
    fn raise(&self) -> io::Result<()> {
        self.event.signal()
    }
}

struct IoEvents(Arc<Shared>);

impl Doorbells for IoEvents {
    fn attach(&self, address: u64, value: u32, event: &Event) -> io::Result<()> {
        let at = IoEventAddress::Mmio(address);
        self.0
            .vm
            .register_ioevent(&foreign(event)?, &at, value)
            .map_err(|error| io::Error::from_raw_os_error(error.errno()))
    }
}
