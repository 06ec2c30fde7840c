//! What a guest's CPU says of itself: the host's features as KVM offers them, with the parts changed that are either
//! untrue in a guest or not to be had there.
//!
//! | leaf | change | why |
//! |---|---|---|
//! | 1 | APIC id, one logical CPU per vCPU | KVM returns the CPU on which it was asked |
//! | 1 ECX | VMX, debug store, SpeedStep, thermal monitors, MONITOR, PDCM off; hypervisor, TSC deadline on | no nested virtualization, no power or performance hardware |
//! | 4 | caches shared by one CPU | topology is N cores of one thread in one socket |
//! | 6 | zero but ARAT | no power management; the APIC timer never stops |
//! | 7.0 EBX | HLE, RTM, SGX off | transactional memory aborts at once where microcode disabled it; no enclaves |
//! | 0xA, 0x12, 0x14, 0x1B–0x1E, 0x8000_001D, 0x8000_001E | zero | no performance counters, enclaves, processor trace, AMX tiles; topology is told elsewhere |
//! | 0xB, 0x1F | x2APIC id, one level of cores | topology |
//! | 0x8000_0001 ECX | SVM, topology extensions, perf counters off | as above |
//! | 0x8000_0008 ECX | number of cores | topology |
//! | 0x4000_0000… | KVM's own | clock, end of interrupt, steal time: these make a guest fast |
//!
//! Intel SDM vol. 2A "CPUID"; AMD APM vol. 3 appendix E; Linux `Documentation/virt/kvm/x86/cpuid.rst`.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

mod bits {
    pub const ECX1_OFF: u32 = 1 << 2 // 64-bit debug store
        | 1 << 3 // MONITOR
        | 1 << 4 // qualified debug store
        | 1 << 5 // VMX
        | 1 << 7 // SpeedStep
        | 1 << 8 // thermal monitor 2
        | 1 << 15; // performance capabilities MSR
    pub const ECX1_ON: u32 = 1 << 31 // hypervisor present
        | 1 << 24 // TSC deadline timer, which KVM's own APIC always has
        | 1 << 21; // x2APIC, likewise
    pub const EDX1_OFF: u32 = 1 << 21 // debug store
        | 1 << 22 // thermal control
        | 1 << 29; // thermal monitor
    pub const EDX1_HTT: u32 = 1 << 28;
    pub const EBX7_OFF: u32 = 1 << 2 // SGX
        | 1 << 4 // HLE
        | 1 << 11; // RTM
    pub const ECX7_OFF: u32 = 1 << 30; // SGX launch configuration
    pub const EDX7_OFF: u32 = 1 << 22 | 1 << 24 | 1 << 25; // AMX
    pub const ECX81_OFF: u32 = 1 << 2 // SVM
        | 1 << 22 // topology extensions: leaves 0x8000_001D and _001E
        | 1 << 23 | 1 << 24 | 1 << 28; // performance counters
    pub const EAX6_ARAT: u32 = 1 << 2;
}

const LEVEL_SMT: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// Width of a physical address on this CPU.
pub fn address_bits() -> u8 {
    let extended = core::arch::x86_64::__cpuid(0x8000_0000).eax;
    let bits = if extended >= 0x8000_0008 { core::arch::x86_64::__cpuid(0x8000_0008).eax & 0xff } else { 36 };
    u8::try_from(bits).unwrap_or(36)
}

/// The list for the vCPU `index` of `count`, from what KVM supports.
pub fn for_vcpu(supported: &[kvm_cpuid_entry2], index: u8, count: u8) -> Vec<kvm_cpuid_entry2> {
    let mut list: Vec<_> = supported.iter().filter(|entry| !matches!(entry.function, 0xb | 0x1f)).copied().collect();
    for entry in &mut list {
        adapt(entry, index, count);
    }
    if supported.iter().any(|entry| entry.function == 0 && entry.eax >= 0xb) {
        list.extend(topology(index, count));
    }
    list
}

fn adapt(entry: &mut kvm_cpuid_entry2, index: u8, count: u8) {
    match (entry.function, entry.index) {
        (0x1, _) => {
            // Bits 15:8, the CLFLUSH size, stay.
            entry.ebx = entry.ebx & 0xff00 | u32::from(index) << 24 | u32::from(count) << 16;
            entry.ecx = entry.ecx & !bits::ECX1_OFF | bits::ECX1_ON;
            entry.edx = entry.edx & !bits::EDX1_OFF & !bits::EDX1_HTT | if count > 1 { bits::EDX1_HTT } else { 0 };
        }
        (0x4, _) => {
            // 31:26 cores in the package less one; 25:14 CPUs that share this cache less one.
            let cores = if entry.eax & 0x1f == 0 { 0 } else { u32::from(count - 1).min(0x3f) << 26 };
            entry.eax = entry.eax & 0x3fff | cores;
        }
        (0x6, _) => (entry.eax, entry.ebx, entry.ecx, entry.edx) = (bits::EAX6_ARAT, 0, 0, 0),
        (0x7, 0) => {
            entry.ebx &= !bits::EBX7_OFF;
            entry.ecx &= !bits::ECX7_OFF;
            entry.edx &= !bits::EDX7_OFF;
        }
        (0xa | 0x12 | 0x14 | 0x1b..=0x1e | 0x8000_001d | 0x8000_001e, _) => {
            (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
        }
        (0x8000_0001, _) => entry.ecx &= !bits::ECX81_OFF,
        // 7:0 cores less one; 15:12 the width of the core's part of the APIC id: zero means "as many as needed".
        (0x8000_0008, _) => entry.ecx = u32::from(count - 1),
        _ => {}
    }
}

/// Leaves 0xB and 0x1F are not both needed; Linux takes 0xB where the other is absent.
fn topology(index: u8, count: u8) -> [kvm_cpuid_entry2; 3] {
    let bits_for_cores = u8::BITS - (count - 1).leading_zeros();
    let level = |level, kind, shift, cpus| kvm_cpuid_entry2 {
        function: 0xb,
        index: level,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: cpus,
        ecx: kind << 8 | level,
        edx: index.into(),
        ..Default::default()
    };
    [level(0, LEVEL_SMT, 0, 1), level(1, LEVEL_CORE, bits_for_cores, count.into()), level(2, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, index: u32, fill: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, index, eax: fill, ebx: fill, ecx: fill, edx: fill, ..Default::default() }
    }

    fn find(list: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        *list.iter().find(|entry| entry.function == function && entry.index == index).unwrap()
    }

    #[test]
    fn a_guest_sees_a_hypervisor_and_no_nested_virtualization() {
        let all = [leaf(0, 0, 0x1f), leaf(1, 0, !0), leaf(7, 0, !0), leaf(0x8000_0001, 0, !0), leaf(0xa, 0, !0)];
        let list = for_vcpu(&all, 0, 1);
        assert_eq!(find(&list, 1, 0).ecx & (1 << 5), 0, "VMX");
        assert_ne!(find(&list, 1, 0).ecx & (1 << 31), 0, "hypervisor");
        assert_eq!(find(&list, 0x8000_0001, 0).ecx & (1 << 2), 0, "SVM");
        assert_eq!(find(&list, 7, 0).ebx & (1 << 11), 0, "RTM");
        assert_eq!(find(&list, 0xa, 0).eax, 0, "performance counters");
    }

    #[test]
    fn every_vcpu_is_a_core_of_one_socket() {
        let all = [leaf(0, 0, 0x1f), leaf(1, 0, 0), leaf(0xb, 0, !0), leaf(0x1f, 0, !0), leaf(0x8000_0008, 0, !0)];
        for (count, width) in [(1, 0), (2, 1), (3, 2), (4, 2), (32, 5)] {
            let list = for_vcpu(&all, count - 1, count);
            assert_eq!(find(&list, 1, 0).ebx >> 24, u32::from(count - 1));
            let cores = find(&list, 0xb, 1);
            assert_eq!((cores.eax, cores.ebx, cores.edx), (width, count.into(), u32::from(count - 1)));
            assert_eq!(find(&list, 0x8000_0008, 0).ecx, u32::from(count - 1));
            assert!(!list.iter().any(|entry| entry.function == 0x1f));
        }
    }
}
