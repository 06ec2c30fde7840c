//! One VM per container, or many containers in a named one: the same commands, another boundary.

use anyhow::{Context, Result, ensure};
use hull_tests::host::Host;
use hull_tests::process::Role;
use hull_tests::sandbox::Sandbox;
use hull_tests::{IMAGE, tests, wait_until};
use serde_json::json;
use std::time::Duration;

tests![
    own_vms_are_apart_and_end_with_their_container,
    own_vm_keeps_data_from_one_boot_to_the_next,
    own_vm_runs_what_a_named_one_runs,
    named_vm_is_shared_and_containers_are_apart,
    named_vm_outlives_its_containers_until_stopped,
    named_vm_is_listed_and_inspected,
    named_vm_that_holds_containers_is_not_removed,
    named_vm_ends_when_idle,
    first_use_by_two_at_once_makes_one_vm,
    size_of_a_vm_from_flags,
    unknown_names,
];

const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

fn run_in(sandbox: &Sandbox, vm: &str, script: &str) -> Result<String> {
    Ok(sandbox.run(&["--vm", vm], &["sh", "-c", script])?.ok()?.out())
}

fn vm_names(sandbox: &Sandbox) -> Result<Vec<String>> {
    let finished = sandbox.hull(["vm", "ls", "--format", "{{.Name}}"]).output()?.ok()?;
    Ok(finished.lines())
}

fn own_vms_are_apart_and_end_with_their_container(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let (first, second) = (sandbox.idle(&[])?, sandbox.idle(&[])?);
    ensure!(first.sh(BOOT_ID)? != second.sh(BOOT_ID)?, "both are in one VM");
    let count = |role| sandbox.processes().iter().filter(|process| process.role == role).count();
    assert_eq!((count(Role::Shim), count(Role::Vmm)), (2, 2));
    first.does("rm", &["-f"])?;
    assert_eq!((count(Role::Shim), count(Role::Vmm)), (1, 1), "`rm -f` returned before the VM was gone");
    assert_eq!(second.status()?, "running");
    second.does("kill", &[])?;
    second.wait()?;
    sandbox.wait_for_no_process()?;
    sandbox.run(&[], &["true"])?.ok()?;
    assert_eq!(sandbox.processes(), [], "`run` returned before the VM was gone");
    Ok(())
}

fn own_vm_keeps_data_from_one_boot_to_the_next(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let script = format!("cat /kept 2>/dev/null; {BOOT_ID} >> /kept");
    let container = sandbox.create(&[], &["sh", "-c", &script])?;
    for boots in 0..3 {
        let kept = container.hull("start", &["-a"]).output()?.ok()?.lines();
        assert_eq!(kept.len(), boots);
        ensure!(kept.windows(2).all(|pair| pair[0] != pair[1]), "not a new boot each time: {kept:?}");
    }
    Ok(())
}

fn own_vm_runs_what_a_named_one_runs(host: &Host) -> Result<()> {
    // The other suites share a VM: this is the same ground, in brief, without.
    let sandbox = host.fresh()?;
    let options = ["--rm", "-i", "-e", "A=1", "-u", "33", "-w", "/etc", "-h", "box", "--tmpfs", "/scratch"];
    let script = "echo $A $(id -u) $(pwd) $(hostname); cat; echo err >&2; exit 9";
    let finished = sandbox.with_image("run", &options, &["sh", "-c", script]).stdin("in\n").output()?.code(9)?;
    assert_eq!(finished.out(), "1 33 /etc box\nin");
    assert_eq!(finished.err_of_container(), "err");
    let container =
        sandbox.start(&[], &["sh", "-c", "trap 'echo bye; exit 7' TERM; echo hi; while :; do sleep 0.05; done"])?;
    container.wait_for_log("hi")?;
    assert_eq!(container.sh("echo exec")?, "exec");
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 7);
    assert_eq!(container.does("logs", &[])?.out(), "hi\nbye");
    Ok(())
}

fn named_vm_is_shared_and_containers_are_apart(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let (first, second) = (vm.idle(&["-h", "one"])?, vm.idle(&["-h", "two"])?);
    assert_eq!(first.sh(BOOT_ID)?, second.sh(BOOT_ID)?);
    assert_eq!((first.sh("hostname")?.as_str(), second.sh("hostname")?.as_str()), ("one", "two"));
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let link = format!("readlink /proc/self/ns/{namespace}");
        ensure!(first.sh(&link)? != second.sh(&link)?, "one {namespace} namespace for both");
    }
    first.sh("touch /only-here /tmp/only-here /dev/shm/only-here; sleep 54321 & true")?;
    assert_eq!(
        second.sh("ls -d /only-here /tmp/only-here /dev/shm/only-here 2>/dev/null; ps | grep -c '[5]4321'; true")?,
        "0"
    );
    Ok(())
}

fn named_vm_outlives_its_containers_until_stopped(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let boot = run_in(&sandbox, "dev", BOOT_ID)?;
    assert_eq!(run_in(&sandbox, "dev", BOOT_ID)?, boot, "it was booted again");
    ensure!(run_in(&sandbox, "other", BOOT_ID)? != boot);
    let container = sandbox.start(
        &["--vm", "dev"],
        &["sh", "-c", "trap 'exit 7' TERM; touch /kept; echo up; while :; do sleep 0.05; done"],
    )?;
    container.wait_for_log("up")?;
    sandbox.hull(["vm", "stop", "dev"]).output()?.ok()?;
    assert_eq!(container.status()?, "exited");
    assert_eq!(container.wait()?, 7, "it was asked to stop");
    container.does("start", &[])?;
    ensure!(container.sh(BOOT_ID)? != boot && container.sh("ls /kept")? == "/kept");
    sandbox.hull(["vm", "stop", "dev", "other"]).output()?.ok()?;
    sandbox.wait_for_no_process()
}

fn named_vm_is_listed_and_inspected(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let options = ["--name", "inside", "--vm", "dev", "--vm-memory", "200m", "--vm-cpus", "1"];
    let container = sandbox.idle(&options)?;
    let table = sandbox.hull(["vm", "ls"]).output()?.ok()?;
    let row = table.lines().into_iter().find(|line| line.contains("dev")).with_context(|| table.describe())?;
    ensure!(row.to_lowercase().contains("running") && row.contains(&host.backend), "{}", table.describe());
    let document = sandbox.hull(["vm", "inspect", "dev"]).output()?.ok()?.json()?;
    let vm = document.get(0).context("no VM in the document")?;
    ensure!(vm["Name"] == "dev" && vm["Status"] == "running" && vm["Backend"] == *host.backend, "{vm:#}");
    ensure!(vm["Cpus"] == 1 && vm["MemoryMiB"] == 200 && vm["Containers"] == json!(["inside"]), "{vm:#}");
    sandbox.hull(["vm", "stop", "dev"]).output()?.ok()?;
    assert_eq!(vm_names(&sandbox)?, ["dev"], "a stopped VM stays until it is removed");
    container.does("rm", &[])?;
    sandbox.hull(["vm", "rm", "dev"]).output()?.ok()?;
    assert_eq!(vm_names(&sandbox)?, [""; 0]);
    Ok(())
}

fn named_vm_that_holds_containers_is_not_removed(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let container = sandbox.idle(&["--vm", "dev"])?;
    sandbox.hull(["vm", "rm", "dev"]).output()?.refused(1, &["dev", "running"])?;
    assert_eq!(container.status()?, "running");
    sandbox.hull(["vm", "rm", "-f", "dev"]).output()?.ok()?;
    assert_eq!(container.status()?, "exited");
    Ok(())
}

fn named_vm_ends_when_idle(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    sandbox.run(&["--vm", "dev", "--vm-idle-timeout", "1"], &["sleep", "1.5"])?.ok()?;
    sandbox.wait_for_no_process()?;
    // It comes back when it is needed.
    run_in(&sandbox, "dev", "true")?;
    sandbox.wait_for_no_process()
}

fn first_use_by_two_at_once_makes_one_vm(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let start = || sandbox.with_image("run", &["--rm", "--vm", "dev"], &["sh", "-c", BOOT_ID]).spawn();
    let runs = [start()?, start()?, start()?];
    let boots = runs.into_iter().map(|run| Ok(run.finish()?.ok()?.out())).collect::<Result<Vec<_>>>()?;
    ensure!(boots.iter().all(|boot| *boot == boots[0]), "{boots:?}");
    assert_eq!(vm_names(&sandbox)?, ["dev"]);
    Ok(())
}

fn size_of_a_vm_from_flags(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let look = "nproc; awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo";
    let size = |options: &[&str]| {
        let lines = sandbox.sh(options, look)?;
        let (processors, memory) = lines.split_once('\n').context("two lines")?;
        Ok::<(usize, u64), anyhow::Error>((processors.parse()?, memory.parse()?))
    };
    // The kernel keeps some of what the machine has.
    let (processors, memory) = size(&["--vm-cpus", "3", "--vm-memory", "300m"])?;
    ensure!(processors == 3 && (240..=300).contains(&memory), "{processors} processors, {memory} MiB");
    // A container's own limits shape its own VM: that much for it, and an overhead beside.
    let (processors, memory) = size(&["--cpus", "1.5", "--memory", "200m"])?;
    ensure!(processors == 2 && (200..=300).contains(&memory), "{processors} processors, {memory} MiB");
    Ok(())
}

fn unknown_names(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for verb in ["stop", "inspect", "rm"] {
        sandbox.hull(["vm", verb, "nosuchvm"]).output()?.refused(1, &["no such vm", "nosuchvm"])?;
    }
    sandbox.hull(["run", "--vm", "../x", IMAGE, "true"]).output()?.refused(125, &["../x"])?;
    wait_until("nothing was made", Duration::ZERO, || Ok(vm_names(&sandbox)?.is_empty()))
}
