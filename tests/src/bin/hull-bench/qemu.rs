//! The QEMU command line of hull's default VM, and from it that of a bare boot.

use anyhow::{Context, Result};
use hull_tests::command::Command;
use hull_tests::initramfs::Initramfs;
use hull_tests::process::Role;
use hull_tests::sandbox::Sandbox;
use std::fs;
use std::path::{Path, PathBuf};

/// What a bare boot has in common with hull's default VM.
pub struct Machine {
    /// `-M`, without what only hull's devices need.
    kind: String,
    accelerator: String,
    processor: String,
    /// `-smp`
    pub processors: String,
    /// `-m`
    pub memory: String,
    kernel: String,
    /// `-append`, without devices that a bare machine has not.
    pub kernel_parameters: String,
}

impl Machine {
    /// Looks at the default VM: starts a container and reads what its QEMU was started with.
    pub fn of_default_vm(sandbox: &Sandbox) -> Result<Self> {
        let container = sandbox.idle(&[])?;
        let processes = container.vm_processes()?;
        let qemu =
            processes.iter().find(|process| process.role == Role::Qemu).context("no QEMU among the processes")?;
        let line = fs::read(format!("/proc/{}/cmdline", qemu.pid))?;
        let words: Vec<_> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let value = |names: &[&str]| {
            let at = words.iter().position(|word| names.contains(&word.as_str())).and_then(|at| words.get(at + 1));
            at.cloned().with_context(|| format!("hull's QEMU has no {names:?}: {words:?}"))
        };
        Ok(Self {
            kind: without(&value(&["-M", "-machine"])?, ',', "memory-backend="),
            accelerator: value(&["-accel"])?,
            processor: value(&["-cpu"])?,
            processors: value(&["-smp"])?,
            memory: value(&["-m"])?,
            kernel: value(&["-kernel"])?,
            kernel_parameters: without(&value(&["-append"])?, ' ', "virtio_mmio.device="),
        })
    }

    /// The default VM of the `kvm` backend, as QEMU would run it on the same KVM: its kernel, processors and memory, and
    /// the serial port in the place of the console device.
    pub fn accelerated(sandbox: &Sandbox) -> Result<Self> {
        let container = sandbox.idle(&[])?;
        let parameters = container.sh("cat /proc/cmdline")?;
        let words = parameters.split(' ').filter(|word| {
            let of_devices = ["virtio_mmio.device=", "console=", "earlycon=", "8250.", "reboot="];
            !of_devices.iter().any(|prefix| word.starts_with(prefix))
        });
        let parameters: Vec<_> = ["console=ttyS0", "reboot=t"].into_iter().chain(words).collect();
        Ok(Self {
            kind: "microvm,acpi=off,isa-serial=on".to_owned(),
            accelerator: "kvm".to_owned(),
            processor: "host".to_owned(),
            processors: container.sh("grep -c ^processor /proc/cpuinfo")?,
            memory: "1024M".to_owned(),
            kernel: sandbox.install().assets.join("vmlinux").display().to_string(),
            kernel_parameters: parameters.join(" "),
        })
    }

    /// Boots it with `initramfs` and nothing else.
    pub fn bare(&self, initramfs: &Path) -> Command {
        self.boot(initramfs, "null")
    }

    /// The same; what the guest prints goes to a file.
    pub fn bare_with_console(&self, initramfs: &Path, console: &Path) -> Command {
        self.boot(initramfs, &format!("file:{}", console.display()))
    }

    fn boot(&self, initramfs: &Path, serial: &str) -> Command {
        let fixed = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", serial];
        let ours = [
            ("-M", &self.kind),
            ("-accel", &self.accelerator),
            ("-cpu", &self.processor),
            ("-smp", &self.processors),
            ("-m", &self.memory),
            ("-kernel", &self.kernel),
            ("-append", &self.kernel_parameters),
        ];
        let ours = ours.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        Command::new("qemu-system-x86_64").args(fixed).args(ours).arg("-initrd").arg(initramfs)
    }
}

/// The words of `text` that do not begin with `prefix`.
fn without(text: &str, separator: char, prefix: &str) -> String {
    let kept: Vec<_> = text.split(separator).filter(|word| !word.starts_with(prefix)).collect();
    kept.join(&separator.to_string())
}

/// An initramfs whose init reboots at once, made with the C compiler.
pub fn rebooting_initramfs(directory: &Path) -> Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/reboot.S");
    let init = directory.join("init");
    let options = ["-nostdlib", "-static", "-s", "-Wl,--build-id=none,-z,noexecstack", "-o"];
    Command::new("cc").args(options).arg(&init).arg(source).output()?.ok()?;
    let mut archive = Initramfs::new();
    archive.add("init", &fs::read(&init)?);
    let path = directory.join("reboot.cpio");
    archive.write(&path)?;
    Ok(path)
}
