//! Guest instructions, counted exactly by a QEMU plugin on one vCPU with 256 MiB: the same on every machine.

use crate::report::Figure;
use anyhow::{Context, Result, bail};
use hull_tests::command::Command;
use hull_tests::sandbox::Sandbox;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KERNEL_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-config");
/// The function in which the kernel tells a virtio-mmio device of new buffers.
const NOTIFY: &str = "vm_notify";
/// Until the handshake the agent uses no device but vsock, and the driver has offered its buffers before the agent runs:
/// the first notification asks for the connection, the second bears the agent's first frame.
const HELLO: u32 = 2;
const MILLION: f64 = 1e6;

/// Figures of the kernel's way to the agent, and of the agent's to its first frame.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let kernel = kernel(sandbox)?;
    let handshake = handshake(sandbox)?;
    let detail = "with devices, host and waits as they are";
    Ok(vec![
        Figure::promised(
            "instructions from reset to init",
            kernel,
            "M",
            70.0,
            "kernel-config/count-instructions".to_owned(),
        ),
        Figure::promised("instructions from init to handshake", handshake, "M", 10.0, detail.to_owned()),
    ])
}

fn kernel(sandbox: &Sandbox) -> Result<f64> {
    let assets = &sandbox.install().assets;
    let command = Command::new(format!("{KERNEL_CONFIG}/count-instructions"));
    let command = command.args([assets.join("vmlinux"), assets.join("initramfs.cpio")]).limit(Duration::from_secs(300));
    // Its exit status tells whether the budget was kept, and the figure beside its goal tells the same.
    let finished = command.output()?;
    let text = finished.out();
    let number = text.split_whitespace().next().and_then(|word| word.parse().ok());
    number.with_context(|| finished.describe())
}

fn handshake(sandbox: &Sandbox) -> Result<f64> {
    let counts = sandbox.path().join("counts");
    let place = wrapped_qemu(sandbox, &counts)?;
    let path = format!("{}:{}", place.display(), std::env::var("PATH")?);
    let options = ["--rm", "--vm-cpus", "1", "--vm-memory", "256m"];
    // The plugin ends QEMU at the handshake, so that this fails; what it has counted is in the file by then.
    let finished = sandbox.with_image("run", &options, &["true"]).env("PATH", path).output()?;
    let text = fs::read_to_string(&counts).unwrap_or_default();
    let count = |name: &str| {
        let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == name);
        value.and_then(|(_, value)| value.parse::<f64>().ok()).filter(|value| *value > 0.0)
    };
    let (Some(user), Some(stopped)) = (count("first-user"), count("stopped")) else {
        bail!("the plugin counted {text:?}\n{}", finished.describe());
    };
    Ok((stopped - user) / MILLION)
}

/// A directory with a `qemu-system-x86_64` that runs the real one with the plugin, deterministically but for its waits.
fn wrapped_qemu(sandbox: &Sandbox, counts: &Path) -> Result<PathBuf> {
    let directory = sandbox.path().join("wrapped");
    fs::create_dir(&directory)?;
    let plugin = directory.join("count.so");
    let source = format!("{KERNEL_CONFIG}/count-instructions.c");
    Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&plugin).arg(source).output()?.ok()?;
    let real = Command::new("sh").args(["-c", "command -v qemu-system-x86_64"]).output()?.ok()?.out();
    let script = format!(
        r#"#!/bin/bash
# Questions such as --version are not for the plugin.
case " $* " in *" -kernel "*) ;; *) exec '{real}' "$@" ;; esac
arguments=()
while [[ $# -gt 0 ]]; do
  case $1 in -accel) shift 2 ;; *) arguments+=("$1"); shift ;; esac
done
exec '{real}' "${{arguments[@]}}" -accel tcg,thread=single -icount shift=0 \
  -plugin '{plugin},stop={address:x}*{HELLO}' > '{counts}'
"#,
        plugin = plugin.display(),
        counts = counts.display(),
        address = symbol(&sandbox.install().assets.join("System.map"), NOTIFY)?,
    );
    let program = directory.join("qemu-system-x86_64");
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// The address of a function, from the list that the kernel's build makes.
fn symbol(map: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(map).with_context(|| format!("cannot read {}", map.display()))?;
    let line = text.lines().find(|line| line.split(' ').nth(2) == Some(name));
    let address = line.and_then(|line| line.split(' ').next()).and_then(|word| u64::from_str_radix(word, 16).ok());
    address.with_context(|| format!("no {name} in {}", map.display()))
}
