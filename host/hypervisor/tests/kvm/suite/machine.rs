//! A machine for a test: memory with a program in it, devices that write down what the guest does, vCPUs on threads.
//!
//! ```text
//! 0x1000  table pointers, then the descriptor table: code 0x10 and data 0x18, flat, as at the entry
//! 0x1800  interrupt descriptors of the vectors from 0x20 on
//! 0x2000  the program of the first vCPU, entered in 32-bit mode; its stack ends at 0x7000
//! 0x8000  the program of the others, entered in 16-bit mode by a start-up message with vector 8
//! 0x9000  data
//! 0xc000  interrupt handlers: write vector and APIC id to port INTERRUPT, acknowledge, return
//! ```
//!
//! Every other address and port is a device of [`Board`]'s.
#![expect(unsafe_code, reason = "guest memory is given to the hypervisor by address")]

use super::LIMIT;
use hull_hypervisor::kvm::Kvm;
use hull_hypervisor::{
    Entry, GuestIo, HostMemory, Hypervisor, HypervisorError, InterruptController, Kick, MemoryRegion, RunEnd,
    Vcpu as _, VcpuSeed, Vm as _, VmConfig,
};
use std::num::NonZeroU8;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use vm_memory::{ByteValued, Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap};

/// The hypervisor under test.
pub type Host = Kvm;
/// Its machines.
pub type HostVm = <Host as Hypervisor>::Vm;
/// Its vCPUs before they are bound.
pub type Seed = <HostVm as hull_hypervisor::Vm>::Seed;

/// Bytes of guest memory, from address 0.
pub const MEMORY_SIZE: usize = 1 << 20;
/// Where the first vCPU starts.
pub const PROGRAM: u32 = 0x2000;
/// Where the others start.
pub const OTHERS: u64 = 0x8000;
/// Free for data.
pub const DATA: u64 = 0x9000;
/// Where devices are; any other address without memory would do.
pub const DEVICE: u64 = 0xd000_0000;

/// A guest says something.
pub const TELL: u16 = 0x600;
/// A guest wants every vCPU to end.
pub const END_PORT: u16 = 0x604;
/// A handler says its interrupt: vector, APIC id.
pub const INTERRUPT: u16 = 0xe9;

const TABLES: u64 = 0x1000;
const DESCRIPTORS: u64 = 0x1010;
const INTERRUPT_DESCRIPTORS: u64 = 0x1800;
const HANDLERS: u32 = 0xc000;
const FIRST_VECTOR: u8 = 0x20;
const FLAT_CODE: u64 = 0x00cf_9b00_0000_ffff;
const FLAT_DATA: u64 = 0x00cf_9300_0000_ffff;

/// Ends the machine.
pub const END: &str = "
    66 ba 04 06                     ; mov dx, 0x604
    ee                              ; out dx, al
    f4                              ; hlt
    eb fd                           ; jmp to the hlt
";

/// Loads the tables and switches the local APIC on.
pub const SET_UP: &str = "
    0f 01 15 00 10 00 00            ; lgdt [0x1000]
    0f 01 1d 08 10 00 00            ; lidt [0x1008]
    bc 00 70 00 00                  ; mov esp, 0x7000
    c7 05 f0 00 e0 fe ff 01 00 00   ; mov dword [0xfee000f0], 0x1ff
";

/// The bytes of some listings, one after the other. In a listing, a line is bytes in hexadecimal, `;`, what they mean.
pub fn code(listings: &[&str]) -> Vec<u8> {
    let lines = listings.iter().flat_map(|listing| listing.lines());
    let bytes = lines.filter_map(|line| line.split(';').next()).flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits")).collect()
}

/// The handler of one vector.
fn handler(vector: u8) -> Vec<u8> {
    let vector = format!("b0 {vector:02x} ; mov al, vector");
    code(&[
        "50                             ; push eax
         a1 20 00 e0 fe                 ; mov eax, [0xfee00020]: the APIC id, in bits 31:24
         c1 e8 10                       ; shr eax, 16",
        &vector,
        "66 e7 e9                       ; out 0xe9, ax
         c7 05 b0 00 e0 fe 00 00 00 00  ; mov dword [0xfee000b0], 0: end of interrupt
         58                             ; pop eax
         cf                             ; iret",
    ])
}

/// Guest memory.
pub struct Memory(GuestMemoryMmap);

impl Memory {
    /// Memory with the tables and these programs in it.
    pub fn new(programs: &[(u64, &[u8])]) -> Self {
        let memory = Self(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).unwrap());
        memory.put_tables();
        for (address, program) in programs {
            memory.0.write_slice(program, GuestAddress(*address)).unwrap();
        }
        memory
    }

    fn put_tables(&self) {
        let pointer = |at: u64, table: u64, length: u16| {
            self.write(at, length - 1);
            self.write(at + 2, u32::try_from(table).unwrap());
        };
        pointer(TABLES, DESCRIPTORS, 4 * 8);
        pointer(TABLES + 8, INTERRUPT_DESCRIPTORS, 256 * 8);
        self.write(DESCRIPTORS + 0x10, FLAT_CODE);
        self.write(DESCRIPTORS + 0x18, FLAT_DATA);
        for vector in FIRST_VECTOR..=u8::MAX {
            let address = HANDLERS + u32::from(vector) * 32;
            self.0.write_slice(&handler(vector), GuestAddress(address.into())).unwrap();
            // Selector 0x10; present, 32-bit interrupt gate.
            let gate = u64::from(address & 0xffff) | 0x10 << 16 | 0x8e00 << 32 | u64::from(address >> 16) << 48;
            self.write(INTERRUPT_DESCRIPTORS + u64::from(vector) * 8, gate);
        }
    }

    /// Writes to it while the guest may run.
    pub fn write<T: ByteValued>(&self, address: u64, value: T) {
        self.0.write_obj(value, GuestAddress(address)).unwrap();
    }

    /// Reads from it while the guest may run.
    pub fn read<T: ByteValued>(&self, address: u64) -> T {
        self.0.read_obj(GuestAddress(address)).unwrap()
    }

    /// Reads bytes from it.
    pub fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }
}

// SAFETY: the mapping is readable and writable, lives as long as the value, and is reached only through vm-memory's
// volatile accesses.
unsafe impl HostMemory for Memory {
    fn start(&self) -> *mut u8 {
        self.0.get_host_address(GuestAddress(0)).unwrap()
    }

    fn length(&self) -> usize {
        MEMORY_SIZE
    }
}

/// What a guest did outside its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Read so many bytes from a port.
    In(u16, usize),
    /// Wrote bytes to a port.
    Out(u16, Vec<u8>),
    /// Read so many bytes from a device's address.
    Load(u64, usize),
    /// Wrote bytes to a device's address.
    Store(u64, Vec<u8>),
}

/// How reads are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// 1, 2, 3 … one byte after the other, wherever and however many are read.
    Counting,
    /// Nobody answers: all ones.
    Ones,
}

/// Writes down what the guest does.
pub struct Board {
    answers: Answers,
    state: Mutex<State>,
    changed: Condvar,
    kicks: OnceLock<Vec<Arc<dyn Kick>>>,
}

#[derive(Default)]
struct State {
    accesses: Vec<Access>,
    last_answer: u8,
    ends: Vec<String>,
}

impl State {
    fn writes_to(&self, at: u16) -> usize {
        self.accesses.iter().filter(|access| matches!(access, Access::Out(port, _) if *port == at)).count()
    }
}

impl Board {
    /// One that nothing has been done to.
    pub fn new(answers: Answers) -> Self {
        Self { answers, state: Mutex::default(), changed: Condvar::new(), kicks: OnceLock::new() }
    }

    fn add(&self, access: Access) {
        self.state.lock().unwrap().accesses.push(access);
        self.changed.notify_all();
    }

    fn answer(&self, data: &mut [u8]) {
        let mut state = self.state.lock().unwrap();
        for byte in data {
            state.last_answer = state.last_answer.wrapping_add(1);
            *byte = if self.answers == Answers::Ones { 0xff } else { state.last_answer };
        }
    }

    /// Everything so far.
    pub fn accesses(&self) -> Vec<Access> {
        self.state.lock().unwrap().accesses.clone()
    }

    /// What was written to port `at` so far.
    pub fn said(&self, at: u16) -> Vec<Vec<u8>> {
        let of_port = |access| match access {
            Access::Out(port, data) if port == at => Some(data),
            _ => None,
        };
        self.accesses().into_iter().filter_map(of_port).collect()
    }

    /// Waits until `count` writes to port `at` have come; returns them.
    pub fn wait_for(&self, at: u16, count: usize) -> Vec<Vec<u8>> {
        let waits = |state: &mut State| state.writes_to(at) < count && state.ends.is_empty();
        let (state, _) = self.changed.wait_timeout_while(self.state.lock().unwrap(), LIMIT / 2, waits).unwrap();
        let few = || format!("not {count} writes to {at:#x} in {:?}; vCPUs ended: {:?}", state.accesses, state.ends);
        assert!(state.writes_to(at) >= count, "{}", few());
        drop(state);
        self.said(at)
    }

    fn note_end(&self, end: &Result<RunEnd, HypervisorError>) {
        self.state.lock().unwrap().ends.push(format!("{end:?}"));
        self.changed.notify_all();
    }
}

impl GuestIo for Board {
    fn mmio_read(&self, address: u64, data: &mut [u8]) {
        self.answer(data);
        self.add(Access::Load(address, data.len()));
    }

    fn mmio_write(&self, address: u64, data: &[u8]) {
        self.add(Access::Store(address, data.to_vec()));
    }

    fn port_read(&self, port: u16, data: &mut [u8]) {
        self.answer(data);
        self.add(Access::In(port, data.len()));
    }

    fn port_write(&self, port: u16, data: &[u8]) {
        if port == END_PORT {
            self.kicks.get().expect("the machine runs").iter().for_each(|kick| kick.kick());
        } else {
            self.add(Access::Out(port, data.to_vec()));
        }
    }
}

/// A machine that does not run yet.
pub struct Machine {
    /// Its memory.
    pub memory: Arc<Memory>,
    /// Its devices.
    pub board: Arc<Board>,
    /// The machine itself.
    pub vm: HostVm,
    /// Its vCPUs.
    pub seeds: Vec<Seed>,
}

/// What a machine is made of; memory comes beside it.
pub fn config(vcpus: u8, memory: Arc<Memory>) -> VmConfig {
    VmConfig {
        vcpus: NonZeroU8::new(vcpus).unwrap(),
        memory: vec![MemoryRegion { guest_address: 0, memory }],
        interrupts: InterruptController::IoApic,
        entry: Entry::Pvh { address: PROGRAM, start_info: u32::try_from(DATA).unwrap() },
    }
}

impl Machine {
    /// One vCPU with this program.
    pub fn new(program: &[&str]) -> Self {
        Self::with(1, program, "", Answers::Counting)
    }

    /// Several vCPUs: a program for the first, one for the others.
    pub fn with(vcpus: u8, program: &[&str], others: &str, answers: Answers) -> Self {
        let (program, others) = (code(program), code(&[others]));
        let memory = Arc::new(Memory::new(&[(PROGRAM.into(), &program), (OTHERS, &others)]));
        let mut vm = Host::open().unwrap().create(config(vcpus, Arc::clone(&memory))).unwrap();
        let seeds = vm.take_vcpus();
        Self { memory, board: Arc::new(Board::new(answers)), vm, seeds }
    }

    /// Runs every vCPU on a thread of its own.
    pub fn start(self) -> Started {
        let kicks: Vec<_> = self.seeds.iter().map(VcpuSeed::kick).collect();
        assert!(self.board.kicks.set(kicks.clone()).is_ok(), "started once");
        let spawn = |seed: Seed| {
            let board = Arc::clone(&self.board);
            thread::spawn(move || {
                let end = seed.bind().and_then(|mut vcpu| vcpu.run(&*board));
                board.note_end(&end);
                end
            })
        };
        let threads = self.seeds.into_iter().map(spawn).collect();
        Started { memory: self.memory, board: self.board, kicks, threads, vm: self.vm }
    }

    /// Runs it until it ends by itself; what it did.
    pub fn run(self) -> Ran {
        let started = self.start();
        let (memory, board) = (Arc::clone(&started.memory), Arc::clone(&started.board));
        for end in started.ends() {
            assert_eq!(end, RunEnd::Kicked);
        }
        Ran { memory, accesses: board.accesses() }
    }
}

/// A machine that has ended as it should.
pub struct Ran {
    /// What is in its memory.
    pub memory: Arc<Memory>,
    /// What it did.
    pub accesses: Vec<Access>,
}

/// A machine that runs.
pub struct Started {
    /// Its memory.
    pub memory: Arc<Memory>,
    /// Its devices.
    pub board: Arc<Board>,
    /// What stops its vCPUs, by index.
    pub kicks: Vec<Arc<dyn Kick>>,
    threads: Vec<JoinHandle<Result<RunEnd, HypervisorError>>>,
    /// The machine itself.
    pub vm: HostVm,
}

impl Started {
    /// Stops every vCPU.
    pub fn kick_all(&self) {
        self.kicks.iter().for_each(|kick| kick.kick());
    }

    /// Waits until this vCPU has ended, and says how; the next index is then this one.
    pub fn end_of(&mut self, index: usize) -> RunEnd {
        self.threads.remove(index).join().expect("no panic").expect("it could be run")
    }

    /// Waits until every vCPU has ended, and says how, by index.
    pub fn ends(mut self) -> Vec<RunEnd> {
        (0..self.threads.len()).map(|_| self.end_of(0)).collect()
    }
}
