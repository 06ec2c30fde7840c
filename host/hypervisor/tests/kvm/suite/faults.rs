//! Guests that cannot go on, and machines that cannot be.

use super::Test;
use super::machine::{Answers, Host, MEMORY_SIZE, Machine, Memory, SET_UP, config};
use hull_hypervisor::{Entry, Hypervisor as _, HypervisorError, InterruptController, MemoryRegion, RunEnd, VmConfig};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    ("faults::triple_fault", triple_fault),
    ("faults::triple_fault_on_a_later_vcpu", triple_fault_on_a_later_vcpu),
    ("faults::registers_that_are_not_for_guests", registers_that_are_not_for_guests),
    ("faults::instructions_in_a_device", instructions_in_a_device),
    ("faults::machines_of_another_architecture", machines_of_another_architecture),
    ("faults::memory_twice_in_one_place", memory_twice_in_one_place),
];

/// An exception with a table of no length.
const TRIPLE_FAULT: &str = "
    0f 01 1d 00 90 00 00            ; lidt [0x9000]: zeros
    0f 0b                           ; ud2
";

fn fault(end: &RunEnd) -> &str {
    let RunEnd::Fault(what) = end else { panic!("{end:?}") };
    assert!(!what.contains('\n') && what.contains("rip 0x"), "one line with the numbers: {what}");
    what
}

fn triple_fault() {
    let ends = Machine::new(&[TRIPLE_FAULT]).start().ends();
    assert!(fault(&ends[0]).starts_with("triple fault"), "{ends:?}");
}

fn triple_fault_on_a_later_vcpu() {
    let start = "
        c7 05 00 03 e0 fe 00 45 0c 00   ; mov dword [0xfee00300], 0xc4500: initialise all others
        c7 05 00 03 e0 fe 08 46 0c 00   ; mov dword [0xfee00300], 0xc4608: start them at 0x8000
        fa                              ; cli
        f4                              ; hlt
        eb fd                           ; jmp to the hlt
    ";
    let others = "
        0f 01 1e 00 90                  ; lidt [0x9000]: zeros
        0f 0b                           ; ud2
    ";
    let mut started = Machine::with(2, &[SET_UP, start], others, Answers::Counting).start();
    let end = started.end_of(1);
    assert!(fault(&end).starts_with("triple fault"), "{end:?}");
    // The first one is not concerned: ending the machine is for whoever runs it.
    started.kick_all();
    assert_eq!(started.end_of(0), RunEnd::Kicked);
}

fn registers_that_are_not_for_guests() {
    // Each without a table of exceptions: one that is refused is a triple fault.
    let read = |register: u32| {
        let [a, b, c, d] = register.to_le_bytes();
        let program = format!(
            "
            0f 01 1d 00 90 00 00            ; lidt [0x9000]: zeros
            b9 {a:02x} {b:02x} {c:02x} {d:02x}                  ; mov ecx, register
            0f 32                           ; rdmsr
            e6 10                           ; out 0x10, al
            0f 0b                           ; ud2
            "
        );
        let started = Machine::new(&[&program]).start();
        let board = Arc::clone(&started.board);
        let ends = started.ends();
        assert!(fault(&ends[0]).starts_with("triple fault"), "{ends:?}");
        !board.said(0x10).is_empty()
    };
    for allowed in [0x10, 0x1b, 0x277, 0xc000_0080] {
        assert!(read(allowed), "{allowed:#x} is refused");
    }
    // Performance counters of both vendors, SMM's base, SVM's host save area, the package's power.
    for refused in [0xc1, 0x186, 0xc001_0004, 0xc001_0007, 0xc001_0111, 0xc001_0117, 0x611] {
        assert!(!read(refused), "{refused:#x} is allowed");
    }
}

fn instructions_in_a_device() {
    let program = "
        b8 00 00 00 d0                  ; mov eax, 0xd0000000
        ff e0                           ; jmp eax
    ";
    let ends = Machine::new(&[program]).start().ends();
    fault(&ends[0]);
}

fn machines_of_another_architecture() {
    let host = Host::open().unwrap();
    let refused = |config: VmConfig| {
        let Err(HypervisorError::Config(why)) = host.create(config) else { panic!("it was created") };
        assert!(why.contains("x86"), "{why}");
    };
    let machine = || config(1, Arc::new(Memory::new(&[])));
    refused(VmConfig { entry: Entry::Arm64 { address: 0, device_tree: 0 }, ..machine() });
    let interrupts = InterruptController::GicV3 { distributor: 0x800_0000, redistributors: 0x80a_0000 };
    refused(VmConfig { interrupts, ..machine() });
}

fn memory_twice_in_one_place() {
    let mut config = config(1, Arc::new(Memory::new(&[])));
    let last_page = u64::try_from(MEMORY_SIZE).unwrap() - 4096;
    config.memory.push(MemoryRegion { guest_address: last_page, memory: Arc::new(Memory::new(&[])) });
    let refused = Host::open().unwrap().create(config);
    assert!(matches!(refused, Err(HypervisorError::System { .. })));
}
