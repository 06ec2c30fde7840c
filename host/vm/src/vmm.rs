//! The vmm: one process per VM, which runs its devices and, under an in-process backend, its vCPUs.
//!
//! It parses what the guest writes to virtio queues, and so is the process that a hostile guest would take over first. It
//! opens nothing: files and sockets come from the shim over the control socket, and it ends when that closes.

mod devices;
mod serve;

use crate::journal;
use crate::shim::CONTROL;
use hull_platform::process;
use hull_platform::socket::LocalStream;
use std::process::ExitCode;

/// Runs the devices of a VM, and the machine once the shim orders its launch, until the machine has ended.
pub fn vmm() -> ExitCode {
    journal::begin("vmm");
    match process::inherited(CONTROL) {
        Ok(control) => serve::serve(LocalStream::from(control)),
        Err(error) => {
            eprintln!("hull vmm is started by the shim of a VM: {error}");
            ExitCode::FAILURE
        }
    }
}
