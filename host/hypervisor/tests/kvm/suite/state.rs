//! The state of a machine, taken as data and put into another one.

use super::Test;
use super::interrupts::{READY, ROUTE, TO_THE_FIRST};
use super::machine::{Answers, Board, DATA, Host, INTERRUPT, MEMORY_SIZE, Machine, Memory, SET_UP, TELL, config};
use hull_hypervisor::{Hypervisor as _, HypervisorError, Kick, RunEnd, Vcpu as _, VcpuSeed as _, Vm as _};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub const TESTS: &[Test] = &[
    ("state::guest_goes_on_in_another_machine", guest_goes_on_in_another_machine),
    ("state::pending_interrupt_goes_along", pending_interrupt_goes_along),
    ("state::what_is_no_state_is_refused", what_is_no_state_is_refused),
];

/// Counts in EBX, and says the number by way of an SSE register.
const COUNT: &str = "
    0f 20 e0                        ; mov eax, cr4
    66 0d 00 06                     ; or ax, 0x600: SSE
    0f 22 e0                        ; mov cr4, eax
    bb 00 00 00 00                  ; mov ebx, 0
    ba 00 06 00 00                  ; mov edx, 0x600
    66 0f 6e c3                     ; movd xmm0, ebx
    66 0f 7e c0                     ; movd eax, xmm0
    ef                              ; out dx, eax
    43                              ; inc ebx
    eb f4                           ; jmp to the movd
";

/// Waits with interrupts off until there is something at 0x9000, then lets them in.
const WAIT: &str = "
    fa                              ; cli
    83 3d 00 90 00 00 00            ; cmp dword [0x9000], 0
    74 f7                           ; je to the cmp
    fb                              ; sti
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

/// What is taken along from one machine to another.
struct Saved {
    memory: Vec<u8>,
    vcpu: Vec<u8>,
    machine: Vec<u8>,
}

/// Runs a machine until it has said something and `then` is done.
fn save(mut machine: Machine, then: impl FnOnce(&Machine)) -> (Saved, Arc<Board>) {
    let seed = machine.seeds.remove(0);
    let (kick, board) = (seed.kick(), Arc::clone(&machine.board));
    let running = thread::spawn(move || {
        let mut vcpu = seed.bind().unwrap();
        assert_eq!(vcpu.run(&*board).unwrap(), RunEnd::Kicked);
        vcpu.state().expect("KVM gives it out").save().unwrap()
    });
    machine.board.wait_for(TELL, 3);
    then(&machine);
    kick.kick();
    let vcpu = running.join().unwrap();
    let state = machine.vm.state().expect("KVM gives it out").save().unwrap();
    let memory = machine.memory.bytes(0, MEMORY_SIZE);
    (Saved { memory, vcpu, machine: state }, machine.board)
}

/// Another machine, which goes on from there.
struct Restored {
    memory: Arc<Memory>,
    board: Arc<Board>,
    kick: Arc<dyn Kick>,
    running: JoinHandle<RunEnd>,
}

impl Restored {
    fn new(saved: Saved) -> Self {
        let memory = Arc::new(Memory::new(&[(0, &saved.memory)]));
        let mut vm = Host::open().unwrap().create(config(1, Arc::clone(&memory))).unwrap();
        vm.state().unwrap().restore(&saved.machine).unwrap();
        let seed = vm.take_vcpus().remove(0);
        let board = Arc::new(Board::new(Answers::Counting));
        let (kick, told) = (seed.kick(), Arc::clone(&board));
        let running = thread::spawn(move || {
            let mut vcpu = seed.bind().unwrap();
            vcpu.state().unwrap().restore(&saved.vcpu).unwrap();
            vcpu.run(&*told).unwrap()
        });
        Self { memory, board, kick, running }
    }

    fn end(self) {
        self.kick.kick();
        assert_eq!(self.running.join().unwrap(), RunEnd::Kicked);
    }
}

fn guest_goes_on_in_another_machine() {
    let number = |said: &Vec<u8>| u32::from_le_bytes(said[..].try_into().unwrap());
    let (saved, board) = save(Machine::new(&[COUNT]), |_| {});
    let reached = board.said(TELL).last().map(number).unwrap();
    let second = Restored::new(saved);
    let went_on: Vec<_> = second.board.wait_for(TELL, 3).iter().map(number).collect();
    second.end();
    assert_eq!(went_on[0], reached + 1, "nothing is said twice: {went_on:?} after {reached}");
    assert!(went_on.windows(2).all(|pair| pair[1] == pair[0] + 1), "{went_on:?}");
}

fn pending_interrupt_goes_along() {
    let machine = Machine::new(&[SET_UP, TO_THE_FIRST, ROUTE, READY, READY, READY, WAIT]);
    let (saved, board) = save(machine, |machine| machine.vm.irq_line(5).unwrap().raise().unwrap());
    assert!(board.said(INTERRUPT).is_empty(), "it lets none in");
    let second = Restored::new(saved);
    second.memory.write(DATA, 1_u32);
    let taken = second.board.wait_for(INTERRUPT, 1);
    assert_eq!(taken[0][0], 0x35, "the vector of pin 5");
    second.end();
}

fn what_is_no_state_is_refused() {
    let machine = Machine::new(&[COUNT]);
    let state = machine.vm.state().unwrap();
    let sound = String::from_utf8(state.save().unwrap()).unwrap();
    let other_version = sound.replacen("\"version\":1", "\"version\":9", 1);
    assert_ne!(other_version, sound);
    for bad in ["", "{}", &sound[..sound.len() / 2], &other_version] {
        assert!(matches!(state.restore(bad.as_bytes()), Err(HypervisorError::Config(_))), "{bad:.60}");
    }
}
