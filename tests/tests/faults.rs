//! What happens when something dies, is full or is missing: the truth is told, the rest ends, and nothing stays behind.

use anyhow::{Context, Result, ensure};
use hull_tests::command::Finished;
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::install::Install;
use hull_tests::process::{self, Role};
use hull_tests::sandbox::Sandbox;
use hull_tests::suite::only_if;
use hull_tests::{IMAGE, tests, wait_until};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

tests![
    killed_shim,
    killed_vmm,
    killed_qemu,
    killed_shim_of_a_named_vm,
    killed_all_at_once,
    killed_command_line_leaves_the_container,
    killed_command_line_while_it_starts,
    killed_start_of_a_created_container,
    state_directory_is_full,
    host_disk_fills_up_under_a_container,
    state_directory_is_not_writable,
    state_directory_of_a_newer_hull,
    qemu_is_missing,
    qemu_ends_at_once,
    kernel_is_missing,
    kernel_lacks_what_is_needed,
    torn_files_do_not_confuse,
];

/// A container in a VM of its own, with one of its host processes killed: everybody who watches learns of it, `ps -a`
/// tells the truth, it can be started again with what it wrote, and `rm` removes it.
fn killed(host: &Host, role: Role) -> Result<()> {
    let sandbox = host.fresh()?;
    let script = "cat /kept 2>/dev/null; echo kept > /kept; sync; echo ready; sleep 1000000";
    let container = sandbox.start(&[], &["sh", "-c", script])?;
    container.wait_for_log("ready")?;
    let attached = container.hull("attach", &[]).spawn()?;
    let waiting = container.hull("wait", &[]).spawn()?;
    let exec = container.exec(&[], &["sleep", "1000000"]).spawn()?;
    // The exec runs once its process is to be seen.
    container.sh("until ps | grep -q '[s]leep 1000000'; do sleep 0.05; done")?;
    let pids: Vec<u32> = sandbox.processes().iter().filter(|p| p.role != Role::Other).map(|p| p.pid).collect();
    ensure!(pids.len() >= 2, "{:#?}", sandbox.processes());
    kill(&sandbox, role)?;

    for watcher in [attached, waiting, exec] {
        let finished = watcher.finish()?;
        ensure!(finished.status.code().is_some(), "{}", finished.describe());
        ensure!(finished.status.code() != Some(0) || finished.out() == "137", "{}", finished.describe());
    }
    wait_until("the other processes end", Duration::from_secs(5), || Ok(!pids.iter().any(|pid| process::lives(*pid))))?;
    require_died(&container, role)?;
    let again = container.hull("start", &["-a"]).spawn()?;
    container.wait_for_log("kept")?;
    assert_eq!(container.status()?, "running");
    container.does("kill", &[])?;
    again.finish()?.code(137)?;
    container.does("rm", &[])?;
    sandbox.require_nothing_left()
}

fn kill(sandbox: &Sandbox, role: Role) -> Result<()> {
    let processes = sandbox.processes();
    let victim = processes.iter().find(|process| process.role == role);
    process::signal(victim.with_context(|| format!("no {role:?} in {processes:#?}"))?.pid, Signal::KILL)
}

fn require_died(container: &Container<'_>, role: Role) -> Result<()> {
    let state = container.inspect()?["State"].clone();
    let told = state["Status"] == "exited" && state["Running"] == false && state["ExitCode"] == 137;
    ensure!(told && state["OOMKilled"] == false, "{state:#}");
    let reason = state["Error"].as_str().unwrap_or_default().to_lowercase();
    let names_it = match role {
        Role::Shim => reason.contains("shim"),
        Role::Vmm => reason.contains("vmm"),
        Role::Qemu => reason.contains("qemu"),
        Role::Other => false,
    };
    ensure!(names_it, "the reason does not name the {role:?}: {reason:?}");
    Ok(())
}

fn killed_shim(host: &Host) -> Result<()> {
    killed(host, Role::Shim)
}

fn killed_vmm(host: &Host) -> Result<()> {
    killed(host, Role::Vmm)
}

fn killed_qemu(host: &Host) -> Result<()> {
    only_if(host.backend == "qemu", "only the qemu backend has a QEMU")?;
    killed(host, Role::Qemu)
}

fn killed_shim_of_a_named_vm(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let (first, second) = (sandbox.idle(&["--vm", "dev"])?, sandbox.idle(&["--vm", "dev", "--rm"])?);
    kill(&sandbox, Role::Shim)?;
    sandbox.wait_for_no_process()?;
    // The first command after it finds out, whatever it is.
    let listed = sandbox.hull(["ps", "-a", "--format", "{{.ID}} {{.Status}}"]).output()?.ok()?;
    ensure!(listed.out().starts_with(&format!("{} Exited (137)", first.short())), "{}", listed.describe());
    ensure!(!listed.out().contains(second.short()), "--rm holds here too: {}", listed.describe());
    let vms = sandbox.hull(["vm", "ls"]).output()?.ok()?;
    ensure!(!vms.out().to_lowercase().contains("running"), "{}", vms.describe());
    first.does("start", &[])?;
    assert_eq!(first.sh("echo well")?, "well");
    Ok(())
}

fn killed_all_at_once(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let container = sandbox.idle(&[])?;
    for process in sandbox.processes() {
        process::signal(process.pid, Signal::KILL).ok();
    }
    sandbox.wait_for_no_process()?;
    require_died(&container, Role::Shim)?;
    container.does("rm", &[])?;
    sandbox.require_nothing_left()
}

fn killed_command_line_leaves_the_container(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("orphaned");
    let script = "echo ready; while [ ! -e /go ]; do echo more; sleep 0.05; done; exit 4";
    let mut run = vm.with_image("run", &["--name", &name], &["sh", "-c", script]).spawn()?;
    run.wait_for("more")?;
    run.signal(Signal::KILL)?;
    run.finish()?;
    let id = vm.hull(["inspect", "-f", "{{.Id}}", &name]).output()?.ok()?.out();
    let container = Container::new(vm, id)?;
    assert_eq!(container.status()?, "running");
    container.sh_to_the_end("touch /go")?;
    assert_eq!(container.wait()?, 4);
    Ok(())
}

fn killed_command_line_while_it_starts(host: &Host) -> Result<()> {
    // At several moments of its start: afterwards it runs, or is there and does not, and nothing is in between.
    for milliseconds in [5, 20, 60, 150, 400] {
        let sandbox = host.fresh()?;
        let run = sandbox.with_image("run", &[], &["true"]).spawn()?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        run.signal(Signal::KILL).ok();
        run.finish()?;
        wait_until("its VM ends by itself", Duration::from_secs(30), || Ok(sandbox.processes().is_empty()))
            .with_context(|| format!("killed after {milliseconds} ms: {:#?}", sandbox.processes()))?;
        let listed = sandbox.hull(["ps", "-a", "--format", "{{.ID}} {{.State}}"]).output()?.ok()?.lines();
        for line in &listed {
            let (id, state) = line.split_once(' ').context("two words")?;
            ensure!(["created", "exited"].contains(&state), "killed after {milliseconds} ms: {line}");
            sandbox.hull(["rm", id]).output()?.ok()?;
        }
        sandbox.require_nothing_left().with_context(|| format!("killed after {milliseconds} ms"))?;
    }
    Ok(())
}

fn killed_start_of_a_created_container(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let container = sandbox.create(&[], &["sh", "-c", "exit 3"])?;
    for milliseconds in [10, 50] {
        let start = container.hull("start", &["-a"]).spawn()?;
        std::thread::sleep(Duration::from_millis(milliseconds));
        start.signal(Signal::KILL).ok();
        start.finish()?;
        wait_until("its VM ends by itself", Duration::from_secs(30), || Ok(sandbox.processes().is_empty()))?;
        ensure!(["created", "exited"].contains(&container.status()?.as_str()));
    }
    container.hull("start", &["-a"]).output()?.code(3)?;
    Ok(())
}

/// Runs a shell script, as root of a mount namespace of its own, with the state root on a tmpfs of `size`.
fn on_small_disk(sandbox: &Sandbox, size: &str, script: &str) -> Result<Finished> {
    only_if(rustix::process::geteuid().is_root(), "needs root to mount a tmpfs")?;
    let setup = format!("mount -t tmpfs -o size={size} tmpfs \"$HULL_ROOT\" || exit 99");
    let command = sandbox.command("unshare").args(["--mount", "--propagation", "private", "sh", "-c"]);
    let script = format!("{setup}\nhull() {{ '{}' \"$@\"; }}\n{script}", sandbox.install().hull.display());
    let finished = command.arg(script).output()?;
    ensure!(finished.status.code() != Some(99), "{}", finished.describe());
    Ok(finished)
}

fn state_directory_is_full(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let place = sandbox.place().join(" ");
    let script = format!(
        "hull ps -a && dd if=/dev/zero of=\"$HULL_ROOT/ballast\" bs=4k 2>/dev/null
        hull run --rm {place} {IMAGE} true; echo status $?
        hull ps -aq; rm \"$HULL_ROOT/ballast\"; hull ps -aq; hull run --rm {place} {IMAGE} echo works again
        find \"$HULL_ROOT\" -type f | grep -vE '/(version|.lock)$'"
    );
    let finished = on_small_disk(&sandbox, "64m", &script)?;
    let expected = ["status 125", "works again"];
    ensure!(finished.lines()[1..] == expected, "{}", finished.describe());
    ensure!(finished.err().to_lowercase().contains("no space left"), "{}", finished.describe());
    Ok(())
}

fn host_disk_fills_up_under_a_container(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let place = sandbox.place().join(" ");
    let write = "dd if=/dev/zero of=/big bs=1M count=100 conv=fsync && echo written; echo alive";
    let script = format!(
        "hull run --name big {place} {IMAGE} sh -c '{write}' < /dev/null; echo status $?
        hull inspect -f '{{{{.State.Status}}}}' big; hull rm big; hull ps -aq
        find \"$HULL_ROOT\" -type f | grep -vE '/(version|.lock)$'"
    );
    let finished = on_small_disk(&sandbox, "24m", &script)?;
    let lines = finished.lines();
    ensure!(!lines.contains(&"written".to_owned()), "100 MiB went into 24: {}", finished.describe());
    ensure!(lines.ends_with(&["exited".to_owned(), "big".to_owned()]), "{}", finished.describe());
    ensure!(finished.err().to_lowercase().contains("error"), "the program is told: {}", finished.describe());
    Ok(())
}

/// A copy of the program where another user may run it.
fn install_for_anybody(sandbox: &Sandbox) -> Result<PathBuf> {
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755))?;
    let copy = sandbox.path().join("hull");
    fs::copy(&sandbox.install().hull, &copy).context("cannot copy hull")?;
    Ok(copy)
}

fn state_directory_is_not_writable(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let hull = install_for_anybody(&sandbox)?;
    let root = sandbox.root();
    let unwritable = |path: &Path| {
        let command = if rustix::process::geteuid().is_root() {
            let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
            sandbox.command("setpriv").args(ids).arg(&hull)
        } else {
            sandbox.command(&hull)
        };
        command.env("HULL_ROOT", path).env("HULL_RUNTIME_DIR", sandbox.path().join("none"))
    };
    fs::set_permissions(&root, fs::Permissions::from_mode(0o555))?;
    for path in [root.clone(), root.join("deeper")] {
        let finished = unwritable(&path).args(["run", "--rm"]).args(sandbox.place()).args([IMAGE, "true"]).output()?;
        finished.refused(125, &[&root.display().to_string(), "HULL_ROOT"])?;
        unwritable(&path).args(["ps", "-a"]).output()?.refused(1, &["HULL_ROOT"])?;
    }
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn state_directory_of_a_newer_hull(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let version = sandbox.root().join("version");
    fs::write(&version, "999\n")?;
    sandbox.run(&[], &["true"])?.refused(125, &["version", "999"])?;
    assert_eq!(fs::read_to_string(&version)?, "999\n", "it was changed");
    fs::remove_file(&version)?;
    Ok(())
}

fn qemu_is_missing(host: &Host) -> Result<()> {
    only_if(host.backend == "qemu", "only the qemu backend needs QEMU")?;
    let sandbox = host.fresh()?;
    let without = |args: &[&str]| sandbox.hull(args).env("PATH", sandbox.path());
    let finished = without(&["run", "--rm", "--backend", "qemu", IMAGE, "true"]).output()?;
    finished.refused(125, &["qemu-system-x86_64", "install"])?;
    let doctor = without(&["doctor"]).output()?;
    ensure!(doctor.out().contains("qemu-system-x86_64") && doctor.out().contains("install"), "{}", doctor.describe());
    sandbox.require_nothing_left()
}

fn qemu_ends_at_once(host: &Host) -> Result<()> {
    only_if(host.backend == "qemu", "only the qemu backend needs QEMU")?;
    let sandbox = host.fresh()?;
    let fake = sandbox.path().join("qemu-system-x86_64");
    fs::write(&fake, "#!/bin/sh\necho it is broken >&2\nexit 1\n")?;
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", sandbox.path().display(), std::env::var("PATH")?);
    let finished = sandbox.with_image("run", &["--rm"], &["true"]).env("PATH", path).output()?;
    finished.refused(125, &["qemu"])?;
    sandbox.require_nothing_left()
}

/// An installation whose assets are links to all but some of the real ones.
fn assets_without(host: &Host, directory: &Path, missing: &[&str]) -> Result<Install> {
    let assets = directory.join("assets");
    fs::create_dir(&assets)?;
    for entry in fs::read_dir(&host.install().assets)? {
        let entry = entry?;
        if !missing.iter().any(|name| entry.file_name() == *name) {
            symlink(entry.path(), assets.join(entry.file_name()))?;
        }
    }
    Ok(Install { assets, ..host.install().clone() })
}

fn kernel_is_missing(host: &Host) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let install = assets_without(host, directory.path(), &["vmlinux", "vmlinux.config", "stock"])?;
    let sandbox = host.fresh_with(&install)?;
    sandbox.run(&[], &["true"])?.refused(125, &["kernel", "./x"])?;
    sandbox.require_nothing_left()?;
    sandbox.run(&["--kernel", "/nonexistent"], &["true"])?.refused(125, &["/nonexistent"])?;
    sandbox.require_nothing_left()
}

fn kernel_lacks_what_is_needed(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let kernel = sandbox.path().join("vmlinux");
    fs::copy(host.install().assets.join("vmlinux"), &kernel).context("hull's own kernel is not built: ./x kernel")?;
    let config = fs::read_to_string(host.install().assets.join("vmlinux.config"))?;
    let config = config.replace("CONFIG_OVERLAY_FS=y", "# CONFIG_OVERLAY_FS is not set");
    fs::write(sandbox.path().join("vmlinux.config"), config)?;
    let options = ["--kernel", &kernel.to_string_lossy()];
    sandbox.run(&options, &["true"])?.refused(125, &["CONFIG_OVERLAY_FS"])?;
    let text = sandbox.path().join("text");
    fs::write(&text, "not a kernel")?;
    sandbox.run(&["--kernel", &text.to_string_lossy()], &["true"])?.refused(125, &[&text.to_string_lossy()])?;
    sandbox.require_nothing_left()
}

fn torn_files_do_not_confuse(host: &Host) -> Result<()> {
    // What a power cut can leave: a name without a container, an empty temporary file, a VM that never ran.
    let sandbox = host.fresh()?;
    let container = sandbox.create(&["--name", "whole"], &["true"])?;
    fs::write(sandbox.root().join("names/torn"), container.id.replace(|_: char| true, "0"))?;
    let listed = sandbox.hull(["ps", "-a", "--format", "{{.Names}}"]).output()?.ok()?;
    assert_eq!(listed.out(), "whole");
    let taken = sandbox.create(&["--name", "torn"], &["true"])?;
    taken.does("rm", &[])?;
    Ok(())
}
