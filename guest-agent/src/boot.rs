//! From the kernel's jump into PID 1 to the agent's loop, and the end of the VM.
//!
//! The order is chosen for the wait: what the handshake does not need happens while the host's answer is on its way.
//!
//! ```text
//!   modules (stock kernel only) ── dial ── Hello ── mounts, settings ── Welcome ── loop ── restart
//! ```

mod modules;
mod mounts;
mod settings;

use crate::agent::{Agent, End, Environment};
use crate::container::MountPoints;
use crate::control::Control;
use crate::dial::Vsock;
use crate::disks::WindowDisks;
use crate::error::{Context, Result};
use crate::{clock, fatal};
use hull_protocol::agent::CONTROL_PORT;
use nix::sys::prctl::set_dumpable;
use nix::unistd::sethostname;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Runs the agent as PID 1, and then ends the VM.
pub fn run() -> ! {
    if !nix::unistd::getpid().as_raw().eq(&1) {
        eprintln!("hull-agent is process 1 of hull's guests, and of no use otherwise");
        std::process::exit(1);
    }
    modules::load();
    let dialed = Vsock::dial_and_wait(CONTROL_PORT);
    let dialed = dialed.context(|| format!("cannot connect to port {} of the host", CONTROL_PORT.0));
    let mut control = Control::new(or_end(None, dialed));
    fatal::install(&control);
    let settled = greet(&mut control);
    or_end(Some(control.as_fd()), settled);
    let environment = Environment {
        dial: Box::new(Vsock),
        disks: Box::new(WindowDisks::default()),
        cgroups: PathBuf::from(mounts::CGROUPS),
        mount_points: MountPoints::below(Path::new(mounts::LAYERS)),
    };
    let mut agent = or_end(None, Agent::new(control, environment));
    match agent.run() {
        Ok(End::Asked) => fatal::restart(),
        Ok(End::HostGone) => fatal::end_in_failure(None, "the host has closed the control connection"),
        Err(error) => fatal::end_in_failure(Some(agent.as_fd()), &error.message),
    }
}

fn or_end<T>(control: Option<BorrowedFd<'_>>, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fatal::end_in_failure(control, &error.message),
    }
}

/// The handshake, and what has to be done once.
fn greet(control: &mut Control) -> Result<()> {
    control.say_hello()?;
    // Children are born with the agent's memory; processes of a container must not read it.
    set_dumpable(false).context(|| "cannot make the agent undumpable".to_owned())?;
    mounts::make()?;
    settings::apply();
    let welcome = control.hear_welcome()?;
    clock::set(welcome.time)?;
    sethostname(&welcome.hostname).context(|| format!("cannot set the host name {:?}", welcome.hostname))
}
