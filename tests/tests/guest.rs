//! A guest that means harm (`src/bin/hostile-guest.rs` is its PID 1): the command fails with one clear line in bounded
//! time, the host processes neither panic nor grow, and nothing is left.

use anyhow::{Context, Result, ensure};
use hull_tests::command::{Command, Finished, Running};
use hull_tests::host::Host;
use hull_tests::initramfs::Initramfs;
use hull_tests::install::Install;
use hull_tests::process::{Role, resident_kib};
use hull_tests::sandbox::Sandbox;
use hull_tests::tests;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests![
    frames_that_are_wrong,
    conversations_that_are_wrong,
    ends_instead_of_working,
    says_nothing,
    interrupted_while_it_says_nothing,
    floods_with_warnings,
    dials_what_nobody_offered,
];

/// Above hull's own patience with a guest, which is a minute for its boot and a minute for an answer.
const LIMIT: Duration = Duration::from_secs(100);

const PROGRAM: &str = env!("CARGO_BIN_EXE_hostile-guest");

/// Assets like the real ones, but that the guest's PID 1 is the hostile one.
fn hostile_install(host: &Host, directory: &Path, mode: &str) -> Result<Install> {
    for entry in fs::read_dir(&host.install().assets)? {
        let entry = entry?;
        if entry.file_name() != "initramfs.cpio" {
            symlink(entry.path(), directory.join(entry.file_name()))?;
        }
    }
    let mut archive = Initramfs::new();
    archive.add("init", &fs::read(PROGRAM)?);
    archive.add("mode", mode.as_bytes());
    // It is linked as any program of this host is: its libraries come along.
    for line in Command::new("ldd").arg(PROGRAM).output()?.ok()?.lines() {
        if let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) {
            archive.add_file(Path::new(path))?;
        }
    }
    archive.write(&directory.join("initramfs.cpio"))?;
    Ok(Install { assets: directory.to_owned(), ..host.install().clone() })
}

/// A `hull run` on such a guest.
struct Meeting {
    mode: &'static str,
    sandbox: Sandbox,
    run: Running,
    /// The sandbox's assets.
    _assets: TempDir,
}

impl Meeting {
    fn begin(host: &Host, mode: &'static str) -> Result<Self> {
        let assets = tempfile::tempdir()?;
        let sandbox = host.fresh_with(&hostile_install(host, assets.path(), mode)?)?;
        let run = sandbox.with_image("run", &["--rm"], &["true"]).limit(LIMIT).spawn()?;
        Ok(Self { mode, sandbox, run, _assets: assets })
    }

    /// What became of it, once nothing is left of it.
    fn end(self) -> Result<Finished> {
        let mode = self.mode;
        let finished = self.run.finish().context(mode)?.failed(&[]).context(mode)?;
        let said = finished.err();
        ensure!(!said.contains('\x1b') && said.len() < 4000, "{mode}\n{}", finished.describe());
        self.sandbox.require_nothing_left().context(mode)?;
        Ok(finished)
    }
}

fn meet(host: &Host, mode: &'static str) -> Result<Finished> {
    Meeting::begin(host, mode)?.end()
}

fn frames_that_are_wrong(host: &Host) -> Result<()> {
    for mode in ["oversized", "truncated", "not-json", "deep-json", "unknown-field", "endless-kernel-name"] {
        let finished = meet(host, mode)?;
        // A name of any length is a valid frame; all others must not have been taken.
        ensure!(
            finished.status.code() == Some(125) || mode == "endless-kernel-name",
            "{mode}\n{}",
            finished.describe()
        );
    }
    let finished = meet(host, "wrong-version")?;
    finished.refused(125, &["version", "999"])?;
    Ok(())
}

fn conversations_that_are_wrong(host: &Host) -> Result<()> {
    for mode in ["hello-twice", "unknown-event", "wrong-answer", "endless-error", "exit-of-another"] {
        meet(host, mode)?.code(125)?;
    }
    Ok(())
}

fn ends_instead_of_working(host: &Host) -> Result<()> {
    meet(host, "ends-at-once")?.code(125)?;
    meet(host, "started-and-gone")?.code(137)?;
    Ok(())
}

fn says_nothing(host: &Host) -> Result<()> {
    // All at once: each of them waits as long as hull is patient, and does nothing meanwhile.
    let modes = ["silent", "mute", "announces-a-mebibyte", "answer-to-nothing"];
    let meetings = modes.map(|mode| Meeting::begin(host, mode));
    for meeting in meetings {
        meeting?.end()?.code(125)?;
    }
    Ok(())
}

fn interrupted_while_it_says_nothing(host: &Host) -> Result<()> {
    let meeting = Meeting::begin(host, "silent")?;
    hull_tests::wait_until("its VM runs", LIMIT, || Ok(meeting.sandbox.processes().len() >= 3))?;
    let start = Instant::now();
    meeting.run.signal(Signal::INT)?;
    meeting.end()?;
    ensure!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    Ok(())
}

fn floods_with_warnings(host: &Host) -> Result<()> {
    let assets = tempfile::tempdir()?;
    let sandbox = host.fresh_with(&hostile_install(host, assets.path(), "flood")?)?;
    let run = sandbox.with_image("run", &["--rm"], &["true"]).limit(LIMIT).spawn()?;
    std::thread::sleep(Duration::from_secs(4));
    for process in sandbox.processes() {
        if matches!(process.role, Role::Shim | Role::Vmm) {
            let held = resident_kib(process.pid)?;
            ensure!(held < 32 << 10, "{:?} holds {held} KiB", process.role);
        }
    }
    let logged = directory_size(&sandbox.root())?;
    ensure!(logged < 4 << 20, "{logged} bytes were written");
    // Other commands work meanwhile.
    sandbox.hull(["ps", "-a"]).output()?.ok()?;
    run.signal(Signal::INT)?;
    run.finish()?.failed(&[])?;
    sandbox.require_nothing_left()
}

fn dials_what_nobody_offered(host: &Host) -> Result<()> {
    let assets = tempfile::tempdir()?;
    let sandbox = host.fresh_with(&hostile_install(host, assets.path(), "dials-everything")?)?;
    let run = sandbox.with_image("run", &["--rm"], &["true"]).limit(LIMIT).spawn()?;
    let console = || {
        let mut text = String::new();
        for vm in fs::read_dir(sandbox.root().join("vms")).into_iter().flatten().flatten() {
            text += &fs::read_to_string(vm.path().join("console.log")).unwrap_or_default();
        }
        text
    };
    hull_tests::wait_until("it has tried", Duration::from_secs(30), || Ok(console().contains("reached")))?;
    // The control port is taken once, by the handshake.
    ensure!(console().contains("reached 0"), "{}", console());
    run.signal(Signal::INT)?;
    run.finish()?.failed(&[])?;
    sandbox.require_nothing_left()
}

/// What the files below take on disk.
fn directory_size(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { directory_size(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}
