//! `hull exec`: one more process in a running container.

use anyhow::{Result, ensure};
use hull_tests::host::Host;
use hull_tests::tests;

tests![
    exit_status_streams_and_stdin,
    shares_what_the_container_has,
    options_change_the_process,
    not_found_and_not_executable,
    needs_a_running_container,
    detached,
    many_at_once,
    ends_with_the_container,
    has_the_containers_limits_and_no_more_rights,
];

fn exit_status_streams_and_stdin(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let finished = container.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 3"]).output()?.code(3)?;
    assert_eq!(finished.stdout, b"out\n");
    assert_eq!(finished.err_of_container(), "err");
    container.exec(&[], &["sh", "-c", "kill -KILL $$"]).output()?.code(137)?;
    assert_eq!(container.exec(&["-i"], &["wc", "-c"]).stdin("four").output()?.ok()?.out(), "4");
    assert_eq!(container.exec(&[], &["wc", "-c"]).stdin("four").output()?.ok()?.out(), "0");
    Ok(())
}

fn shares_what_the_container_has(host: &Host) -> Result<()> {
    let options = ["-e", "FROM_RUN=yes", "-w", "/etc", "-u", "33:100", "-h", "box"];
    let container = host.shared()?.idle(&options)?;
    let script = "echo $FROM_RUN $(pwd) $(id -u):$(id -g) $(hostname) $(tr '\\0' ' ' < /proc/1/cmdline)";
    assert_eq!(container.sh(script)?, "yes /etc 33:100 box sleep 1000000");
    for namespace in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let script = format!("readlink /proc/self/ns/{namespace}; readlink /proc/1/ns/{namespace}");
        let links = container.sh(&script)?;
        let (ours, first) = links.split_once('\n').unwrap_or_default();
        assert_eq!(ours, first, "{namespace}");
    }
    Ok(())
}

fn options_change_the_process(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&["-e", "A=run", "-u", "33"])?;
    let options = ["-e", "A=exec", "-e", "B=two words", "-w", "/usr", "-u", "0"];
    let finished = container.exec(&options, &["sh", "-c", "echo $A-$B-$(pwd)-$(id -u)-$HOME"]).output()?.ok()?;
    assert_eq!(finished.out(), "exec-two words-/usr-0-/root");
    assert_eq!(container.sh("echo $A-$B")?, "run-", "it is for that one process only");
    Ok(())
}

fn not_found_and_not_executable(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    container.exec(&[], &["nonexistent"]).output()?.refused(127, &["nonexistent", "PATH"])?;
    container.exec(&[], &["/etc/passwd"]).output()?.refused(126, &["/etc/passwd", "permission denied"])?;
    container.exec(&["-w", "/nonexistent"], &["true"]).output()?.refused(126, &["/nonexistent"])?;
    container.exec(&["-u", "nosuchuser"], &["true"]).output()?.failed(&["nosuchuser"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn needs_a_running_container(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    vm.hull(["exec", "nosuchcontainer", "true"]).output()?.refused(1, &["no such container", "nosuchcontainer"])?;
    let created = vm.create(&[], &["true"])?;
    created.exec(&[], &["true"]).output()?.refused(1, &["is not running"])?;
    let ended = vm.start(&[], &["true"])?;
    ended.wait()?;
    ended.exec(&[], &["true"]).output()?.refused(1, &["is not running"])?;
    Ok(())
}

fn detached(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let finished = container.exec(&["-d"], &["sh", "-c", "echo done > /flag; sleep 1000000"]).output()?.ok()?;
    assert_eq!(finished.out(), "");
    container.sh("for i in $(seq 100); do [ -e /flag ] && break; sleep 0.05; done; cat /flag")?;
    assert_eq!(container.sh("ps | grep -c '[s]leep 1000000'")?, "2");
    Ok(())
}

fn many_at_once(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let script = |number: usize| format!("seq {number} | wc -l; exit {number}");
    let runs: Vec<_> = (1..=8).map(|number| container.exec(&[], &["sh", "-c", &script(number)]).spawn()).collect();
    for (run, number) in runs.into_iter().zip(1..) {
        assert_eq!(run?.finish()?.code(number)?.out(), number.to_string());
    }
    Ok(())
}

fn ends_with_the_container(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let mut exec = container.exec(&[], &["sh", "-c", "echo ready; sleep 1000000"]).spawn()?;
    exec.wait_for("ready")?;
    container.does("kill", &[])?;
    exec.finish()?.code(137)?;
    Ok(())
}

fn has_the_containers_limits_and_no_more_rights(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&["--cap-drop", "ALL", "--ulimit", "nofile=77", "--pids-limit", "50"])?;
    assert_eq!(container.sh("grep CapBnd /proc/self/status | cut -f2")?, "0000000000000000");
    assert_eq!(container.sh("ulimit -n")?, "77");
    assert_eq!(container.sh("cat /proc/self/cgroup")?, "0::/");
    assert_eq!(container.sh("cat /sys/fs/cgroup/pids.max")?, "50");
    let masked = container.exec(&[], &["sh", "-c", "wc -c < /proc/kcore"]).output()?;
    ensure!(masked.out() == "0" || masked.status.code() != Some(0), "{}", masked.describe());
    Ok(())
}
