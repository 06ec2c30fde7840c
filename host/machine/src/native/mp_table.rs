//! The MP table, by which a kernel without ACPI learns of CPUs and interrupts (Intel MultiProcessor Specification 1.4, §4).
//! `docs/adr/0003-mp-table.md` says why not ACPI.

use super::layout::{IO_APIC, LOCAL_APIC, MP_TABLE};
use std::num::NonZeroU8;

const SPECIFICATION: u8 = 4; // 1.4
const IO_APIC_VERSION: u8 = 0x11;
const LOCAL_APIC_VERSION: u8 = 0x14;
const ISA_INTERRUPTS: u8 = 16;

const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IO_APIC_ENTRY: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

const USABLE: u8 = 1 << 0;
const BOOT_PROCESSOR: u8 = 1 << 1;

const VECTORED: u8 = 0;
const NMI: u8 = 1;
const EXTERNAL: u8 = 3;
const ALL_LOCAL_APICS: u8 = 0xff;

/// The most processors for which the table fits into the KiB that is its place.
pub const MAX_VCPUS: u8 = 40;

/// The floating pointer and the table behind it, to be put at [`MP_TABLE`]. Every interrupt is edge-triggered: flags of
/// zero mean what the bus has, and that is ISA.
pub fn build(vcpus: NonZeroU8) -> Vec<u8> {
    let io_apic = vcpus.get();
    let mut entries = Vec::new();
    for cpu in 0..vcpus.get() {
        let flags = if cpu == 0 { USABLE | BOOT_PROCESSOR } else { USABLE };
        let mut entry = [0; 20];
        entry[..4].copy_from_slice(&[PROCESSOR, cpu, LOCAL_APIC_VERSION, flags]);
        entries.extend(entry);
    }
    entries.extend([BUS, 0]);
    entries.extend(b"ISA   ");
    entries.extend([IO_APIC_ENTRY, io_apic, IO_APIC_VERSION, USABLE]);
    entries.extend(IO_APIC.to_le_bytes());
    for interrupt in 0..ISA_INTERRUPTS {
        entries.extend([IO_INTERRUPT, VECTORED, 0, 0, 0, interrupt, io_apic, interrupt]);
    }
    entries.extend([LOCAL_INTERRUPT, EXTERNAL, 0, 0, 0, 0, 0, 0]);
    entries.extend([LOCAL_INTERRUPT, NMI, 0, 0, 0, 0, ALL_LOCAL_APICS, 1]);
    let count = u16::from(vcpus.get()) + 1 + 1 + u16::from(ISA_INTERRUPTS) + 2;
    let mut table = floating_pointer();
    table.extend(header(&entries, count));
    table.extend(entries);
    table
}

fn floating_pointer() -> Vec<u8> {
    const LENGTH: usize = 16;
    let table = u32::try_from(MP_TABLE).unwrap_or(0) + 16;
    let mut pointer = b"_MP_".to_vec();
    pointer.extend(table.to_le_bytes());
    pointer.extend([1, SPECIFICATION, 0, 0, 0, 0, 0, 0]);
    debug_assert_eq!(pointer.len(), LENGTH);
    pointer[10] = checksum(&pointer);
    pointer
}

fn header(entries: &[u8], count: u16) -> Vec<u8> {
    const LENGTH: usize = 44;
    let length = u16::try_from(LENGTH + entries.len()).expect("255 processors fit in 64 KiB");
    let mut header = b"PCMP".to_vec();
    header.extend(length.to_le_bytes());
    header.extend([SPECIFICATION, 0]);
    header.extend(b"HULL    MICROVM     ");
    header.extend([0; 6]); // no OEM table
    header.extend(count.to_le_bytes());
    header.extend(LOCAL_APIC.to_le_bytes());
    header.extend([0; 4]); // no extended entries
    let sum = checksum(&header).wrapping_sub(sum(entries));
    header[7] = sum;
    header
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// What makes the sum zero.
fn checksum(bytes: &[u8]) -> u8 {
    sum(bytes).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_lengths_add_up() {
        for vcpus in [1, 2, 4, MAX_VCPUS] {
            let table = build(NonZeroU8::new(vcpus).unwrap());
            let (pointer, table) = table.split_at(16);
            assert_eq!((&pointer[..4], sum(pointer)), (b"_MP_".as_slice(), 0));
            assert_eq!((&table[..4], sum(table)), (b"PCMP".as_slice(), 0));
            assert_eq!(usize::from(u16::from_le_bytes([table[4], table[5]])), table.len());
            assert_eq!(u16::from_le_bytes([table[34], table[35]]), u16::from(vcpus) + 20);
            assert!(table.len() + 16 <= 0x400, "{vcpus} vCPUs fit in the KiB");
        }
    }
}
