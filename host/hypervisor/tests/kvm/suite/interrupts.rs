//! Interrupt lines, and what wakes a vCPU that has halted.

use super::Test;
use super::machine::{Access, Answers, DATA, INTERRUPT, Machine, SET_UP, Started, TELL};
use hull_hypervisor::{HypervisorError, RunEnd, Vm as _};

pub const TESTS: &[Test] = &[
    ("interrupts::every_line_wakes_a_halted_vcpu", every_line_wakes_a_halted_vcpu),
    ("interrupts::every_raise_counts_once_it_was_taken", every_raise_counts_once_it_was_taken),
    ("interrupts::reach_a_vcpu_that_spins", reach_a_vcpu_that_spins),
    ("interrupts::wait_until_the_guest_lets_them_in", wait_until_the_guest_lets_them_in),
    ("interrupts::reach_the_vcpu_that_the_guest_chose", reach_the_vcpu_that_the_guest_chose),
    ("interrupts::timer_wakes_a_halted_vcpu", timer_wakes_a_halted_vcpu),
    ("interrupts::there_is_no_line_beyond_the_last", there_is_no_line_beyond_the_last),
];

const PINS: u8 = 24;
/// Vector of the first pin, the others follow.
const VECTORS: u8 = 0x30;

/// The APIC whose id is in bits 31:24 of EBP is to take every pin of the I/O APIC.
pub const ROUTE: &str = "
    31 db                           ; xor ebx, ebx
    8d 04 5d 10 00 00 00            ; lea eax, [ebx * 2 + 0x10]
    a3 00 00 c0 fe                  ; mov [0xfec00000], eax: select the low half of the pin's entry
    8d 43 30                        ; lea eax, [ebx + 0x30]: the vector; edge, not masked
    a3 10 00 c0 fe                  ; mov [0xfec00010], eax
    8d 04 5d 11 00 00 00            ; lea eax, [ebx * 2 + 0x11]
    a3 00 00 c0 fe                  ; mov [0xfec00000], eax: select the high half
    89 2d 10 00 c0 fe               ; mov [0xfec00010], ebp: the destination
    43                              ; inc ebx
    83 fb 18                        ; cmp ebx, 24
    72 d4                           ; jb to the first lea
";

/// Says that it is ready.
pub const READY: &str = "
    66 ba 00 06                     ; mov dx, 0x600
    ee                              ; out dx, al
";

/// Lets interrupts in and halts, again and again.
const IDLE: &str = "
    fb                              ; sti
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

pub const TO_THE_FIRST: &str = "
    31 ed                           ; xor ebp, ebp
";

/// A machine that is ready to be interrupted on its first vCPU.
fn ready(rest: &str) -> Started {
    let started = Machine::new(&[SET_UP, TO_THE_FIRST, ROUTE, READY, rest]).start();
    started.board.wait_for(TELL, 1);
    started
}

fn end(started: Started) {
    started.kick_all();
    assert!(started.ends().iter().all(|end| *end == RunEnd::Kicked));
}

fn every_line_wakes_a_halted_vcpu() {
    let started = ready(IDLE);
    for pin in 0..PINS {
        started.vm.irq_line(pin.into()).unwrap().raise().unwrap();
        let said = started.board.wait_for(INTERRUPT, usize::from(pin) + 1);
        assert_eq!(said.last().unwrap(), &[VECTORS + pin, 0]);
    }
    end(started);
}

fn every_raise_counts_once_it_was_taken() {
    let started = ready(IDLE);
    let line = started.vm.irq_line(5).unwrap();
    for count in 1..=100 {
        line.raise().unwrap();
        assert_eq!(started.board.wait_for(INTERRUPT, count).len(), count);
    }
    end(started);
}

fn reach_a_vcpu_that_spins() {
    let spin = "
        fb                          ; sti
        eb fe                       ; jmp to itself
    ";
    let started = ready(spin);
    started.vm.irq_line(7).unwrap().raise().unwrap();
    assert_eq!(started.board.wait_for(INTERRUPT, 1), [[VECTORS + 7, 0]]);
    end(started);
}

fn wait_until_the_guest_lets_them_in() {
    let wait = "
        83 3d 00 90 00 00 00        ; cmp dword [0x9000], 0
        74 f7                       ; je to the cmp
        ee                          ; out dx, al
        fb                          ; sti
        f4                          ; hlt
        eb fd                       ; jmp to the hlt
    ";
    let started = ready(wait);
    started.vm.irq_line(5).unwrap().raise().unwrap();
    started.memory.write(DATA, 1_u32);
    assert_eq!(started.board.wait_for(INTERRUPT, 1), [[VECTORS + 5, 0]]);
    // After what the guest said last before it let them in.
    assert_eq!(started.board.accesses()[2..], [Access::Out(INTERRUPT, vec![VECTORS + 5, 0])]);
    end(started);
}

fn reach_the_vcpu_that_the_guest_chose() {
    let program = "
        bd 00 00 00 01              ; mov ebp, 1 << 24
        c7 05 00 03 e0 fe 00 45 0c 00   ; mov dword [0xfee00300], 0xc4500: initialise all others
        c7 05 00 03 e0 fe 08 46 0c 00   ; mov dword [0xfee00300], 0xc4608: start them at 0x8000
    ";
    let to_protected_mode = "
        66 0f 01 16 00 10           ; lgdt [0x1000]
        66 0f 01 1e 08 10           ; lidt [0x1008]
        0f 20 c0                    ; mov eax, cr0
        0c 01                       ; or al, 1
        0f 22 c0                    ; mov cr0, eax
        66 ea 1c 80 00 00 10 00     ; jmp 0x10:0x801c
    ";
    let in_protected_mode = "
        66 b8 18 00                 ; mov ax, 0x18
        8e d8                       ; mov ds, ax
        8e d0                       ; mov ss, ax
        bc 00 60 00 00              ; mov esp, 0x6000
        c7 05 f0 00 e0 fe ff 01 00 00   ; mov dword [0xfee000f0], 0x1ff
    ";
    let others = [to_protected_mode, in_protected_mode, READY, IDLE].concat();
    let started = Machine::with(2, &[SET_UP, program, ROUTE, READY, IDLE], &others, Answers::Counting).start();
    started.board.wait_for(TELL, 2);
    started.vm.irq_line(9).unwrap().raise().unwrap();
    assert_eq!(started.board.wait_for(INTERRUPT, 1), [[VECTORS + 9, 1]]);
    end(started);
}

fn timer_wakes_a_halted_vcpu() {
    let timer = "
        c7 05 e0 03 e0 fe 0b 00 00 00   ; mov dword [0xfee003e0], 0xb: count every tick
        c7 05 20 03 e0 fe 60 00 00 00   ; mov dword [0xfee00320], 0x60: once, vector 0x60
        c7 05 80 03 e0 fe 40 42 0f 00   ; mov dword [0xfee00380], 1000000
    ";
    let started = Machine::new(&[SET_UP, timer, IDLE]).start();
    assert_eq!(started.board.wait_for(INTERRUPT, 1), [[0x60, 0]]);
    end(started);
}

fn there_is_no_line_beyond_the_last() {
    let machine = Machine::new(&[IDLE]);
    assert!(machine.vm.irq_line(u32::from(PINS) - 1).is_ok());
    for pin in [u32::from(PINS), u32::MAX] {
        assert!(matches!(machine.vm.irq_line(pin), Err(HypervisorError::Config(_))));
    }
}
