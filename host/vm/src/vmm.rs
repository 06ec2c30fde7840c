//! The vmm: one process per VM, which runs its devices and, under an in-process backend, its vCPUs.
//!
//! It parses what the guest writes to virtio queues, and so is the process that a hostile guest would take over first. It
//! opens nothing: files and sockets come from the shim over the control socket, and it ends when that closes. So the first
//! thing that it does is to give up everything else ([`hull_platform::jail`]); if it cannot, it ends.

mod devices;
mod serve;
mod trial;

pub use trial::try_jail;

use crate::journal;
use crate::shim::CONTROL;
use hull_platform::jail::{self, Jail, JailError};
use hull_platform::process;
use hull_platform::socket::LocalStream;
use std::process::ExitCode;

/// Runs the devices of a VM, and the machine once the shim orders its launch, until the machine has ended.
pub fn vmm() -> ExitCode {
    hull_platform::memory::share_arena();
    journal::begin("vmm");
    let confined = process::inherited(CONTROL).map(|control| (LocalStream::from(control), confine()));
    match confined {
        Ok((control, Ok(jail))) => serve::serve(control, &jail),
        Ok((_, Err(error))) => {
            log::error!("{}", crate::text::chain(&error));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("hull vmm is started by the shim of a VM: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Users that nobody has, one for each vmm that root starts: no two VMs can reach each other as one user can.
const FIRST_UID: u32 = 0x7000_0000;

fn confine() -> Result<Jail, JailError> {
    let random = hull_platform::random::array::<3>();
    let [high, middle, low] = random.map_err(|source| JailError { action: "draw a user id", source: source.into() })?;
    jail::confine(FIRST_UID + u32::from_be_bytes([0, high, middle, low]))
}
