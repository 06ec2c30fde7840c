//! Much data through a container: all of it, in order, without anybody holding it.

use anyhow::{Context, Result, bail, ensure};
use hull_tests::host::Host;
use hull_tests::process::{self, Role};
use hull_tests::sandbox::Sandbox;
use hull_tests::tests;
use std::env;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

tests![a_gibibyte_through_a_pipe, a_reader_that_does_not_read_stops_the_writer, a_slow_reader_loses_nothing];

/// How much goes through, in MiB: `HULL_TEST_STREAM_MIB` for a quick look.
const WHOLE: u64 = 1024;
const MIB: usize = 1 << 20;

/// What shim and vmm may grow by: buffers, and their own code, of which they keep little while nothing happens.
const GROWTH_KIB: u64 = 8 << 10;

/// Random bytes, with its number written into every page, so that no page is like another.
struct Sequence {
    block: Vec<u8>,
    pages: u64,
}

impl Sequence {
    fn new() -> Self {
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut block = Vec::with_capacity(MIB);
        while block.len() < MIB {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        Self { block, pages: 0 }
    }

    /// The next MiB.
    fn next(&mut self) -> &[u8] {
        for page in self.block.chunks_exact_mut(4096) {
            page[..8].copy_from_slice(&self.pages.to_le_bytes());
            self.pages += 1;
        }
        &self.block
    }
}

fn mebibytes() -> Result<u64> {
    match env::var("HULL_TEST_STREAM_MIB") {
        Ok(text) => text.parse().with_context(|| format!("HULL_TEST_STREAM_MIB={text}")),
        Err(_) => Ok(WHOLE),
    }
}

fn cat(sandbox: &Sandbox) -> Result<Child> {
    let mut command = sandbox.with_image("run", &["--rm", "-i"], &["cat"]).into_inner();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().context("cannot start hull")
}

fn write(mut to: impl Write, mebibytes: u64) -> Result<()> {
    let mut sequence = Sequence::new();
    for number in 0..mebibytes {
        to.write_all(sequence.next()).with_context(|| format!("writing MiB {number}"))?;
    }
    Ok(())
}

fn verify(mut from: impl Read, mebibytes: u64) -> Result<()> {
    let (mut sequence, mut block) = (Sequence::new(), vec![0; MIB]);
    for number in 0..mebibytes {
        from.read_exact(&mut block).with_context(|| format!("reading MiB {number}"))?;
        ensure!(block == sequence.next(), "MiB {number} is not what was sent");
    }
    ensure!(from.read(&mut block)? == 0, "more came than was sent");
    Ok(())
}

/// Memory of shim and vmm together, without the guest's.
fn resident(sandbox: &Sandbox) -> u64 {
    let ours = sandbox.processes().into_iter().filter(|p| matches!(p.role, Role::Shim | Role::Vmm));
    ours.filter_map(|process| process::resident_kib(process.pid).ok()).sum()
}

/// The most that they held, from the first byte on to `done`.
fn watch(sandbox: &Sandbox, done: &AtomicBool) -> u64 {
    let mut most = 0;
    while !done.load(Ordering::Relaxed) {
        most = most.max(resident(sandbox));
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}

fn a_gibibyte_through_a_pipe(host: &Host) -> Result<()> {
    let (sandbox, mebibytes) = (host.fresh()?, mebibytes()?);
    let idle = sandbox.idle(&[])?;
    let before = resident(&sandbox);
    idle.does("rm", &["-f"])?;
    let mut child = cat(&sandbox)?;
    let (stdin, stdout) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
    let done = AtomicBool::new(false);
    let (written, read, most) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(stdin, mebibytes));
        let watcher = scope.spawn(|| watch(&sandbox, &done));
        let read = verify(stdout, mebibytes);
        if read.is_err() {
            child.kill().ok();
        }
        done.store(true, Ordering::Relaxed);
        (writer.join(), read, watcher.join())
    });
    let (Ok(written), Ok(most)) = (written, most) else { bail!("a thread of the test panicked") };
    read.and(written)?;
    ensure!(child.wait()?.success(), "hull run failed");
    ensure!(before > 0 && most <= before + GROWTH_KIB, "shim and vmm held {before} KiB when idle, {most} KiB at most");
    Ok(())
}

fn a_reader_that_does_not_read_stops_the_writer(host: &Host) -> Result<()> {
    // The container writes 64 MiB to a command line whose output nobody reads: it must wait, not fill memory.
    let sandbox = host.fresh()?;
    let script = "i=0; while [ $i -lt 64 ]; do head -c 1048576 /dev/zero || exit; i=$((i + 1)); echo $i > /count; done";
    let mut command = sandbox.with_image("run", &["--name", "full"], &["sh", "-c", script]).into_inner();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let count = || {
        let finished = sandbox.hull(["exec", "full", "cat", "/count"]).output()?;
        Ok::<u64, anyhow::Error>(finished.out().parse().unwrap_or(0))
    };
    hull_tests::wait_until("it has written something", Duration::from_secs(60), || Ok(count()? > 0))?;
    let (mut last, mut same) = (0, 0);
    while same < 5 {
        let now = count()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(last < 64, "64 MiB went somewhere");
    // Other commands are not held up, and once somebody reads, everything comes.
    let mut everything = Vec::new();
    child.stdout.take().context("stdout")?.read_to_end(&mut everything)?;
    ensure!(everything.len() == 64 * MIB, "{} bytes came", everything.len());
    ensure!(child.wait()?.success());
    sandbox.hull(["rm", "full"]).output()?.ok()?;
    Ok(())
}

fn a_slow_reader_loses_nothing(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let mut command = vm.with_image("run", &["--rm"], &["seq", "1", "300000"]).into_inner();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().context("stdout")?;
    std::thread::sleep(Duration::from_secs(1));
    let mut text = String::new();
    stdout.read_to_string(&mut text)?;
    ensure!(child.wait()?.success());
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    ensure!(text == expected, "{} of {} bytes", text.len(), expected.len());
    Ok(())
}
