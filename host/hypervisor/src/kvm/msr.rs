//! Which model-specific registers a guest reaches. All others raise #GP in it, as on a CPU that has none of them: what KVM makes
//! up for registers that it does not know, or keeps for hosts and hypervisors below, is not for our guests.
//!
//! | registers | for |
//! |---|---|
//! | TSC, TSC_ADJUST, TSC_DEADLINE, APIC_BASE; the x2APIC's, which no filter reaches | time and interrupts |
//! | EFER, STAR, LSTAR, CSTAR, SFMASK, SYSENTER_*, FS/GS bases, TSC_AUX, XSS, DEBUGCTL | the CPU's modes |
//! | MTRRs, PAT | memory types |
//! | SPEC_CTRL, PRED_CMD, FLUSH_CMD, ARCH_CAPABILITIES, TSX_CTRL, VIRT_SPEC_CTRL, UCODE_REV, MISC_ENABLE, MISC_FEATURES | what a kernel reads to choose its mitigations |
//! | MCG_*, machine check banks | an empty set, which a kernel visits |
//! | SYSCFG, HWCR, OSVW, LS_CFG, DE_CFG | AMD's, which a kernel reads, and may write to no effect |
//! | KVM's own, 0x11, 0x12 and 0x4b564d00 on | clock, end of interrupt, steal time |
//!
//! Not there: performance counters (CPUID offers none), debug stores and traces, power and thermal control, microcode loading,
//! SMM, SVM and VMX. Linux `Documentation/virt/kvm/api.rst`, KVM_X86_SET_MSR_FILTER; Intel SDM vol. 4; AMD APM vol. 2 appendix A.

use super::system_error;
use crate::HypervisorError;
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};
use std::ops::RangeInclusive;

/// The registers that a guest reaches; no two in one group are more than [`SPAN`] apart, and KVM takes 16 groups.
const ALLOWED: [&[RangeInclusive<u32>]; 11] = [
    &[0x10..=0x12, 0x1b..=0x1b, 0x3b..=0x3b, 0x48..=0x49, 0x8b..=0x8b, 0xfe..=0xfe],
    &[0x10a..=0x10b, 0x122..=0x122, 0x140..=0x140, 0x174..=0x176, 0x179..=0x17b, 0x1a0..=0x1a0, 0x1d9..=0x1d9],
    &[0x200..=0x20f, 0x250..=0x250, 0x258..=0x259, 0x268..=0x26f, 0x277..=0x277, 0x2ff..=0x2ff],
    &[0x400..=0x47f],
    &[0x6e0..=0x6e0],
    &[0xda0..=0xda0],
    &[0x4b56_4d00..=0x4b56_4d08],
    &[0xc000_0080..=0xc000_0084, 0xc000_0100..=0xc000_0103],
    &[0xc001_0010..=0xc001_0010, 0xc001_0015..=0xc001_0015],
    &[0xc001_011f..=0xc001_011f, 0xc001_0140..=0xc001_0141],
    &[0xc001_1020..=0xc001_1020, 0xc001_1029..=0xc001_1029],
];

/// Most registers from the first of a group to its last.
const SPAN: usize = 0x100;

/// A group as KVM takes it: the first register, how many there are from there to the last, and a bit for each allowed one.
struct Group {
    base: u32,
    count: u32,
    bits: [u8; SPAN / 8],
}

impl Group {
    fn new(allowed: &[RangeInclusive<u32>]) -> Self {
        let base = allowed.iter().map(|range| *range.start()).min().unwrap_or_default();
        let end = allowed.iter().map(|range| *range.end()).max().unwrap_or_default();
        let mut bits = [0; SPAN / 8];
        for register in allowed.iter().cloned().flatten() {
            let at = (register - base) as usize;
            bits[at / 8] |= 1 << (at % 8);
        }
        Self { base, count: end - base + 1, bits }
    }

    fn range(&self) -> MsrFilterRange<'_> {
        let bytes = self.count.div_ceil(8) as usize;
        MsrFilterRange {
            flags: MsrFilterRangeFlags::READ | MsrFilterRangeFlags::WRITE,
            base: self.base,
            msr_count: self.count,
            bitmap: &self.bits[..bytes],
        }
    }
}

/// The registers whose values are part of a guest's state: all that it reaches and that hold anything.
pub fn guest_state() -> impl Iterator<Item = u32> {
    ALLOWED.into_iter().flatten().cloned().flatten()
}

/// Holds the guests of `vm` to the list, before any of its vCPUs runs.
pub fn filter(vm: &VmFd) -> Result<(), HypervisorError> {
    let groups = ALLOWED.map(Group::new);
    let ranges: Vec<_> = groups.iter().map(Group::range).collect();
    vm.set_msr_filter(MsrFilterDefaultAction::DENY, &ranges)
        .map_err(system_error("filter the model-specific registers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_fits_and_holds_what_is_listed() {
        for allowed in ALLOWED {
            let group = Group::new(allowed);
            assert!(group.count as usize <= SPAN);
            for register in group.base..group.base + group.count {
                let at = (register - group.base) as usize;
                let bit = group.range().bitmap[at / 8] >> (at % 8) & 1 == 1;
                assert_eq!(bit, allowed.iter().any(|range| range.contains(&register)), "{register:#x}");
            }
        }
    }
}
