//! The fine cut: what it takes to run virtual CPUs, whichever hypervisor the host has.
//!
//! ```text
//! Hypervisor --create--> Vm --take_vcpus--> VcpuSeed --bind--> Vcpu --run(&dyn GuestIo)--> RunEnd
//!                        |                  |  moved to the       |  calls back for every
//!                        |                  |  vCPU's thread      |  access to a device
//!                        |                  '- kick() -> Kick     '- stays on its thread
//!                        '- irq_line(), doorbells()
//! ```
//!
//! The traits hold what KVM, Apple's Hypervisor.framework (HVF) and the Windows Hypervisor Platform (WHP) have in
//! common; each rule below is there because one of the three insists on it.
//!
//! * **Everything is fixed in [`VmConfig`] before creation.** WHP locks its properties at set-up, HVF wants the
//!   interrupt controller between the VM and its first vCPU, KVM on arm64 wants every vCPU before the controller.
//! * **A vCPU is bound on its own thread and stays there.** HVF ties a vCPU to the thread that made it.
//! * **Guest I/O is a callback, not an exit value.** WHP's emulator may call several times within one exit.
//! * **[`Vcpu::run`] returns only when the vCPU is to stop.** HLT, WFI, CPUID, MSR and PSCI stay inside.
//! * **A device holds an [`IrqLine`], never a number**, so that in-kernel chips and our own look alike.
//!
//! There are no register accessors and no methods for single features: such things come as small traits of their own,
//! behind an `Option`, as [`Doorbells`] does. There is no device model here; `hull-machine` joins the two.
//!
//! KVM on x86-64 is the one that is implemented; HVF and WHP are what the traits were measured against.

use hull_platform::event::Event;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::{fmt, io};

// The one place where a platform is chosen.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod kvm;

/// A host's way of running virtual machines.
pub trait Hypervisor {
    /// Its machines.
    type Vm: Vm;

    /// What it can do; needed to lay a machine out before it is created.
    fn limits(&self) -> Limits;

    /// Creates a machine with its memory, interrupt controller and vCPUs; nothing runs yet.
    ///
    /// # Errors
    /// See [`HypervisorError`].
    fn create(&self, config: VmConfig) -> Result<Self::Vm, HypervisorError>;
}

/// What a hypervisor can do on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most vCPUs that a machine can have.
    pub max_vcpus: u16,
    /// Width of a guest's physical address; memory and devices must lie below.
    pub address_bits: u8,
    /// The unit in which memory can be mapped: start, length and host address are multiples.
    pub page_size: u32,
}

/// A machine before it is created, complete.
pub struct VmConfig {
    /// Number of vCPUs. The first starts at `entry`; the others wait for the guest to start them.
    pub vcpus: NonZeroU8,
    /// The guest's memory; regions do not overlap.
    pub memory: Vec<MemoryRegion>,
    /// The interrupt controller.
    pub interrupts: InterruptController,
    /// Where the first vCPU starts.
    pub entry: Entry,
}

/// A piece of guest memory.
pub struct MemoryRegion {
    /// Its place in the guest.
    pub guest_address: u64,
    /// Its place on the host; kept for as long as the machine can reach it.
    pub memory: Arc<dyn HostMemory>,
}

/// Memory of this process that a guest may read and write at any time.
///
/// # Safety
/// For as long as the value lives, `start()` and `length()` stay the same and name readable and writable memory that
/// no Rust reference points into: the guest changes it behind the compiler's back.
#[expect(unsafe_code, reason = "a promise about memory that the compiler cannot see")]
pub unsafe trait HostMemory: Send + Sync {
    /// The first byte.
    fn start(&self) -> *mut u8;
    /// Number of bytes.
    fn length(&self) -> usize;
}

/// The interrupt controller of a machine. A line's number counts its pins, see [`Vm::irq_line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InterruptController {
    /// x86: local APICs, and an I/O APIC of 24 pins at its usual place, 0xfec0_0000. No 8254, and nothing at the inputs
    /// of an 8259 should there be one.
    IoApic,
    /// arm64: GICv3; a line is a shared peripheral interrupt, counted from 0.
    GicV3 {
        /// Guest address of the distributor.
        distributor: u64,
        /// Guest address of the first redistributor; the others follow.
        redistributors: u64,
    },
}

/// Where and how the first vCPU starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// The Xen PVH boot ABI, as Linux's `CONFIG_PVH` has it: 32-bit protected mode, flat segments, no paging.
    Pvh {
        /// First instruction.
        address: u32,
        /// Guest address of `struct hvm_start_info`, passed in EBX.
        start_info: u32,
    },
    /// Linux's arm64 boot protocol: EL1, caches and address translation off.
    Arm64 {
        /// First instruction.
        address: u64,
        /// Guest address of the device tree, passed in X0.
        device_tree: u64,
    },
}

/// A machine. Dropping it, after every vCPU of it, frees it.
pub trait Vm {
    /// Its vCPUs before they are bound.
    type Seed: VcpuSeed;

    /// The vCPUs, by index; all at the first call, none later.
    fn take_vcpus(&mut self) -> Vec<Self::Seed>;

    /// The line to an input of the interrupt controller.
    ///
    /// # Errors
    /// [`HypervisorError::Config`] if the controller has no such input.
    fn irq_line(&self, pin: u32) -> Result<Arc<dyn IrqLine>, HypervisorError>;

    /// Doorbells, if this hypervisor has them; otherwise writes arrive through [`GuestIo`].
    fn doorbells(&self) -> Option<&dyn Doorbells>;

    /// The state of what belongs to no vCPU, if this hypervisor gives it out.
    fn state(&self) -> Option<&dyn State> {
        None
    }
}

/// The state of a part of a machine as data, which another machine of the same shape on the same hypervisor can take up:
/// what snapshots and forks are made of. Memory and devices have theirs elsewhere.
pub trait State {
    /// Takes the state, while no vCPU runs.
    ///
    /// # Errors
    /// See [`HypervisorError`].
    fn save(&self) -> Result<Vec<u8>, HypervisorError>;

    /// Takes up a state, before any vCPU has run: first the machine's, then each vCPU's.
    ///
    /// # Errors
    /// [`HypervisorError::Config`] if it is none, or another version's.
    fn restore(&self, state: &[u8]) -> Result<(), HypervisorError>;
}

/// An edge-triggered interrupt line.
///
/// Edges only, because level-triggered lines would need the guest's acknowledgement brought back, which HVF and WHP do
/// not offer in one shape. KVM may implement it with an irqfd, so that this costs what a write to an eventfd costs.
pub trait IrqLine: Send + Sync {
    /// Raises the interrupt once.
    ///
    /// # Errors
    /// What the system said.
    fn raise(&self) -> io::Result<()>;
}

/// Guest writes that signal an event without a return to [`Vcpu::run`]'s callbacks: KVM's ioeventfd, WHP's doorbells.
pub trait Doorbells: Send + Sync {
    /// From now on, a 4-byte write of `value` to the guest address signals `event`.
    ///
    /// # Errors
    /// What the system said.
    fn attach(&self, address: u64, value: u32, event: &Event) -> io::Result<()>;
}

/// A vCPU that no thread owns yet.
pub trait VcpuSeed: Send {
    /// What it becomes.
    type Vcpu: Vcpu;

    /// Its number; 0 starts, the others wait for the guest.
    fn index(&self) -> u8;

    /// The handle that stops it; taken before it is bound, so that whoever starts the threads can end them all.
    fn kick(&self) -> Arc<dyn Kick>;

    /// Makes the calling thread the vCPU's for good.
    ///
    /// # Errors
    /// See [`HypervisorError`].
    fn bind(self) -> Result<Self::Vcpu, HypervisorError>;
}

/// A vCPU on its thread. Implementations are not `Send`.
pub trait Vcpu {
    /// Runs the guest until it is to stop; a secondary vCPU first waits until the guest starts it.
    ///
    /// # Errors
    /// [`HypervisorError::System`] if the host could not run it. What the guest did wrong is [`RunEnd::Fault`].
    fn run(&mut self, io: &dyn GuestIo) -> Result<RunEnd, HypervisorError>;

    /// Its state, if this hypervisor gives it out.
    fn state(&self) -> Option<&dyn State> {
        None
    }
}

/// What the guest reaches outside its memory. Called on vCPU threads, from several at once.
///
/// `data` has 1, 2, 4 or 8 bytes in the guest's order, or 1 to 7 where an access across two pages comes as two. An access
/// that nobody answers reads as all ones and writes nothing. A callback that wants the machine to end uses the [`Kick`]
/// handles, that of its own vCPU included.
pub trait GuestIo: Sync {
    /// A read of device memory.
    fn mmio_read(&self, address: u64, data: &mut [u8]);
    /// A write to device memory.
    fn mmio_write(&self, address: u64, data: &[u8]);
    /// A read of an I/O port (x86 only).
    fn port_read(&self, port: u16, data: &mut [u8]);
    /// A write to an I/O port (x86 only).
    fn port_write(&self, port: u16, data: &[u8]);
}

/// Makes a vCPU's [`Vcpu::run`] return, from any thread.
pub trait Kick: Send + Sync {
    /// Makes the present call of `run` return [`RunEnd::Kicked`], or else the next one; never lost, before `bind` and
    /// during a callback included.
    ///
    /// From another thread it may block for the few milliseconds until the vCPU has left the guest, since not every
    /// host remembers a request that comes just before the guest is entered. After the vCPU is gone it does nothing.
    fn kick(&self);
}

/// Why [`Vcpu::run`] returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// By [`Kick::kick`].
    Kicked,
    /// The guest asked for power-off (PSCI; on x86 that is a device's affair).
    PoweredOff,
    /// The guest asked for a reset (PSCI).
    Reset,
    /// The guest did what cannot be gone on from, a triple fault for example; one line with the numbers.
    Fault(String),
}

/// Why a hypervisor could not do something.
#[derive(Debug, thiserror::Error)]
pub enum HypervisorError {
    /// The host refused.
    #[error("cannot {action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The machine asked for is one that cannot be.
    #[error("{0}")]
    Config(String),
}

/// What a probe measured on a hypervisor that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    /// Guest instructions per second in a loop of two instructions: an order of magnitude, not a benchmark.
    pub instructions_per_second: u64,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millions = self.instructions_per_second.saturating_add(500_000) / 1_000_000;
        write!(f, "{} million instructions a second", millions.max(1))
    }
}

/// Why a hypervisor cannot be used: what is the case, in the user's words, and what would change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unusable {
    /// What is the case.
    pub reason: String,
    /// What the user can do, if anything.
    pub remedy: Option<String>,
}
