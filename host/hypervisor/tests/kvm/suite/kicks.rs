//! A kick ends one call of `run`, whenever it comes.

use super::Test;
use super::machine::{DATA, Machine, Started, TELL};
use hull_hypervisor::{GuestIo, Kick, RunEnd, Vcpu as _, VcpuSeed as _};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

pub const TESTS: &[Test] = &[
    ("kicks::before_bind", before_bind),
    ("kicks::before_run", before_run),
    ("kicks::two_before_run_are_one", two_before_run_are_one),
    ("kicks::while_halted", while_halted),
    ("kicks::while_halted_for_good", while_halted_for_good),
    ("kicks::while_spinning", while_spinning),
    ("kicks::from_a_callback", from_a_callback),
    ("kicks::from_elsewhere_during_a_callback", from_elsewhere_during_a_callback),
    ("kicks::guest_goes_on_where_it_was", guest_goes_on_where_it_was),
    ("kicks::none_of_many_is_lost", none_of_many_is_lost),
    ("kicks::after_the_vcpu_is_gone", after_the_vcpu_is_gone),
];

/// Says that it runs, then goes on in one of the ways below.
const SAY: &str = "
    66 ba 00 06                     ; mov dx, 0x600
    ee                              ; out dx, al
";

const SPIN: &str = "
    eb fe                           ; jmp to itself
";

const HALT: &str = "
    fb                              ; sti
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

const HALT_FOR_GOOD: &str = "
    fa                              ; cli
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

/// Counts at 0x9000.
const COUNT: &str = "
    ff 05 00 90 00 00               ; inc dword [0x9000]
    eb f8                           ; jmp to the inc
";

fn before_bind() {
    let mut machine = Machine::new(&[SAY, SPIN]);
    let seed = machine.seeds.remove(0);
    seed.kick().kick();
    let mut vcpu = seed.bind().unwrap();
    assert_eq!(vcpu.run(&*machine.board).unwrap(), RunEnd::Kicked);
    assert!(machine.board.accesses().is_empty(), "the guest has not run");
}

fn before_run() {
    let mut machine = Machine::new(&[SAY, SPIN]);
    let seed = machine.seeds.remove(0);
    let kick = seed.kick();
    let mut vcpu = seed.bind().unwrap();
    // By another thread, as everywhere: a signal for the calling thread would be handled before `run`.
    thread::spawn(move || kick.kick()).join().unwrap();
    assert_eq!(vcpu.run(&*machine.board).unwrap(), RunEnd::Kicked);
    assert!(machine.board.accesses().is_empty(), "the guest has not run");
}

fn two_before_run_are_one() {
    // The guest runs in the second call, and its own kick ends it.
    let mut machine = Machine::new(&[SAY, SPIN]);
    let seed = machine.seeds.remove(0);
    let kick = seed.kick();
    let mut vcpu = seed.bind().unwrap();
    kick.kick();
    kick.kick();
    let board = KickingBoard(kick);
    assert_eq!(vcpu.run(&board).unwrap(), RunEnd::Kicked);
    assert_eq!(vcpu.run(&board).unwrap(), RunEnd::Kicked);
    assert!(machine.board.accesses().is_empty());
}

fn kicked_while(rest: &str) {
    let started: Started = Machine::new(&[SAY, rest]).start();
    started.board.wait_for(TELL, 1);
    started.kick_all();
    assert_eq!(started.ends(), [RunEnd::Kicked]);
}

fn while_halted() {
    kicked_while(HALT);
}

fn while_halted_for_good() {
    kicked_while(HALT_FOR_GOOD);
}

fn while_spinning() {
    kicked_while(SPIN);
}

/// Kicks its own vCPU at every write to a port.
struct KickingBoard(Arc<dyn Kick>);

impl GuestIo for KickingBoard {
    fn mmio_read(&self, _: u64, _: &mut [u8]) {}
    fn mmio_write(&self, _: u64, _: &[u8]) {}
    fn port_read(&self, _: u16, _: &mut [u8]) {}
    fn port_write(&self, _: u16, _: &[u8]) {
        self.0.kick();
    }
}

fn from_a_callback() {
    let mut machine = Machine::new(&[SAY, SAY, COUNT]);
    let seed = machine.seeds.remove(0);
    let board = KickingBoard(seed.kick());
    let mut vcpu = seed.bind().unwrap();
    for _ in 0..2 {
        assert_eq!(vcpu.run(&board).unwrap(), RunEnd::Kicked);
        assert_eq!(machine.memory.read::<u32>(DATA), 0, "it returned before the guest went on");
    }
}

/// Has another thread kick the vCPU, and waits for that, at every write to a port.
struct KickedBoard(Arc<dyn Kick>);

impl GuestIo for KickedBoard {
    fn mmio_read(&self, _: u64, _: &mut [u8]) {}
    fn mmio_write(&self, _: u64, _: &[u8]) {}
    fn port_read(&self, _: u16, _: &mut [u8]) {}
    fn port_write(&self, _: u16, _: &[u8]) {
        let kick = Arc::clone(&self.0);
        thread::spawn(move || kick.kick()).join().unwrap();
    }
}

fn from_elsewhere_during_a_callback() {
    let mut machine = Machine::new(&[SAY, COUNT]);
    let seed = machine.seeds.remove(0);
    let board = KickedBoard(seed.kick());
    let mut vcpu = seed.bind().unwrap();
    assert_eq!(vcpu.run(&board).unwrap(), RunEnd::Kicked);
    assert_eq!(machine.memory.read::<u32>(DATA), 0, "it returned before the guest went on");
}

/// Runs a counting guest on a thread of its own, `rounds` times; each run is ended by one kick, before which comes
/// `between`.
fn count(rounds: usize, mut between: impl FnMut(&Machine, usize)) {
    let mut machine = Machine::new(&[COUNT]);
    let seed = machine.seeds.remove(0);
    let kick = seed.kick();
    let board = Arc::clone(&machine.board);
    // Bounded, so that a run is over before the next kick comes.
    let (ended, end) = sync_channel(0);
    let thread = thread::spawn(move || {
        let mut vcpu = seed.bind().unwrap();
        for _ in 0..rounds {
            ended.send(vcpu.run(&*board).unwrap()).unwrap();
        }
    });
    for round in 0..rounds {
        between(&machine, round);
        kick.kick();
        assert_eq!(end.recv().unwrap(), RunEnd::Kicked);
    }
    thread.join().unwrap();
}

fn guest_goes_on_where_it_was() {
    let mut before = 0;
    count(5, |machine, _| {
        let reached = before;
        while before == reached {
            thread::yield_now();
            before = machine.memory.read::<u32>(DATA);
        }
        assert!(before > reached, "{before} after {reached}");
    });
}

fn none_of_many_is_lost() {
    // Kicks come sooner and later after the entry, some before it.
    count(500, |_, round| (0..round % 50 * 10).for_each(|_| std::hint::spin_loop()));
}

fn after_the_vcpu_is_gone() {
    let mut machine = Machine::new(&[SAY, SPIN]);
    let seed = machine.seeds.remove(0);
    let kick = seed.kick();
    let board = Arc::clone(&machine.board);
    let unused = Machine::new(&[SPIN]).seeds.remove(0).kick();
    thread::spawn(move || drop(seed.bind().unwrap())).join().unwrap();
    kick.kick();
    unused.kick();
    assert!(board.accesses().is_empty());
}
