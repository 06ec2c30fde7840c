//! The coarse cut: what every way of running a machine has in common.
//!
//! A VM lives in two processes (see `hull-vm`). The shim, which may open files and start programs, calls
//! [`MachineBackend::prepare`]; the jailed vmm, which may not, calls [`MachineBackend::launch`] with the handles that
//! `prepare` gave.

use crate::plan::{KernelImage, MachinePlan};
use hull_platform::handle::Handle;
use hull_platform::process::Child;
use hull_virtio::VirtioDevice;
use std::fmt;
use std::io::PipeReader;

/// A way of running machines.
pub trait MachineBackend: Sync {
    /// Its name, as in `--backend`.
    fn name(&self) -> &'static str;

    /// Finds out whether it works on this host, by trying where looking does not tell.
    ///
    /// # Errors
    /// The reason, as `hull doctor` prints it.
    fn probe(&self) -> Result<Capabilities, Unavailable>;

    /// Whether it can boot this kernel.
    ///
    /// # Errors
    /// What the kernel would need, as the end of a sentence about the backend.
    fn boots(&self, _kernel: &KernelImage) -> Result<(), String> {
        Ok(())
    }

    /// Opens and starts what the jailed process cannot; called in the shim, before the vmm starts. `console` receives what the guest's kernel prints.
    ///
    /// # Errors
    /// See [`MachineError`].
    fn prepare(&self, plan: &MachinePlan, console: Handle) -> Result<Prepared, MachineError>;

    /// Builds the machine and starts it; called in the vmm.
    ///
    /// # Errors
    /// See [`MachineError`].
    fn launch(
        &self,
        plan: &MachinePlan,
        devices: Vec<NamedDevice>,
        handles: Vec<Handle>,
    ) -> Result<Box<dyn Machine>, MachineError>;
}

/// A device with its name for threads and messages (`images`, `data`, `vsock`).
pub struct NamedDevice {
    /// The name.
    pub name: &'static str,
    /// The device.
    pub device: Box<dyn VirtioDevice>,
}

/// The devices of every machine, in the order in which [`MachineBackend::launch`] gets them and the guest finds them.
pub const DEVICE_NAMES: [&str; 3] = ["images", "data", "vsock"];

/// A machine that runs.
pub trait Machine: Send {
    /// Blocks until the machine has ended. Whoever wants it to end before kills the vmm, or drops this.
    fn wait(&mut self) -> Ending;
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The guest ended it.
    Ended,
    /// It failed; one line.
    Failed(String),
}

/// What [`MachineBackend::prepare`] leaves for the shim to keep.
pub struct Prepared {
    /// A helper program such as QEMU, whose end is the machine's end.
    pub helper: Option<Helper>,
    /// For the vmm, in the order that the backend's `launch` expects: nobody between the two looks at them. Of `kvm` they
    /// are `native::kvm::Handles`, of `qemu` one socket for each of [`DEVICE_NAMES`].
    pub handles: Vec<Handle>,
}

/// A helper program.
pub struct Helper {
    /// Its role in messages, such as `qemu`.
    pub role: &'static str,
    /// The process.
    pub child: Child,
    /// What it says on standard error.
    pub errors: PipeReader,
}

/// What a usable backend offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// One line of detail for `hull doctor`.
    pub detail: String,
    /// The guest's CPU is software: slow, and no security boundary.
    pub software: bool,
}

/// Why a backend cannot be used here: one line, and what the user can do, if anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What is the case.
    pub reason: String,
    /// What would change it.
    pub remedy: Option<String>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
    }
}

/// Why a machine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The backend is not there.
    #[error("backend {name} is not available: {why}")]
    Unavailable {
        /// The backend.
        name: &'static str,
        /// Why.
        why: Unavailable,
    },
    /// A file or device could not be used.
    #[error("cannot {action}")]
    Io {
        /// What was being done, with the path.
        action: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The plan cannot be met.
    #[error("{0}")]
    Plan(String),
}
