//! What the kernel finds in memory when it is entered: itself, its initial file system, its command line, the PVH start
//! information (<https://xenbits.xen.org/docs/unstable/misc/pvh.html>) and the MP table.

use super::layout::{
    COMMAND_LINE, COMMAND_LINE_MAX, HIGH_MEMORY, HOLE, LOW_MEMORY_END, MAX_DEVICES, MEMORY_MAP, MODULES, MP_TABLE,
    START_INFO, device_pin, device_window,
};
use super::{Files, mp_table};
use crate::backend::MachineError;
use hull_virtio::queue::GuestMemory;
use hull_virtio::transport::mmio::WINDOW_SIZE;
use linux_loader::loader::elf::{self, Elf, PvhBootCapability, start_info};
use linux_loader::loader::{Error, KernelLoader as _};
use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU8;
use vm_memory::{Address as _, ByteValued, Bytes as _, GuestAddress, GuestMemoryBackend as _};

const PVH_MAGIC: u32 = 0x336e_c578;
const PVH_VERSION: u32 = 1;
const MAP_RAM: u32 = 1;
const MAP_RESERVED: u32 = 2;
const PAGE: u64 = 4096;

/// Flags of every machine of ours:
///
/// | | |
/// |---|---|
/// | `console=hvc0` | the console device: see `devices` |
/// | `quiet` | a message costs the guest time, and nobody reads it unless the guest fails |
/// | `reboot=k` | the one way to end that is not a fault: see `bus` |
/// | `no_timer_check` | saves looking for a timer interrupt that is known to come |
/// | `panic=-1 oops=panic` | a guest whose kernel has failed ends at once |
/// | `earlycon` | its words before the console device is there, through a write-only port at one exit a byte: see `bus` |
/// | `8250.nr_uarts=0` | or its driver would take that port for a serial port and print everything twice |
const FLAGS: &str =
    "console=hvc0 quiet reboot=k panic=-1 oops=panic earlycon=uart8250,io,0x3f8 8250.nr_uarts=0 no_timer_check";

const NO_ELF: &str = "the kernel is no ELF file: hull's own VMM starts an uncompressed vmlinux, not a bzImage";

/// The whole command line for a machine with this many devices.
pub fn command_line(devices: usize) -> String {
    let mut line = FLAGS.to_owned();
    for slot in (0..).take(devices) {
        let (window, size, pin) = (device_window(slot), WINDOW_SIZE, device_pin(slot));
        // Writing to a String does not fail.
        let _ = write!(line, " virtio_mmio.device={size:#x}@{window:#x}:{pin}");
    }
    debug_assert!(devices <= MAX_DEVICES);
    line
}

/// Loads everything; the address of the kernel's PVH entry.
pub fn load(
    memory: &GuestMemory,
    vcpus: NonZeroU8,
    files: &mut Files,
    command_line: &str,
) -> Result<u32, MachineError> {
    if command_line.len() >= COMMAND_LINE_MAX {
        let length = command_line.len();
        return Err(MachineError::Plan(format!(
            "kernel command line of {length} bytes is over the limit of {COMMAND_LINE_MAX}"
        )));
    }
    let loaded = Elf::load(memory, None, &mut files.kernel, None).map_err(|error| match error {
        Error::Elf(elf::Error::InvalidElfMagicNumber) => MachineError::Plan(NO_ELF.into()),
        error => not_loaded("the kernel", error),
    })?;
    let PvhBootCapability::PvhEntryPresent(entry) = loaded.pvh_boot_cap else {
        return Err(MachineError::Plan("the kernel has no PVH entry: it needs CONFIG_PVH=y".into()));
    };
    let initramfs = load_initramfs(memory, files, loaded.kernel_end)?;
    let mut bytes = command_line.as_bytes().to_vec();
    bytes.push(0);
    put(memory, COMMAND_LINE, &bytes)?;
    put(memory, MP_TABLE, &mp_table::build(vcpus))?;
    put_start_info(memory, initramfs)?;
    u32::try_from(entry.raw_value()).map_err(|_| MachineError::Plan("the kernel's PVH entry is above 4 GiB".into()))
}

/// At the top of low memory; where it lies and its length.
fn load_initramfs(memory: &GuestMemory, files: &mut Files, kernel_end: u64) -> Result<(u64, u64), MachineError> {
    let failed = |source| MachineError::Io { action: "load the initial RAM file system".into(), source };
    let length = files.initramfs.metadata().map_err(failed)?.len();
    let end = low_end(memory);
    let start = end.checked_sub(length).map(|start| start / PAGE * PAGE).filter(|start| *start >= kernel_end);
    let too_small =
        || MachineError::Plan(format!("{} MiB of memory cannot hold the kernel", memory.last_addr().raw_value() >> 20));
    let start = start.ok_or_else(too_small)?;
    let count = usize::try_from(length).map_err(|_| too_small())?;
    memory
        .read_exact_volatile_from(GuestAddress(start), &mut files.initramfs, count)
        .map_err(|error| failed(io::Error::other(error)))?;
    Ok((start, length))
}

fn low_end(memory: &GuestMemory) -> u64 {
    memory.last_addr().raw_value().saturating_add(1).min(LOW_MEMORY_END)
}

/// Structures of the start information, given a name here so that they may be written as bytes.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct Raw<T>(T);

macro_rules! plain {
    ($($kind:ty),*) => { $(
        #[expect(unsafe_code, reason = "written to guest memory as bytes")]
        // SAFETY: `repr(C)` integers without padding, for which every bit pattern is a value (linux-loader asserts the
        // sizes); `Raw` is transparent.
        unsafe impl ByteValued for Raw<$kind> {}
    )* };
}
plain!(start_info::hvm_start_info, start_info::hvm_modlist_entry, start_info::hvm_memmap_table_entry);

fn put_start_info(memory: &GuestMemory, (initramfs, length): (u64, u64)) -> Result<(), MachineError> {
    let module = start_info::hvm_modlist_entry { paddr: initramfs, size: length, ..Default::default() };
    put(memory, MODULES, Raw(module).as_slice())?;
    let map = memory_map(memory);
    for (index, entry) in (0u64..).zip(&map) {
        put(memory, MEMORY_MAP + index * size_of_val(entry) as u64, Raw(*entry).as_slice())?;
    }
    let info = start_info::hvm_start_info {
        magic: PVH_MAGIC,
        version: PVH_VERSION,
        nr_modules: 1,
        modlist_paddr: MODULES,
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: u32::try_from(map.len()).unwrap_or(0),
        ..Default::default()
    };
    put(memory, START_INFO.into(), Raw(info).as_slice())
}

fn memory_map(memory: &GuestMemory) -> Vec<start_info::hvm_memmap_table_entry> {
    let end = memory.last_addr().raw_value() + 1;
    let entry = |start: u64, end: u64, type_| start_info::hvm_memmap_table_entry {
        addr: start,
        size: end - start,
        type_,
        reserved: 0,
    };
    let mut map = vec![
        entry(0, HOLE.start, MAP_RAM),
        entry(HOLE.start, HOLE.end, MAP_RESERVED),
        entry(HOLE.end, low_end(memory), MAP_RAM),
    ];
    if end > HIGH_MEMORY {
        map.push(entry(HIGH_MEMORY, end, MAP_RAM));
    }
    map
}

fn put(memory: &GuestMemory, address: u64, bytes: &[u8]) -> Result<(), MachineError> {
    memory.write_slice(bytes, GuestAddress(address)).map_err(|error| not_loaded("the boot information", error))
}

fn not_loaded(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> MachineError {
    MachineError::Io { action: format!("load {what}"), source: io::Error::other(error) }
}
