//! A VM that does nothing but count, to see how fast guest code runs.
//!
//! The guest runs in 64-bit mode at the highest privilege, as a kernel does: some hosts run other code natively and
//! only this by interpretation. It reads from memory how far to count, counts, says so by a write to a port, and does
//! it again; so the host sets the length of each round by what the last one took, and none can go on for ever.
#![expect(unsafe_code, reason = "a guest's memory is given to KVM by address")]

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::time::{Duration, Instant};
use std::{array, io};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap};

/// ```text
/// again: 8b 07  mov eax, [rdi]
/// count: ff c8  dec eax
///        75 fc  jnz count
///        ee     out dx, al
///        eb f7  jmp again
/// ```
const PROGRAM: [u8; 9] = [0x8b, 0x07, 0xff, 0xc8, 0x75, 0xfc, 0xee, 0xeb, 0xf7];

/// A port that no part of KVM serves by itself.
const PORT: u16 = 0x680;

// Guest memory, one page each.
const PML4: u64 = 0x0000;
const PDPT: u64 = 0x1000;
const DIRECTORY: u64 = 0x2000;
const CODE: u64 = 0x3000;
const COUNT: u64 = 0x4000;
const MEMORY_SIZE: usize = 0x5000;

/// The first round: 1 ms where guest code is interpreted.
const FIRST_COUNT: u32 = 500;
/// By how much a round may be longer than the one before.
const GROWTH: u32 = 8;
/// A round as long as this drowns the cost of entering and leaving the guest, which is 1 ms and more on a CPU that is
/// itself emulated; only then a low rate is believed.
const DECISIVE: Duration = Duration::from_millis(20);
/// What a round takes at least before a high rate is believed.
const SUFFICIENT: Duration = Duration::from_millis(1);
/// How often a round must have been slow before a low rate is believed: on a busy host this thread loses the CPU for as
/// long as a decisive round takes, but hardly in every one.
const TRIES: usize = 6;

/// Why the loop could not be run.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// The system refused.
    #[error("{action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The API is not the stable one.
    #[error("it speaks version {0} of the interface, not 12")]
    Version(i32),
    /// The guest did something else.
    #[error("the guest stopped by itself ({0})")]
    Stopped(String),
}

fn system(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> LoopError {
    move |errno| LoopError::System { action, source: io::Error::from_raw_os_error(errno.errno()) }
}

/// Runs the loop in longer and longer rounds, until one shows at least `enough` instructions per second or took so
/// long that it certainly does not.
pub fn instructions_per_second(enough: u64) -> Result<u64, LoopError> {
    let mut guest = Guest::new()?;
    let mut count = FIRST_COUNT;
    // The first entry is slow for reasons of its own.
    guest.count_from(count)?;
    loop {
        let took = guest.quickest_from(count)?;
        let rate = rate(count, took);
        if took >= DECISIVE || (took >= SUFFICIENT && rate >= enough) || count == u32::MAX {
            return Ok(rate);
        }
        count = next_count(count, took);
    }
}

/// Instructions per second of one round.
fn rate(count: u32, took: Duration) -> u64 {
    // Two for each step of the loop; those around it are noise.
    let instructions = u128::from(count) * 2;
    u64::try_from(instructions * 1_000_000_000 / took.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// How far to count next: farther, but not for much longer than [`DECISIVE`].
fn next_count(count: u32, took: Duration) -> u32 {
    let decisive = u128::from(count) * DECISIVE.as_nanos() * 5 / 4 / took.as_nanos().max(1);
    u32::try_from(decisive).unwrap_or(u32::MAX).clamp(count.saturating_add(1), count.saturating_mul(GROWTH))
}

/// The VM. Fields are dropped in this order, so the memory goes last.
struct Guest {
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: GuestMemoryMmap,
}

impl Guest {
    fn new() -> Result<Self, LoopError> {
        let kvm = Kvm::new().map_err(system("open the device"))?;
        if kvm.get_api_version() != 12 {
            return Err(LoopError::Version(kvm.get_api_version()));
        }
        let vm = create_vm(&kvm)?;
        let memory = guest_memory()?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY_SIZE as u64,
            userspace_addr: memory.get_host_address(GuestAddress(0)).map_err(in_memory)? as u64,
        };
        // SAFETY: the region is the whole of `memory`, which outlives the VM (see the order of `Guest`'s fields), and
        // which is reached only through vm-memory's volatile accesses: no Rust reference points into it.
        unsafe { vm.set_user_memory_region(region) }.map_err(system("give the VM memory"))?;
        let vcpu = vm.create_vcpu(0).map_err(system("create a virtual CPU"))?;
        set_registers(&kvm, &vcpu)?;
        Ok(Self { vcpu, _vm: vm, memory })
    }

    /// As [`Guest::count_from`], again for as long as it seems slow.
    fn quickest_from(&mut self, count: u32) -> Result<Duration, LoopError> {
        let mut quickest = self.count_from(count)?;
        for _ in 1..TRIES {
            if quickest < DECISIVE {
                break;
            }
            quickest = quickest.min(self.count_from(count)?);
        }
        Ok(quickest)
    }

    /// Lets the guest count down from `count`, and returns how long it took.
    fn count_from(&mut self, count: u32) -> Result<Duration, LoopError> {
        self.memory.write_obj(count, GuestAddress(COUNT)).map_err(in_memory)?;
        let begin = Instant::now();
        loop {
            match self.vcpu.run() {
                Ok(VcpuExit::IoOut(PORT, _)) => return Ok(begin.elapsed()),
                Ok(exit) => return Err(LoopError::Stopped(format!("{exit:?}"))),
                // A signal for this thread, or a CPU that was not ready; neither says anything about KVM.
                Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
                Err(error) => return Err(system("run the guest")(error)),
            }
        }
    }
}

fn create_vm(kvm: &Kvm) -> Result<VmFd, LoopError> {
    loop {
        match kvm.create_vm() {
            // The kernel gives up when a signal comes, and wants to be asked again.
            Err(error) if error.errno() == libc::EINTR => {}
            other => return other.map_err(system("create a VM")),
        }
    }
}

fn in_memory(error: impl std::error::Error + Send + Sync + 'static) -> LoopError {
    LoopError::System { action: "prepare the guest's memory", source: io::Error::other(error) }
}

/// The program, and page tables that map the first 2 MiB to themselves.
fn guest_memory() -> Result<GuestMemoryMmap, LoopError> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 0x80;
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_SIZE)]).map_err(in_memory)?;
    let write = |address, value: u64| memory.write_obj(value, GuestAddress(address)).map_err(in_memory);
    write(PML4, PDPT | PRESENT_WRITABLE)?;
    write(PDPT, DIRECTORY | PRESENT_WRITABLE)?;
    write(DIRECTORY, PRESENT_WRITABLE | LARGE)?;
    memory.write_slice(&PROGRAM, GuestAddress(CODE)).map_err(in_memory)?;
    Ok(memory)
}

fn set_registers(kvm: &Kvm, vcpu: &VcpuFd) -> Result<(), LoopError> {
    // Without it the CPU has no 64-bit mode to be put into.
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(system("read what the CPU offers"))?;
    vcpu.set_cpuid2(&cpuid).map_err(system("tell the virtual CPU what it is"))?;
    let mut special = vcpu.get_sregs().map_err(system("read the virtual CPU's registers"))?;
    enter_long_mode(&mut special);
    vcpu.set_sregs(&special).map_err(system("set the virtual CPU's registers"))?;
    let general = kvm_regs { rip: CODE, rdi: COUNT, rdx: u64::from(PORT), rflags: 2, ..Default::default() };
    vcpu.set_regs(&general).map_err(system("set the virtual CPU's registers"))
}

/// Intel SDM volume 3 §3.4.5 (segments), §2.5 (CR0, CR4), §2.2.1 (EFER).
fn enter_long_mode(special: &mut kvm_sregs) {
    let flat = kvm_segment { base: 0, limit: u32::MAX, s: 1, present: 1, g: 1, ..Default::default() };
    let code = kvm_segment { selector: 8, type_: 11, l: 1, ..flat };
    let data = kvm_segment { selector: 16, type_: 3, db: 1, ..flat };
    special.cs = code;
    [special.ds, special.es, special.fs, special.gs, special.ss] = array::from_fn(|_| data);
    special.cr0 = 0x8000_0031; // paging, protection, numeric errors, extension type
    special.cr3 = PML4;
    special.cr4 = 0x20; // physical address extension
    special.efer = 0x500; // long mode, enabled and active
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_two_instructions_a_step() {
        assert_eq!(rate(500, Duration::from_millis(1)), 1_000_000);
        assert_eq!(rate(u32::MAX, Duration::from_nanos(0)), 8_589_934_590_000_000_000);
    }

    #[test]
    fn a_round_grows_with_the_speed_but_not_at_once() {
        assert_eq!(next_count(500, Duration::from_nanos(500)), 4000);
        assert_eq!(next_count(500, Duration::from_millis(10)), 1250);
        assert_eq!(next_count(1000, Duration::from_secs(10)), 1001, "but always farther");
        assert_eq!(next_count(u32::MAX, Duration::ZERO), u32::MAX);
    }
}
