//! From the kernel's jump into PID 1 to the agent's loop, and the end of the VM.
//!
//! What the handshake does not need is an errand, done by another process at the same time: first what the agent needs to
//! begin with a container, then what containers need.
//!
//! ```text
//!   modules (stock kernel only) ── dial ── Hello ── Welcome ── loop: a container's root ... its first process ── restart
//!                                   │                        ^                             ^
//!                                errand ─────── mounts ──────┴──── controllers, settings ──┘
//! ```

mod modules;
mod mounts;
mod settings;

use crate::agent::{Agent, End, Environment};
use crate::cgroup::hand_controllers_down;
use crate::container::MountPoints;
use crate::control::Control;
use crate::dial::{Dial, Vsock, wait_until_connected};
use crate::disks::WindowDisks;
use crate::errand::Errand;
use crate::error::{Context, Result};
use crate::{clock, fatal};
use hull_protocol::agent::CONTROL_PORT;
use nix::sched::CloneFlags;
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
    fatal::install();
    modules::load();
    let what = || format!("cannot connect to port {} of the host", CONTROL_PORT.0);
    let dialed = or_end(None, Vsock.dial(CONTROL_PORT).context(what));
    let settling = or_end(None, settle());
    or_end(None, wait_until_connected(&dialed).context(what));
    let mut control = Control::new(dialed);
    fatal::report_to_host(&control);
    let greeted = greet(&mut control).and_then(|()| settling.wait());
    or_end(Some(control.as_fd()), greeted);
    let environment = Environment {
        dial: Box::new(Vsock),
        disks: Box::new(WindowDisks::default()),
        cgroups: PathBuf::from(mounts::CGROUPS),
        mount_points: MountPoints::below(Path::new(mounts::LAYERS)),
        settling: Some(settling),
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

/// Makes the VM what containers need, in two parts. Root and working directory change for the agent as well, which must
/// not use a path before it has waited for the end of the first one, the mounts.
fn settle() -> Result<Errand> {
    // Children are born with the agent's memory; processes of a container must not read it.
    set_dumpable(false).context(|| "cannot make the agent undumpable".to_owned())?;
    Errand::send("the boot", CloneFlags::CLONE_FS, |part| {
        mounts::make()?;
        part.send_done(None)?;
        hand_controllers_down(Path::new(mounts::CGROUPS))?;
        settings::apply();
        Ok(None)
    })
}

fn greet(control: &mut Control) -> Result<()> {
    control.say_hello()?;
    let welcome = control.hear_welcome()?;
    clock::set(welcome.time)?;
    sethostname(&welcome.hostname).context(|| format!("cannot set the host name {:?}", welcome.hostname))
}
