//! Machines of our own: vCPUs of a [`hull_hypervisor`] and the devices over virtio-mmio, all in the vmm's process.
//!
//! ```text
//!   vcpu0 … vcpuN   threads in Vcpu::run; what is not memory comes to Bus
//!   Bus             virtio-mmio windows, the few I/O ports
//!   doorbells       QueueNotify writes that wake a device's worker without a return to user space
//!   interrupt lines from a device's worker to the interrupt controller
//! ```
//!
//! There is no firmware, no PCI and no ACPI: the kernel is entered by its PVH entry, finds CPUs and interrupts in an MP table
//! and devices on its command line. What lies where is in [`layout`].

mod boot;
mod bus;
mod devices;
pub mod kvm;
mod layout;
mod memory;
mod mp_table;
mod running;

use crate::backend::{Machine, MachineError, NamedDevice};
use crate::plan::{Discovery, KernelImage, MachinePlan};
use bus::Bus;
use hull_hypervisor::{Entry, Hypervisor, HypervisorError, InterruptController, IrqLine, Vm, VmConfig};
use hull_platform::handle::Handle;
use hull_virtio::transport::mmio::{InterruptLine, MmioTransport, QUEUE_NOTIFY};
use running::{Kicks, Running};
use std::fs::File;
use std::io;
use std::sync::Arc;

/// What the jailed process needs and cannot open.
pub(crate) struct Files {
    kernel: File,
    initramfs: File,
    console: Handle,
}

/// Builds the machine of `plan` on `hypervisor` and starts it.
pub(crate) fn launch<H: Hypervisor>(
    name: &'static str,
    hypervisor: &H,
    plan: &MachinePlan,
    devices: Vec<NamedDevice>,
    mut files: Files,
) -> Result<Box<dyn Machine>, MachineError>
where
    H::Vm: Send + 'static,
{
    boots(&plan.kernel).map_err(|why| MachineError::Plan(format!("backend {name} {why}")))?;
    let most = hypervisor.limits().max_vcpus.min(mp_table::MAX_VCPUS.into());
    if u16::from(plan.vcpus.get()) > most {
        return Err(MachineError::Plan(format!(
            "backend {name} runs VMs of at most {most} virtual CPUs here, not {}",
            plan.vcpus
        )));
    }
    let bytes = u64::from(plan.memory_mib) << 20;
    let memory = memory::allocate(bytes)?;
    let mut devices = devices;
    devices.extend(devices::own(&memory, &files.console)?);
    let command_line = boot::command_line(devices.len());
    let entry = boot::load(&memory, plan.vcpus, &mut files, &command_line)?;
    let config = VmConfig {
        vcpus: plan.vcpus,
        memory: memory::regions(&memory),
        interrupts: InterruptController::IoApic,
        entry: Entry::Pvh { address: entry, start_info: layout::START_INFO },
    };
    let mut vm = hypervisor.create(config).map_err(hypervisor_failed)?;
    let transports: Vec<_> =
        (0..).zip(devices).map(|(slot, device)| attach(&vm, slot, device, &memory)).collect::<Result<_, _>>()?;
    let seeds = vm.take_vcpus();
    let kicks = Kicks::of(&seeds);
    let bus = Bus::new(transports, files.console, kicks.clone());
    Running::start(vm, seeds, kicks, bus)
}

/// Whether our machines have what this kernel looks for; else the end of a sentence about the backend.
pub(crate) fn boots(kernel: &KernelImage) -> Result<(), String> {
    match kernel.discovery {
        Discovery::CommandLine => Ok(()),
        Discovery::Acpi => Err(format!(
            "needs hull's own kernel, which `./x kernel` builds in hull's source tree: {} finds its devices by ACPI alone",
            kernel.path.display()
        )),
    }
}

/// Puts a device behind its registers, with its interrupt and its doorbells.
fn attach<V: Vm>(
    vm: &V,
    slot: u32,
    device: NamedDevice,
    memory: &Arc<hull_virtio::queue::GuestMemory>,
) -> Result<MmioTransport, MachineError> {
    let line = vm.irq_line(layout::device_pin(slot)).map_err(hypervisor_failed)?;
    let transport = MmioTransport::new(device.name, device.device, Arc::clone(memory), Arc::new(Line(line)));
    let failed = |source| MachineError::Io { action: format!("set up device {}", device.name), source };
    let transport = transport.map_err(failed)?;
    if let Some(doorbells) = vm.doorbells() {
        let register = layout::device_window(slot) + QUEUE_NOTIFY;
        for queue in 0..transport.queue_count() {
            let kick = transport.kick(queue).expect("a queue below the count has a kick");
            doorbells.attach(register, queue.into(), kick).map_err(failed)?;
        }
    }
    Ok(transport)
}

/// The two crates do not know each other; they meet here.
struct Line(Arc<dyn IrqLine>);

impl InterruptLine for Line {
    fn raise(&self) -> io::Result<()> {
        self.0.raise()
    }
}

fn hypervisor_failed(error: HypervisorError) -> MachineError {
    match error {
        HypervisorError::System { action, source } => MachineError::Io { action: action.to_owned(), source },
        HypervisorError::Config(what) => MachineError::Plan(what),
    }
}
