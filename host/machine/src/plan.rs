//! What a machine is, as data.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU8;
use std::path::PathBuf;

/// A machine, resolved and complete; the devices are live objects beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePlan {
    /// Number of virtual CPUs.
    pub vcpus: NonZeroU8,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// The kernel.
    pub kernel: KernelImage,
    /// Initial RAM file system with the agent.
    pub initramfs: PathBuf,
}

/// A guest kernel that was found to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelImage {
    /// The file.
    pub path: PathBuf,
    /// How devices are described to it.
    pub discovery: Discovery,
}

/// How a kernel finds its virtio-mmio devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discovery {
    /// `virtio_mmio.device=` on the command line (`CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES`).
    CommandLine,
    /// ACPI only, as Debian's stock kernel; the `qemu` backend alone can do it.
    Acpi,
}
