//! Device nodes. The runtime makes the ones that the runtime specification always asks for (`config-linux.md`, default
//! devices); here are the ones that come on top, and the rules of the device controller.

use super::SpecError;
use hull_state::ContainerConfig;
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

/// What a privileged container gets besides: the VM's character devices that programs look for under their usual names.
/// The numbers are those of the kernel's `Documentation/admin-guide/devices.txt`. The VM's disks are not among them.
const PRIVILEGED: [(&str, i64, i64, u32); 5] = [
    ("/dev/fuse", 10, 229, 0o666),
    ("/dev/kmsg", 1, 11, 0o644),
    ("/dev/loop-control", 10, 237, 0o660),
    ("/dev/mapper/control", 10, 236, 0o600),
    ("/dev/net/tun", 10, 200, 0o666),
];

/// Character devices that any container may use: zero, null, full, random, urandom, tty, console, ptmx.
const USABLE: [(i64, Option<i64>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    // Terminals of the container's own devpts.
    (136, None),
];

/// The nodes on top of the runtime's own.
pub(super) fn devices(config: &ContainerConfig) -> Result<Vec<LinuxDevice>, SpecError> {
    if !config.privileged {
        return Ok(Vec::new());
    }
    let node = |(path, major, minor, mode): (&str, i64, i64, u32)| {
        let builder = LinuxDeviceBuilder::default().path(path).typ(LinuxDeviceType::C).major(major).minor(minor);
        builder.file_mode(mode).uid(0_u32).gid(0_u32).build()
    };
    Ok(PRIVILEGED.into_iter().map(node).collect::<Result<_, _>>()?)
}

/// The device controller's rules, in order: nothing, then what is allowed. Making a node is always allowed (the
/// capability
/// `MKNOD` guards it); using it is what the rules decide.
pub(super) fn rules(config: &ContainerConfig) -> Result<Vec<LinuxDeviceCgroup>, SpecError> {
    let everything = |allow: bool| LinuxDeviceCgroupBuilder::default().allow(allow).access("rwm").build();
    if config.privileged {
        return Ok(vec![everything(true)?]);
    }
    let make = |kind| LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access("m").build();
    let mut rules = vec![everything(false)?, make(LinuxDeviceType::C)?, make(LinuxDeviceType::B)?];
    for (major, minor) in USABLE {
        let rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(LinuxDeviceType::C).major(major).access("rwm");
        let rule = if let Some(minor) = minor { rule.minor(minor) } else { rule };
        rules.push(rule.build()?);
    }
    Ok(rules)
}
