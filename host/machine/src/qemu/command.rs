//! QEMU's command line, and the guest kernel's.
//!
//! The machine has what Linux needs to boot without ACPI, PCI and firmware tables, and no more: `microvm` with an MP table
//! and a serial port for what it prints. What was tried beside it, from QEMU's start to its end with an init that reboots at
//! once, hull's kernel as first configured, 2 vCPUs, 1 GiB, in ms (each figure the median of 9 interleaved runs, on 2 cores at rest):
//!
//! | | |
//! |---|---|
//! | as it is, but for devices and sandbox | 561 |
//! | memory of QEMU's own instead of the memfd | 558 |
//! | console on virtio (`hvc0`) instead of the serial port; no console | 556; 560 |
//! | `tb-size=64`, `256` | 551, 548 |
//! | `rtc=off`: Linux waits a second for it | 1554 |
//! | 1 vCPU; 256 MiB | 607; 531 |
//!
//! A later series, beside other work: as it is 619, `pic=off,pit=off` 642, `x-option-roms=off` 601, one thread for all vCPUs
//! 633. QEMU's own share is 27 to 32, of which 17 are the dynamic linker's (`--version` takes as long), the sandbox and all
//! switches of the machine being within the noise of 3. So nothing is set that brings nothing.

use crate::backend::DEVICE_NAMES;
use crate::plan::{Discovery, MachinePlan};
use std::ffi::OsString;

/// Frequency of the local APIC's timer in QEMU.
const LAPIC_KHZ: u32 = 1_000_000;

/// `CONFIG_HZ` of hull's kernel. In a kernel of the user's that has another, short delays are off by the ratio, and no more.
const HZ: u64 = 250;

/// System calls that QEMU itself gives up: it starts no program, gains no privilege, changes no scheduling.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The arguments for a machine whose devices QEMU finds at descriptors from `first_socket` on, in the order of
/// [`DEVICE_NAMES`]. The console is QEMU's standard output.
pub fn arguments(plan: &MachinePlan, tsc_khz: u32, first_socket: i32) -> Vec<OsString> {
    let memory = plan.memory_mib;
    let acpi = match plan.kernel.discovery {
        Discovery::CommandLine => "off",
        Discovery::Acpi => "on",
    };
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
    add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    add(&["-sandbox", SANDBOX]);
    add(&["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", &plan.vcpus.to_string()]);
    add(&["-M", &format!("microvm,acpi={acpi},isa-serial=on,memory-backend=ram")]);
    // vhost-user: the vmm maps the same memory. Its size is sealed, which the vmm insists on.
    add(&["-m", &format!("{memory}M"), "-object", &format!("memory-backend-memfd,id=ram,size={memory}M,share=on")]);
    // VERSION_1 exists only without "legacy".
    add(&["-global", "virtio-mmio.force-legacy=false"]);
    for (name, socket) in DEVICE_NAMES.iter().zip(first_socket..) {
        let device = match *name {
            "vsock" => format!("vhost-user-vsock-device,chardev={name}"),
            _ => format!("vhost-user-blk,chardev={name},num-queues=1,config-wce=off"),
        };
        add(&["-chardev", &format!("socket,id={name},fd={socket}"), "-device", &device]);
    }
    add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    add(&["-append", &command_line(plan, tsc_khz)]);
    arguments.push("-kernel".into());
    arguments.push(plan.kernel.path.clone().into());
    arguments.push("-initrd".into());
    arguments.push(plan.initramfs.clone().into());
    arguments
}

/// The guest kernel's command line; QEMU adds where the devices are.
///
/// | | |
/// |---|---|
/// | `quiet` | the serial port is slow |
/// | `reboot=t` | ends the machine at once, by a triple fault; QEMU leaves then because of `-no-reboot` |
/// | `panic=-1 oops=panic` | a guest whose kernel has failed ends at once |
/// | `no_timer_check` | saves 50 million instructions of looking for a timer interrupt that is known to come |
/// | `tsc_early_khz` | the time stamp counter is the host's; measured against the PIT on a busy host it would be given up |
/// | `tsc=reliable` | else a busy host's late ticks make a watchdog give it up: 4 of 6 boots, then 20 s took 24 to 28; with it 0 of 5 |
/// | `lpj` | follows from it and `HZ`; saves 60 million instructions for each further vCPU |
/// | `lapic_timer_khz` | hull's kernel has it (`kernel-config/patches`): saves 240 million instructions |
/// | `virtio_blk.queue_depth` | a ring has 1024 entries here; a request for each would cost memory and time |
fn command_line(plan: &MachinePlan, tsc_khz: u32) -> String {
    let mut line =
        "console=ttyS0 quiet reboot=t panic=-1 oops=panic no_timer_check virtio_blk.queue_depth=64".to_owned();
    line += &format!(" tsc=reliable tsc_early_khz={tsc_khz}");
    if plan.kernel.discovery == Discovery::CommandLine {
        line += &format!(" lpj={} lapic_timer_khz={LAPIC_KHZ}", u64::from(tsc_khz) * 1000 / HZ);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::KernelImage;
    use std::num::NonZeroU8;

    fn joined(discovery: Discovery) -> String {
        let kernel = KernelImage { path: "/k/vmlinux".into(), discovery };
        let vcpus = NonZeroU8::new(2).unwrap();
        let plan = MachinePlan { vcpus, memory_mib: 256, kernel, initramfs: "/k/initramfs".into() };
        let arguments = arguments(&plan, 2_500_000, 10);
        arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hulls_kernel_is_told_every_frequency_and_gets_no_acpi() {
        let line = joined(Discovery::CommandLine);
        for part in [
            "-M microvm,acpi=off,",
            "-smp 2",
            "size=256M,share=on",
            "socket,id=images,fd=10 -device vhost-user-blk,chardev=images",
            "socket,id=data,fd=11 -device vhost-user-blk,chardev=data",
            "socket,id=vsock,fd=12 -device vhost-user-vsock-device,chardev=vsock",
            "tsc_early_khz=2500000 lpj=10000000 lapic_timer_khz=1000000",
            "-kernel /k/vmlinux -initrd /k/initramfs",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn a_stock_kernel_finds_its_devices_by_acpi_and_is_not_told_what_it_does_not_know() {
        let line = joined(Discovery::Acpi);
        assert!(line.contains("microvm,acpi=on,"));
        assert!(line.contains("tsc=reliable tsc_early_khz=2500000"));
        assert!(!line.contains("lapic_timer_khz") && !line.contains("lpj="));
    }
}
