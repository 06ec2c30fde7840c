//! What lies where in an x86-64 guest's address space.
//!
//! ```text
//!         0x0  free
//!      0x6000  PVH start information, module list, memory map
//!      0x7000  kernel command line, up to 2 KiB
//!    0x9_fc00  MP table: the last KiB below 640 KiB is one of the places where a kernel looks
//!    0xa_0000  hole
//!   0x10_0000  memory: kernel where its ELF says, initial RAM file system at the top
//! 0xd000_0000  virtio-mmio windows, a page each; end of low memory
//! 0xfec0_0000  I/O APIC           0xfee0_0000  local APICs
//!   4 GiB      the rest of the memory
//! ```

/// PVH `struct hvm_start_info`.
pub const START_INFO: u32 = 0x6000;
/// PVH `struct hvm_modlist_entry`.
pub const MODULES: u64 = 0x6100;
/// PVH `struct hvm_memmap_table_entry`s.
pub const MEMORY_MAP: u64 = 0x6200;
/// The kernel's command line.
pub const COMMAND_LINE: u64 = 0x7000;
/// The most bytes of it, the final zero included: Linux's own limit is 2048 on x86.
pub const COMMAND_LINE_MAX: usize = 2048;
/// The MP table.
pub const MP_TABLE: u64 = 0x9_fc00;
/// Where the table and the hole of the first MiB begin and end.
pub const HOLE: std::ops::Range<u64> = MP_TABLE..0x10_0000;
/// End of the memory below 4 GiB, and start of the device windows.
pub const LOW_MEMORY_END: u64 = DEVICES;
/// Start of the memory above.
pub const HIGH_MEMORY: u64 = 1 << 32;
/// Guest address of the I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// Guest address of the local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;

const DEVICES: u64 = 0xd000_0000;

/// The first pin that is free: below are the places of timer, keyboard, cascade and serial ports.
const FIRST_PIN: u32 = 5;

/// Most devices: Linux maps the sixteen ISA interrupts from the start, others only through ACPI.
pub const MAX_DEVICES: usize = 11;

/// Guest address of a device's registers.
pub fn device_window(slot: u32) -> u64 {
    DEVICES + u64::from(slot) * hull_virtio::transport::mmio::WINDOW_SIZE
}

/// The device whose registers hold `address`, and the offset there.
pub fn device_at(address: u64) -> Option<(usize, u64)> {
    let offset = address.checked_sub(DEVICES)?;
    let slot = usize::try_from(offset / hull_virtio::transport::mmio::WINDOW_SIZE).ok()?;
    Some((slot, offset % hull_virtio::transport::mmio::WINDOW_SIZE))
}

/// The I/O APIC pin of a device, which is its interrupt's number for Linux too.
pub fn device_pin(slot: u32) -> u32 {
    FIRST_PIN + slot
}
