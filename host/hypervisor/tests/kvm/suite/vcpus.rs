//! Machines with several vCPUs.

use super::Test;
use super::machine::{Answers, DATA, END, Host, Machine, SET_UP, TELL};
use hull_hypervisor::{Hypervisor as _, RunEnd, VcpuSeed as _};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    ("vcpus::guest_starts_the_others_by_apic", guest_starts_the_others_by_apic),
    ("vcpus::guest_starts_the_others_by_x2apic", guest_starts_the_others_by_x2apic),
    ("vcpus::run_at_once_in_one_memory", run_at_once_in_one_memory),
    ("vcpus::not_started_wait", not_started_wait),
    ("vcpus::guest_sees_a_hypervisor_and_its_own_number", guest_sees_a_hypervisor_and_its_own_number),
    ("vcpus::memory_lives_as_long_as_a_vcpu", memory_lives_as_long_as_a_vcpu),
];

const MANY: u8 = 16;

/// Halts for good.
const HALT: &str = "
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

const START_BY_APIC: &str = "
    c7 05 00 03 e0 fe 00 45 0c 00   ; mov dword [0xfee00300], 0xc4500: initialise all others
    c7 05 00 03 e0 fe 08 46 0c 00   ; mov dword [0xfee00300], 0xc4608: start them at 0x8000
";

const START_BY_X2APIC: &str = "
    b9 1b 00 00 00                  ; mov ecx, 0x1b: the APIC's base
    0f 32                           ; rdmsr
    80 cc 0c                        ; or ah, 0xc: on, and x2APIC
    0f 30                           ; wrmsr
    b9 0f 08 00 00                  ; mov ecx, 0x80f
    b8 ff 01 00 00                  ; mov eax, 0x1ff
    31 d2                           ; xor edx, edx
    0f 30                           ; wrmsr
    b9 30 08 00 00                  ; mov ecx, 0x830
    b8 00 45 0c 00                  ; mov eax, 0xc4500: initialise all others
    0f 30                           ; wrmsr
    b8 08 46 0c 00                  ; mov eax, 0xc4608: start them at 0x8000
    0f 30                           ; wrmsr
";

/// Says its APIC id, which CPUID gives; for the others, which are in 16-bit mode.
const SAY_NUMBER: &str = "
    66 b8 01 00 00 00               ; mov eax, 1
    0f a2                           ; cpuid
    66 c1 eb 18                     ; shr ebx, 24
    66 89 d8                        ; mov eax, ebx
    ba 00 06                        ; mov dx, 0x600
    ee                              ; out dx, al
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

fn every_number_is_said_once(start: &str) {
    let count = MANY.min(u8::try_from(Host::open().unwrap().limits().max_vcpus).unwrap_or(MANY));
    let started = Machine::with(count, &[SET_UP, start, HALT], SAY_NUMBER, Answers::Counting).start();
    let mut numbers = started.board.wait_for(TELL, usize::from(count) - 1);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..count).map(|number| vec![number]).collect::<Vec<_>>());
    started.kick_all();
    assert_eq!(started.ends(), vec![RunEnd::Kicked; count.into()]);
}

fn guest_starts_the_others_by_apic() {
    every_number_is_said_once(START_BY_APIC);
}

fn guest_starts_the_others_by_x2apic() {
    every_number_is_said_once(START_BY_X2APIC);
}

fn run_at_once_in_one_memory() {
    // The first writes odd numbers, the second answers each with the next one, until 200.
    let first = "
        83 05 00 90 00 00 01        ; add dword [0x9000], 1
        a1 00 90 00 00              ; mov eax, [0x9000]
        a8 01                       ; test al, 1
        75 f7                       ; jnz to the mov
        3d c8 00 00 00              ; cmp eax, 200
        72 e9                       ; jb to the add
    ";
    let second = "
        f6 06 00 90 01              ; test byte [0x9000], 1
        74 f9                       ; jz to the test
        fe 06 00 90                 ; inc byte [0x9000]
        eb f3                       ; jmp to the test
    ";
    let ran = Machine::with(2, &[SET_UP, START_BY_APIC, first, END], second, Answers::Counting).run();
    assert_eq!(ran.memory.read::<u32>(DATA), 200);
}

fn not_started_wait() {
    let started =
        Machine::with(3, &["66 ba 00 06 ; mov dx, 0x600\n ee ; out dx, al", HALT], SAY_NUMBER, Answers::Counting)
            .start();
    started.board.wait_for(TELL, 1);
    started.kick_all();
    let board = Arc::clone(&started.board);
    assert_eq!(started.ends(), vec![RunEnd::Kicked; 3]);
    assert_eq!(board.accesses().len(), 1, "only the first one ran");
}

fn guest_sees_a_hypervisor_and_its_own_number() {
    let program = "
        b8 01 00 00 00              ; mov eax, 1
        0f a2                       ; cpuid
        66 ba 00 06                 ; mov dx, 0x600
        89 c8                       ; mov eax, ecx
        ef                          ; out dx, eax
        89 d8                       ; mov eax, ebx
        ef                          ; out dx, eax
        b8 01 00 00 80              ; mov eax, 0x80000001
        0f a2                       ; cpuid
        66 ba 00 06                 ; mov dx, 0x600
        89 c8                       ; mov eax, ecx
        ef                          ; out dx, eax
    ";
    let machine = Machine::with(2, &[program, END], "", Answers::Counting);
    let board = Arc::clone(&machine.board);
    machine.run();
    let said: Vec<_> = board.said(TELL).into_iter().map(|data| u32::from_le_bytes(data.try_into().unwrap())).collect();
    let [features, identity, more] = said[..] else { panic!("{said:x?}") };
    assert_ne!(features & 1 << 31, 0, "a hypervisor");
    assert_ne!(features & 1 << 21, 0, "x2APIC");
    assert_eq!(features & 1 << 5, 0, "no VMX");
    assert_eq!((identity >> 24, identity >> 16 & 0xff), (0, 2), "the first of two");
    assert_eq!(more & 1 << 2, 0, "no SVM");
}

fn memory_lives_as_long_as_a_vcpu() {
    let Machine { memory, vm, mut seeds, .. } = Machine::new(&[END]);
    let memory = {
        let weak = Arc::downgrade(&memory);
        drop(memory);
        weak
    };
    drop(vm);
    assert!(memory.upgrade().is_some(), "a vCPU could still run");
    let vcpu = seeds.remove(0).bind().unwrap();
    assert!(memory.upgrade().is_some(), "a vCPU could still run");
    drop(vcpu);
    assert!(memory.upgrade().is_none());
}
