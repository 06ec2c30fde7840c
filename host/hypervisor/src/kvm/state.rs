//! The state of a vCPU and of what the kernel keeps beside it, as data: Linux `Documentation/virt/kvm/api.rst`, in the order in
//! which the parts depend on one another.
//!
//! A state fits a machine with the same CPU features on a host whose KVM knows the same parts. What comes back is not trusted
//! further than a guest is: the kernel checks every part of it.

use super::{msr, system_error};
use crate::HypervisorError;
use kvm_bindings::{
    KVM_CLOCK_TSC_STABLE, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, Msrs, kvm_clock_data,
    kvm_debugregs, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events,
    kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{VcpuFd, VmFd};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Counts changes of what is below; another version's state is refused.
const VERSION: u32 = 1;

const CHIPS: [u32; 3] = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VcpuState {
    version: u32,
    run_state: kvm_mp_state,
    registers: kvm_regs,
    system: kvm_sregs,
    extended: kvm_xsave,
    extended_control: kvm_xcrs,
    debug: kvm_debugregs,
    apic: kvm_lapic_state,
    model_specific: Vec<kvm_msr_entry>,
    events: kvm_vcpu_events,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineState {
    version: u32,
    chips: [kvm_irqchip; 3],
    clock: kvm_clock_data,
}

/// A vCPU that does not run, on its thread.
pub(super) fn save_vcpu(fd: &VcpuFd) -> Result<Vec<u8>, HypervisorError> {
    encode(&VcpuState {
        version: VERSION,
        // The first read brings pending events of the local APIC to their places.
        run_state: fd.get_mp_state().map_err(system_error("read the run state"))?,
        registers: fd.get_regs().map_err(system_error("read the registers"))?,
        system: fd.get_sregs().map_err(system_error("read the system registers"))?,
        extended: fd.get_xsave().map_err(system_error("read the extended state"))?,
        extended_control: fd.get_xcrs().map_err(system_error("read the extended control registers"))?,
        debug: fd.get_debug_regs().map_err(system_error("read the debug registers"))?,
        model_specific: read_model_specific(fd)?,
        apic: fd.get_lapic().map_err(system_error("read the local APIC"))?,
        events: fd.get_vcpu_events().map_err(system_error("read the pending events"))?,
    })
}

/// A vCPU that has not run yet.
#[expect(unsafe_code, reason = "the kernel reads as much extended state as the CPU features ask for")]
pub(super) fn restore_vcpu(fd: &VcpuFd, bytes: &[u8]) -> Result<(), HypervisorError> {
    let state: VcpuState = decode(bytes, |state: &VcpuState| state.version)?;
    fd.set_mp_state(state.run_state).map_err(system_error("set the run state"))?;
    fd.set_regs(&state.registers).map_err(system_error("set the registers"))?;
    fd.set_sregs(&state.system).map_err(system_error("set the system registers"))?;
    // SAFETY: more than the structure's 4 KiB are read only for features that a process must ask the kernel for, AMX tiles,
    // which this one never does.
    unsafe { fd.set_xsave(&state.extended) }.map_err(system_error("set the extended state"))?;
    fd.set_xcrs(&state.extended_control).map_err(system_error("set the extended control registers"))?;
    fd.set_debug_regs(&state.debug).map_err(system_error("set the debug registers"))?;
    fd.set_lapic(&state.apic).map_err(system_error("set the local APIC"))?;
    write_model_specific(fd, &state.model_specific)?;
    fd.set_vcpu_events(&state.events).map_err(system_error("set the pending events"))
}

/// What belongs to no vCPU: interrupt controllers and the guest's clock.
pub(super) fn save_machine(vm: &VmFd) -> Result<Vec<u8>, HypervisorError> {
    let mut chips = [kvm_irqchip::default(); 3];
    for (chip, id) in chips.iter_mut().zip(CHIPS) {
        chip.chip_id = id;
        vm.get_irqchip(chip).map_err(system_error("read an interrupt controller"))?;
    }
    let mut clock = vm.get_clock().map_err(system_error("read the guest's clock"))?;
    // An answer of the kernel's, which it does not take back.
    clock.flags &= !KVM_CLOCK_TSC_STABLE;
    encode(&MachineState { version: VERSION, chips, clock })
}

/// Before any vCPU runs.
pub(super) fn restore_machine(vm: &VmFd, bytes: &[u8]) -> Result<(), HypervisorError> {
    let state: MachineState = decode(bytes, |state: &MachineState| state.version)?;
    for (chip, id) in state.chips.iter().zip(CHIPS) {
        if chip.chip_id != id {
            return Err(HypervisorError::Config("the saved state has other interrupt controllers".into()));
        }
        vm.set_irqchip(chip).map_err(system_error("set an interrupt controller"))?;
    }
    let clock = kvm_clock_data { clock: state.clock.clock, ..Default::default() };
    vm.set_clock(&clock).map_err(system_error("set the guest's clock"))
}

/// Those that a guest reaches. The kernel stops at the first that this CPU has not, which is then left out.
fn read_model_specific(fd: &VcpuFd) -> Result<Vec<kvm_msr_entry>, HypervisorError> {
    let mut found = Vec::new();
    let mut wanted: Vec<_> = msr::guest_state().map(|index| kvm_msr_entry { index, ..Default::default() }).collect();
    while !wanted.is_empty() {
        let mut list = msrs(&wanted)?;
        let count = fd.get_msrs(&mut list).map_err(system_error("read the model-specific registers"))?;
        found.extend_from_slice(list.as_slice().get(..count).unwrap_or_default());
        wanted.drain(..(count + 1).min(wanted.len()));
    }
    Ok(found)
}

/// The kernel stops at the first that it does not set; one that holds its value already is read-only on this CPU.
fn write_model_specific(fd: &VcpuFd, mut entries: &[kvm_msr_entry]) -> Result<(), HypervisorError> {
    while !entries.is_empty() {
        let count = fd.set_msrs(&msrs(entries)?).map_err(system_error("set the model-specific registers"))?;
        if let Some(left) = entries.get(count) {
            let mut found = msrs(&[kvm_msr_entry { index: left.index, ..Default::default() }])?;
            let read = fd.get_msrs(&mut found).map_err(system_error("read a model-specific register"))?;
            if read == 0 || found.as_slice().first().is_none_or(|found| found.data != left.data) {
                let (index, data) = (left.index, left.data);
                return Err(HypervisorError::Config(format!(
                    "this CPU cannot take up register {index:#x} with {data:#x}"
                )));
            }
        }
        entries = entries.get(count + 1..).unwrap_or_default();
    }
    Ok(())
}

fn msrs(entries: &[kvm_msr_entry]) -> Result<Msrs, HypervisorError> {
    Msrs::from_entries(entries).map_err(|_| HypervisorError::Config("too many model-specific registers".into()))
}

fn encode(state: &impl Serialize) -> Result<Vec<u8>, HypervisorError> {
    serde_json::to_vec(state).map_err(|error| HypervisorError::Config(format!("the state cannot be written: {error}")))
}

fn decode<T: DeserializeOwned>(bytes: &[u8], version: impl Fn(&T) -> u32) -> Result<T, HypervisorError> {
    let state = serde_json::from_slice(bytes)
        .map_err(|error| HypervisorError::Config(format!("the saved state cannot be read: {error}")))?;
    match version(&state) {
        VERSION => Ok(state),
        other => Err(HypervisorError::Config(format!("the saved state has version {other}, not {VERSION}"))),
    }
}
