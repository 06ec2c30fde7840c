//! Direct I/O through a guest: a container's writable layer, against an ext4 of the same template behind QEMU's virtio-blk on
//! the same KVM. The container pays for overlayfs and device-mapper on top, as it does in use.

use crate::qemu::Machine;
use crate::report::{Figure, median};
use anyhow::{Context, Result, ensure};
use hull_tests::command::Command;
use hull_tests::initramfs::Initramfs;
use hull_tests::sandbox::Sandbox;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name, block size, blocks: 8 MiB in small pieces, 64 MiB in large ones.
const CASES: [(&str, &str, u32); 2] = [("4 KiB", "4k", 2048), ("1 MiB", "1M", 64)];
const ROUNDS: usize = 5;

/// On an emulated CPU, it may take minutes.
const LIMIT: Duration = Duration::from_secs(600);

/// Figures of both, one after the other. Needs Debian's busybox-static.
pub fn measure(sandbox: &Sandbox) -> Result<Vec<Figure>> {
    let container = sandbox.idle(&[])?;
    let ours = container.exec(&[], &["sh", "-c", &script("")]).limit(LIMIT).output()?.ok()?.out();
    drop(container);
    let theirs = in_qemu(sandbox)?;
    let mut figures = Vec::new();
    for (name, size, _) in CASES {
        for (verb, key) in [("write", format!("w{size}")), ("read", format!("r{size}"))] {
            let [hull, qemu] = [seconds(&ours, &key)?, seconds(&theirs, &key)?];
            let detail = format!("hull {hull:.3} s, QEMU {qemu:.3} s, medians of {ROUNDS}");
            figures.push(Figure::promised(
                &format!("sequential {verb} of {name}, time against QEMU's"),
                hull / qemu,
                "times",
                1.0,
                detail,
            ));
        }
    }
    Ok(figures)
}

/// Writes and reads a file below `directory` and prints a key and the guest's uptime before and after each.
fn script(directory: &str) -> String {
    let mut script = "now() { cut -d' ' -f1 /proc/uptime; }\n".to_owned();
    for (_, size, count) in CASES {
        let file = format!("{directory}/bench");
        script += &format!(
            "dd if=/dev/zero of={file} bs={size} count={count} conv=fsync 2>/dev/null
             for round in $(seq {ROUNDS}); do
               echo w{size} $(now) $(dd if=/dev/zero of={file} bs={size} count={count} oflag=direct conv=notrunc 2>/dev/null || echo failed) $(now)
               echo r{size} $(now) $(dd if={file} of=/dev/null bs={size} count={count} iflag=direct 2>/dev/null || echo failed) $(now)
             done; rm {file}\n"
        );
    }
    script
}

/// The median time of the lines with this key.
fn seconds(report: &str, key: &str) -> Result<f64> {
    let lines = report.lines().filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(' '));
    let times: Vec<f64> = lines
        .filter_map(|line| {
            let (before, after) = line.split_once(' ')?;
            Some(after.parse::<f64>().ok()? - before.parse::<f64>().ok()?)
        })
        .collect();
    ensure!(times.len() == ROUNDS, "{} of {ROUNDS} times for {key} in {report:?}", times.len());
    Ok(median(&times))
}

fn in_qemu(sandbox: &Sandbox) -> Result<String> {
    let machine = Machine::accelerated(sandbox)?;
    let disk = sandbox.path().join("disk.ext4");
    let template = sandbox.install().assets.join("data.ext4");
    Command::new("cp").arg("--sparse=always").args([&template, &disk]).output()?.ok()?;
    let initramfs = benchmark_initramfs(sandbox.path())?;
    let drive = format!("file={},format=raw,if=none,id=disk", disk.display());
    let console = sandbox.path().join("console");
    let command = machine
        .bare_with_console(&initramfs, &console)
        .args(["-global", "virtio-mmio.force-legacy=false", "-drive", &drive])
        .args(["-device", "virtio-blk-device,drive=disk,num-queues=1"]);
    command.limit(LIMIT).output()?.ok()?;
    fs::read_to_string(&console).with_context(|| format!("cannot read {}", console.display()))
}

/// busybox and a script as init.
fn benchmark_initramfs(directory: &Path) -> Result<PathBuf> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    let busybox = busybox.context("no /bin/busybox; on Debian: apt-get install busybox-static")?;
    let init = format!(
        "#!/bin/busybox sh
         /bin/busybox --install -s /bin
         export PATH=/bin
         mkdir /mnt
         mkdir /proc
         mount -t devtmpfs dev /dev
         mount -t proc proc /proc
         mount -t ext4 -o noatime /dev/vda /mnt
         {}
         umount /mnt
         reboot -f\n",
        script("/mnt")
    );
    let mut archive = Initramfs::new();
    archive.add("bin/busybox", &fs::read(busybox)?);
    archive.add("init", init.replace("\n         ", "\n").as_bytes());
    let path = directory.join("block.cpio");
    archive.write(&path)?;
    Ok(path)
}
