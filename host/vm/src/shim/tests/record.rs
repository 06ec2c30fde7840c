//! Records of containers and VMs that say no more than they must.

use hull_machine::plan::{Discovery, KernelImage, MachinePlan};
use hull_protocol::{ContainerId, VmId};
use hull_state::{ContainerConfig, ContainerRecord, Lifetime, VERSION, VmRecord};
use jiff::Timestamp;
use std::num::NonZeroU8;

pub fn container(id: &ContainerId) -> ContainerRecord {
    ContainerRecord {
        version: VERSION,
        id: id.clone(),
        name: format!("c-{}", id.short()),
        created_at: Timestamp::UNIX_EPOCH,
        image: "hull/test".into(),
        image_id: String::new(),
        image_rootfs: vec!["/nowhere".into()],
        config: ContainerConfig::default(),
    }
}

pub fn vm(lifetime: Lifetime) -> VmRecord<MachinePlan> {
    let kernel = KernelImage { path: "/k".into(), discovery: Discovery::CommandLine };
    VmRecord {
        version: VERSION,
        id: VmId::from_bytes([7; 8]),
        name: (lifetime == Lifetime::Named).then(|| "shared".into()),
        created_at: Timestamp::UNIX_EPOCH,
        backend: "fake".into(),
        machine: MachinePlan { vcpus: NonZeroU8::MIN, memory_mib: 64, kernel, initramfs: "/i".into() },
        idle_timeout_seconds: None,
        lifetime,
    }
}
