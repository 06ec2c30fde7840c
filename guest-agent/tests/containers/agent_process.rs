//! The agent as a process of its own, with Unix sockets for vsock and loop devices for dm-linear.

use hull_agent::agent::{Agent, End, Environment};
use hull_agent::cgroup::hand_controllers_down;
use hull_agent::container::MountPoints;
use hull_agent::control::Control;
use hull_agent::dial::Dial;
use hull_agent::disks::{Device, Disks, RootDevices, WindowDisks, check};
use hull_agent::error::{Context, Result, internal};
use hull_protocol::agent::{CONTROL_PORT, Extent, RootDisk};
use hull_protocol::{ContainerId, Port};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_child_subreaper, set_dumpable, set_pdeathsig};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Names the directory with the sockets, the one with the disks, and the root of the control groups.
pub(crate) const VARIABLES: [&str; 3] = ["HULL_AGENT_TEST_SOCKETS", "HULL_AGENT_TEST_DISKS", "HULL_AGENT_TEST_CGROUPS"];

#[derive(Debug)]
pub(crate) struct Places {
    sockets: PathBuf,
    disks: PathBuf,
    cgroups: PathBuf,
}

/// Whether this process is to be an agent.
pub(crate) fn asked_for() -> Option<Places> {
    let [sockets, disks, cgroups] = VARIABLES.map(|name| std::env::var_os(name).map(PathBuf::from));
    Some(Places { sockets: sockets?, disks: disks?, cgroups: cgroups? })
}

pub(crate) fn run(places: &Places) -> ExitCode {
    match serve(places) {
        Ok(end) => {
            println!("{end:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(places: &Places) -> Result<End> {
    let what = || "cannot prepare the agent".to_owned();
    set_pdeathsig(Signal::SIGKILL).context(what)?;
    set_child_subreaper(true).context(what)?;
    set_dumpable(false).context(what)?;
    unshare(CloneFlags::CLONE_NEWNS).context(what)?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context(what)?;
    let mount_points = MountPoints::below(&places.sockets);
    mount_points.make()?;
    let dial = Box::new(Sockets(places.sockets.clone()));
    let mut control = Control::new(dial.connect(CONTROL_PORT).context(what)?.into());
    control.say_hello()?;
    control.hear_welcome()?;
    let disks: Box<dyn Disks> = if std::env::var_os("HULL_AGENT_TEST_WINDOWS").is_some() {
        Box::new(WindowDisks::default())
    } else {
        Box::new(LoopDisks { directory: places.disks.clone(), loops: BTreeMap::new() })
    };
    let cgroups = places.cgroups.clone();
    hand_controllers_down(&cgroups)?;
    let mut agent = Agent::new(control, Environment { dial, disks, cgroups, mount_points, settling: None })?;
    agent.run()
}

#[derive(Debug)]
struct Sockets(PathBuf);

impl Sockets {
    fn connect(&self, port: Port) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.0.join(port.0.to_string()))
    }
}

impl Dial for Sockets {
    fn dial(&self, port: Port) -> nix::Result<OwnedFd> {
        let stream = self.connect(port).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        stream.set_nonblocking(true).map_err(|_| Errno::EIO)?;
        Ok(stream.into())
    }
}

/// Devices of files, by losetup(8).
#[derive(Debug)]
struct LoopDisks {
    directory: PathBuf,
    loops: BTreeMap<String, PathBuf>,
}

impl LoopDisks {
    fn cut(&mut self, name: String, file: &Path, start: u64, length: u64, read_only: bool) -> Result<Device> {
        let mut command = Command::new("losetup");
        command
            .arg("--find")
            .arg("--show")
            .arg("--offset")
            .arg(start.to_string())
            .arg("--sizelimit")
            .arg(length.to_string());
        if read_only {
            command.arg("--read-only");
        }
        let output = command.arg(file).output().context(|| "cannot run losetup".to_owned())?;
        let node = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if !output.status.success() {
            return Err(internal(format!("losetup: {}", String::from_utf8_lossy(&output.stderr))));
        }
        self.loops.insert(name.clone(), node.clone());
        Ok(Device { name, node })
    }
}

impl Disks for LoopDisks {
    fn attach(&mut self, container: &ContainerId, root: &RootDisk) -> Result<RootDevices> {
        const MIB: u64 = 1 << 20;
        let Extent { offset, length } = root.data;
        check(&root.image)?;
        check(&root.data)?;
        let (images, data) = (self.directory.join("images"), self.directory.join(format!("data-{offset}")));
        let image = self.cut(format!("{container}.image"), &images, root.image.offset, root.image.length, true)?;
        let data = self.cut(format!("{container}.data"), &data, MIB, length, false);
        if data.is_err() {
            let _unused = self.detach(&image);
        }
        Ok(RootDevices { image, data: data? })
    }

    fn detach(&mut self, device: &Device) -> nix::Result<()> {
        // A mounted device would be detached later, without a word: only an exclusive opening tells.
        let exclusive = File::options().read(true).custom_flags(libc::O_EXCL).open(&device.node);
        exclusive.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let detached = Command::new("losetup").arg("--detach").arg(&device.node).status();
        self.loops.remove(&device.name);
        if detached.is_ok_and(|status| status.success()) { Ok(()) } else { Err(Errno::EIO) }
    }
}
