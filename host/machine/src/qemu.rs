//! The backend `qemu`: a software CPU (TCG) where a host has no virtualization.
//!
//! QEMU's `microvm` machine runs the guest; the devices are ours, served to it over vhost-user by the vmm. The shim starts
//! QEMU ([`MachineBackend::prepare`]) with one end of a socket pair per device, and the vmm serves the other ends
//! ([`MachineBackend::launch`]). QEMU waits for its devices while it starts, so the order does not matter.
//!
//! It is no security boundary: QEMU's developers do not treat an escape from TCG as a vulnerability.

mod clock;
mod command;

use crate::backend::{
    Capabilities, DEVICE_NAMES, Ending, Helper, Machine, MachineBackend, MachineError, NamedDevice, Prepared,
    Unavailable,
};
use crate::plan::MachinePlan;
use hull_platform::handle::Handle;
use hull_platform::jail::{self, Role};
use hull_platform::process::{Spawn, Stdio};
use hull_platform::socket::LocalStream;
use hull_virtio::VirtioDevice;
use hull_virtio::transport::vhost_user::serve;
use std::env::consts;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

/// The program, as Debian names it.
const PROGRAM: &str = "qemu-system-x86_64";

/// Where QEMU finds the first of its sockets; the others follow.
const FIRST_SOCKET: i32 = 10;

/// Devices' connections are parsed on small stacks.
const STACK: usize = 128 << 10;

/// See the module.
pub struct Qemu;

impl MachineBackend for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn probe(&self) -> Result<Capabilities, Unavailable> {
        let program = find_program()?;
        Ok(Capabilities { detail: format!("software CPU: {}", program.display()), software: true })
    }

    fn prepare(&self, plan: &MachinePlan, console: Handle) -> Result<Prepared, MachineError> {
        let program = find_program().map_err(|why| MachineError::Unavailable { name: "qemu", why })?;
        let failed = |source| MachineError::Io { action: format!("start {}", program.display()), source };
        let (errors, errors_end) = io::pipe().map_err(failed)?;
        let arguments = command::arguments(plan, clock::tsc_khz(), FIRST_SOCKET);
        let mut spawn = Spawn::new(&program)
            .args(arguments)
            .stdout(Stdio::Handle(console))
            .stderr(Stdio::Handle(OwnedFd::from(errors_end).into()))
            .die_with_parent();
        let mut handles = Vec::with_capacity(DEVICE_NAMES.len());
        for number in (FIRST_SOCKET..).take(DEVICE_NAMES.len()) {
            let (ours, theirs) = LocalStream::pair().map_err(failed)?;
            spawn = spawn.inherit(theirs, number);
            handles.push(ours.into());
        }
        let child = spawn.spawn().map_err(failed)?;
        Ok(Prepared { helper: Some(Helper { role: "qemu", child, errors }), handles })
    }

    fn launch(
        &self,
        _: &MachinePlan,
        devices: Vec<NamedDevice>,
        handles: Vec<Handle>,
    ) -> Result<Box<dyn Machine>, MachineError> {
        if devices.len() != handles.len() {
            let (devices, handles) = (devices.len(), handles.len());
            return Err(MachineError::Plan(format!("backend qemu has {devices} devices for {handles} sockets")));
        }
        let mut served = Served::default();
        for (device, handle) in devices.into_iter().zip(handles) {
            let name = device.name;
            let failed = |source| MachineError::Io { action: format!("serve device {name}"), source };
            served.add(device, LocalStream::from(handle)).map_err(failed)?;
        }
        Ok(Box::new(served))
    }
}

fn find_program() -> Result<PathBuf, Unavailable> {
    if !cfg!(target_arch = "x86_64") {
        let reason = format!("hull runs QEMU for x86-64 guests only so far, and guests here are {}", consts::ARCH);
        return Err(Unavailable { reason, remedy: None });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|directory| directory.join(PROGRAM)).find(|program| program.is_file());
    found.ok_or_else(|| Unavailable {
        reason: format!("{PROGRAM} is not in PATH"),
        remedy: Some("install QEMU (Debian: apt-get install --no-install-recommends qemu-system-x86)".into()),
    })
}

/// The devices of a machine whose CPU is in another process.
#[derive(Default)]
struct Served {
    threads: Vec<JoinHandle<Result<(), String>>>,
    /// To end the threads.
    streams: Vec<LocalStream>,
}

impl Served {
    fn add(&mut self, device: NamedDevice, stream: LocalStream) -> io::Result<()> {
        let NamedDevice { name, device } = device;
        let to_end = stream.try_clone()?;
        let thread = Builder::new().name(format!("{name}-front")).stack_size(STACK);
        self.threads.push(thread.spawn(move || serve_confined(stream, name, device))?);
        self.streams.push(to_end);
        Ok(())
    }
}

/// Serves one device until QEMU closes its connection; an error is one line.
fn serve_confined(stream: LocalStream, name: &str, device: Box<dyn VirtioDevice>) -> Result<(), String> {
    jail::narrow(Role::Front).map_err(|error| format!("{error}: {}", error.source))?;
    serve(Handle::from(stream), name, device).map_err(|error| format!("{error}: {}", error.source))
}

impl Machine for Served {
    /// The machine has ended when QEMU has closed every connection.
    fn wait(&mut self) -> Ending {
        let mut failure = None;
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    failure.get_or_insert(error);
                }
                Err(_) => {
                    failure.get_or_insert("a device's thread panicked".to_owned());
                }
            }
        }
        failure.map_or(Ending::Ended, Ending::Failed)
    }
}

impl Drop for Served {
    /// Ends the threads.
    fn drop(&mut self) {
        for stream in &self.streams {
            // Closed by QEMU already, as a rule.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
