//! The registers with which the first vCPU starts.
//!
//! PVH: <https://xenbits.xen.org/docs/unstable/misc/pvh.html>, "x86/HVM direct boot ABI".

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

const CR0_PROTECTED: u64 = 1 << 0;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
/// Bit 1 of RFLAGS is always set.
const RFLAGS_FIXED: u64 = 1 << 1;

const CODE: u8 = 0xb;
const DATA: u8 = 0x3;
const BUSY_TASK: u8 = 0xb;

/// General registers for an entry by the PVH protocol.
pub fn pvh_registers(address: u32, start_info: u32) -> kvm_regs {
    kvm_regs { rip: address.into(), rbx: start_info.into(), rflags: RFLAGS_FIXED, ..Default::default() }
}

/// System registers for it: 32-bit protected mode, flat segments, paging off. `reset` is what the vCPU has.
pub fn pvh_system(reset: &kvm_sregs) -> kvm_sregs {
    let segment = |kind, selector, application, limit| kvm_segment {
        base: 0,
        limit,
        selector,
        type_: kind,
        present: 1,
        dpl: 0,
        db: application,
        s: application,
        l: 0,
        g: application,
        ..Default::default()
    };
    let data = segment(DATA, 0x18, 1, u32::MAX);
    kvm_sregs {
        cs: segment(CODE, 0x10, 1, u32::MAX),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: segment(BUSY_TASK, 0, 0, 0x67),
        cr0: CR0_PROTECTED | CR0_EXTENSION_TYPE,
        cr3: 0,
        cr4: 0,
        efer: 0,
        ..*reset
    }
}
