//! What a container goes through: create, start, stop, kill, wait, rm, attach, and how `ps` and `inspect` tell of it.

use anyhow::{Context, Result, ensure};
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::{IMAGE, tests};
use serde_json::Value;
use std::time::Duration;

tests![
    create_then_start,
    start_attached,
    start_with_stdin,
    starting_what_runs_is_nothing_to_do,
    restarted_container_keeps_what_it_wrote,
    stop_asks_first,
    stop_kills_what_does_not_listen,
    stop_signal_and_timeout_of_the_container,
    stop_what_is_stopped_is_nothing_to_do,
    kill_with_any_signal,
    wait_prints_each_exit_status,
    rm_needs_it_stopped_or_force,
    rm_of_several_goes_on_after_an_error,
    commands_print_what_they_were_given,
    references_by_name_and_prefix,
    ps_lists_running_and_with_all_the_rest,
    ps_filters,
    ps_formats,
    inspect_tells_what_was_asked_and_what_became_of_it,
    inspect_formats,
    attach_sees_output_and_exit_status,
    attach_sends_input,
    attach_forwards_signals,
];

/// Ends with status 7 when told to.
const POLITE: &str = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
/// Does not end when told to.
const STUBBORN: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

fn ready<'a>(host: &'a Host, options: &[&str], script: &str) -> Result<Container<'a>> {
    let container = host.shared()?.start(options, &["sh", "-c", script])?;
    container.wait_for_log("ready")?;
    Ok(container)
}

fn create_then_start(host: &Host) -> Result<()> {
    let container = host.shared()?.create(&[], &["sh", "-c", "echo ran; exit 3"])?;
    assert_eq!(container.status()?, "created");
    container.does("start", &[])?;
    assert_eq!(container.wait()?, 3);
    assert_eq!(container.status()?, "exited");
    assert_eq!(container.does("logs", &[])?.out(), "ran");
    Ok(())
}

fn start_attached(host: &Host) -> Result<()> {
    let container = host.shared()?.create(&[], &["sh", "-c", "echo out; echo err >&2; exit 4"])?;
    for _ in 0..2 {
        let finished = container.hull("start", &["-a"]).output()?.code(4)?;
        assert_eq!(finished.out(), "out", "only what this run wrote");
        assert_eq!(finished.err_of_container(), "err");
    }
    Ok(())
}

fn start_with_stdin(host: &Host) -> Result<()> {
    let container = host.shared()?.create(&["-i"], &["cat"])?;
    assert_eq!(container.hull("start", &["-ai"]).stdin("through").output()?.ok()?.out(), "through");
    Ok(())
}

fn starting_what_runs_is_nothing_to_do(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let before = container.inspect()?["State"]["StartedAt"].clone();
    container.does("start", &[])?;
    assert_eq!(container.inspect()?["State"]["StartedAt"], before);
    Ok(())
}

fn restarted_container_keeps_what_it_wrote(host: &Host) -> Result<()> {
    let script = "cat /kept /etc/kept 2>/dev/null; echo $((n + 1)) >> /kept; echo x >> /etc/kept; rm -f /etc/group";
    let vm = host.shared()?;
    let container = vm.create(&[], &["sh", "-c", script])?;
    let run = || container.hull("start", &["-a"]).output().and_then(|finished| Ok(finished.ok()?.out()));
    assert_eq!(run()?, "");
    assert_eq!(run()?, "1\nx");
    assert_eq!(run()?, "1\n1\nx\nx");
    // The image is as it was.
    assert_eq!(vm.sh(&[], "ls /kept /etc/group 2>/dev/null; true")?, "/etc/group");
    Ok(())
}

fn stop_asks_first(host: &Host) -> Result<()> {
    let container = ready(host, &[], POLITE)?;
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 7);
    assert_eq!(container.status()?, "exited");
    assert_eq!(container.does("logs", &[])?.out(), "ready\nbye");
    Ok(())
}

fn stop_kills_what_does_not_listen(host: &Host) -> Result<()> {
    let container = ready(host, &[], STUBBORN)?;
    let took = container.does("stop", &["-t", "1"])?.took;
    ensure!(took > Duration::from_secs(1), "it was not given its second: {took:?}");
    assert_eq!(container.wait()?, 137);
    let other = ready(host, &[], STUBBORN)?;
    other.does("stop", &["--time", "0"]).or_else(|_| other.does("stop", &["--timeout", "0"]))?;
    assert_eq!(other.wait()?, 137);
    Ok(())
}

fn stop_signal_and_timeout_of_the_container(host: &Host) -> Result<()> {
    let script = "trap 'exit 11' USR1; trap 'exit 12' TERM; echo ready; while :; do sleep 0.05; done";
    let container = ready(host, &["--stop-signal", "USR1"], script)?;
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 11);
    let container = ready(host, &["--stop-signal", "SIGUSR1"], script)?;
    container.does("stop", &["-s", "TERM"])?;
    assert_eq!(container.wait()?, 12);
    let container = ready(host, &["--stop-timeout", "1"], STUBBORN)?;
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 137);
    Ok(())
}

fn stop_what_is_stopped_is_nothing_to_do(host: &Host) -> Result<()> {
    let container = host.shared()?.start(&[], &["sh", "-c", "exit 6"])?;
    container.wait()?;
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 6);
    container.hull("kill", &[]).output()?.refused(1, &["is not running"])?;
    Ok(())
}

fn kill_with_any_signal(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    container.does("kill", &[])?;
    assert_eq!(container.wait()?, 137);
    for signal in ["USR2", "SIGUSR2", "12"] {
        let script = "trap 'exit 22' USR2; echo ready; while :; do sleep 0.05; done";
        let container = ready(host, &[], script)?;
        container.does("kill", &["-s", signal])?;
        assert_eq!(container.wait()?, 22, "{signal}");
    }
    let container = host.shared()?.idle(&[])?;
    container.hull("kill", &["-s", "NOSUCH"]).output()?.failed(&["NOSUCH"])?;
    assert_eq!(container.status()?, "running");
    Ok(())
}

fn wait_prints_each_exit_status(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let gate = "while [ ! -e /go ]; do sleep 0.05; done; exit 13";
    let (first, second) = (vm.start(&[], &["sh", "-c", gate])?, vm.start(&[], &["sh", "-c", "exit 14"])?);
    let waiting = vm.hull(["wait", &first.id, &second.id]).spawn()?;
    first.sh_to_the_end("touch /go")?;
    assert_eq!(waiting.finish()?.ok()?.lines(), ["13", "14"]);
    vm.hull(["wait", "nosuchcontainer"]).output()?.refused(1, &["no such container", "nosuchcontainer"])?;
    Ok(())
}

fn rm_needs_it_stopped_or_force(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let container = vm.idle(&[])?;
    container.hull("rm", &[]).output()?.refused(1, &["running", "stop", "force"])?;
    assert_eq!(container.status()?, "running");
    container.does("rm", &["-f"])?;
    container.hull("rm", &[]).output()?.refused(1, &["no such container", &container.id])?;
    container.hull("rm", &["-f"]).output()?.ok()?;
    let created = vm.create(&[], &["true"])?;
    created.does("rm", &[])?;
    created.hull("inspect", &[]).output()?.refused(1, &["no such", &created.id])?;
    Ok(())
}

fn rm_of_several_goes_on_after_an_error(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let (first, second) = (vm.create(&[], &["true"])?, vm.create(&[], &["true"])?);
    let finished = vm.hull(["rm", &first.id, "nosuchcontainer", &second.id]).output()?;
    let finished = finished.refused(1, &["nosuchcontainer"])?;
    assert_eq!(finished.lines(), [first.id.as_str(), second.id.as_str()]);
    Ok(())
}

fn commands_print_what_they_were_given(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("printed");
    let container = vm.create(&["--name", &name], &["sleep", "1000000"])?;
    for verb in [&["start"][..], &["kill"], &["start"], &["stop", "-t", "0"], &["rm"]] {
        let (given, printed) = (&name, vm.hull(verb).arg(&name).output()?.ok()?);
        assert_eq!(&printed.out(), given, "{verb:?}");
    }
    container.hull("inspect", &[]).output()?.code(1)?;
    Ok(())
}

fn references_by_name_and_prefix(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("found");
    let container = vm.create(&["--name", &name], &["true"])?;
    let id = |reference: &str| {
        let finished = vm.hull(["inspect", "-f", "{{.Id}}", reference]).output()?.ok()?;
        Ok::<_, anyhow::Error>(finished.out())
    };
    for reference in [&name, &container.id, &container.id[..12], &container.id[..20]] {
        assert_eq!(id(reference)?, container.id, "{reference}");
    }
    Ok(())
}

fn ps_lists_running_and_with_all_the_rest(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let (running, created) = (vm.idle(&[])?, vm.create(&[], &["true"])?);
    let ended = vm.start(&[], &["sh", "-c", "exit 3"])?;
    ended.wait()?;
    let list = |options: &[&str]| vm.hull(["ps"]).args(options).output()?.ok();
    let shown = list(&["-q"])?.lines();
    ensure!(shown.contains(&running.short().to_owned()), "{shown:?}");
    ensure!(!shown.contains(&created.short().to_owned()) && !shown.contains(&ended.short().to_owned()), "{shown:?}");
    let shown = list(&["-aq", "--no-trunc"])?.lines();
    ensure!([&running, &created, &ended].iter().all(|container| shown.contains(&container.id)), "{shown:?}");

    let table = list(&["-a"])?;
    let head = table.lines().first().cloned().unwrap_or_default();
    let columns = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    let places = columns.map(|column| head.find(column).with_context(|| format!("no {column} in {head}")));
    let places = places.into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(places.is_sorted(), "{head}");
    let row = |container: &Container<'_>| {
        let row = table.lines().into_iter().find(|line| line.starts_with(container.short()));
        row.with_context(|| table.describe())
    };
    ensure!(row(&running)?.contains("Up ") && row(&running)?.contains(IMAGE), "{}", table.describe());
    ensure!(row(&running)?.contains("\"sleep 1000000\""), "{}", table.describe());
    ensure!(row(&created)?.contains("Created"), "{}", table.describe());
    ensure!(row(&ended)?.contains("Exited (3)"), "{}", table.describe());
    Ok(())
}

fn ps_filters(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let (name, other) = (vm.name("filtered"), vm.name("unfiltered"));
    let running = vm.idle(&["--name", &name])?;
    let ended = vm.start(&["--name", &other], &["sh", "-c", "exit 93"])?;
    ended.wait()?;
    let filtered = |filters: &[&str]| {
        let filters = filters.iter().flat_map(|filter| ["--filter", filter]);
        Ok::<_, anyhow::Error>(vm.hull(["ps", "-aq", "--no-trunc"]).args(filters).output()?.ok()?.lines())
    };
    assert_eq!(filtered(&[&format!("name={name}"), "status=running"])?, [running.id.as_str()]);
    assert_eq!(filtered(&[&format!("name={name}"), "status=exited"])?, [""; 0]);
    assert_eq!(filtered(&["exited=93"])?, [ended.id.as_str()]);
    assert_eq!(filtered(&[&format!("id={}", running.short())])?, [running.id.as_str()]);
    let both = filtered(&[&format!("id={}", running.id), &format!("id={}", ended.id)])?;
    assert_eq!(both.len(), 2, "the same filter twice means either: {both:?}");
    ensure!(filtered(&[&format!("ancestor={IMAGE}")])?.contains(&ended.id));
    vm.hull(["ps", "--filter", "nosuch=1"]).output()?.refused(1, &["nosuch"])?;
    vm.hull(["ps", "--filter", "nosuch"]).output()?.refused(1, &["nosuch"])?;
    Ok(())
}

fn ps_formats(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("formatted");
    let container = vm.idle(&["--name", &name])?;
    let format = |format: &str| {
        let filter = format!("id={}", container.id);
        vm.hull(["ps", "--filter", &filter, "--format", format]).output()?.ok()
    };
    assert_eq!(format("{{.ID}} {{.Names}}|{{.Image}}")?.out(), format!("{} {name}|{IMAGE}", container.short()));
    ensure!(format("{{.Status}}")?.out().starts_with("Up "));
    assert_eq!(format("{{.State}}")?.out(), "running");
    assert_eq!(format("table {{.Names}}\\t{{.State}}")?.lines().len(), 2);
    let line = format("json")?.json()?;
    assert_eq!(line["Names"], name);
    assert_eq!(line["State"], "running");
    ensure!(line["ID"].as_str() == Some(container.short()), "{line}");
    ensure!(format("{{.NoSuch").is_err(), "a broken template was taken");
    Ok(())
}

fn inspect_tells_what_was_asked_and_what_became_of_it(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("inspected");
    let options =
        ["--name", &name, "-e", "A=1", "-w", "/tmp", "-u", "33", "-h", "box", "--memory", "64m", "--cpus", "0.5"];
    let more = ["--pids-limit", "99", "--read-only", "--cap-add", "SYS_TIME", "--cap-drop", "CHOWN", "--init"];
    let container = vm.start(&[&options[..], &more].concat(), &["sh", "-c", "exit 5"])?;
    container.wait()?;
    let document = container.inspect()?;
    let get = |pointer: &str| document.pointer(pointer).cloned().unwrap_or(Value::Null);
    for (pointer, expected) in [
        ("/Id", Value::from(container.id.as_str())),
        ("/Name", format!("/{name}").into()),
        ("/Path", "sh".into()),
        ("/Args", vec!["-c", "exit 5"].into()),
        ("/State/Status", "exited".into()),
        ("/State/Running", false.into()),
        ("/State/ExitCode", 5.into()),
        ("/State/OOMKilled", false.into()),
        ("/Config/Hostname", "box".into()),
        ("/Config/User", "33".into()),
        ("/Config/WorkingDir", "/tmp".into()),
        ("/Config/Image", IMAGE.into()),
        ("/Config/Cmd", vec!["sh", "-c", "exit 5"].into()),
        ("/HostConfig/Memory", (64 << 20).into()),
        ("/HostConfig/NanoCpus", 500_000_000.into()),
        ("/HostConfig/PidsLimit", 99.into()),
        ("/HostConfig/ReadonlyRootfs", true.into()),
        ("/HostConfig/Init", true.into()),
        ("/HostConfig/CapAdd", vec!["SYS_TIME"].into()),
        ("/HostConfig/CapDrop", vec!["CHOWN"].into()),
    ] {
        // Docker's spelling of a capability may bear its prefix.
        let found: Value = get(pointer).to_string().replace("CAP_", "").parse()?;
        ensure!(found == expected, "{pointer} is {found}, not {expected}, in {document:#}");
    }
    let times = ["/Created", "/State/StartedAt", "/State/FinishedAt"].map(get);
    let times = times.each_ref().map(|time| time.as_str().unwrap_or_default());
    ensure!(times.is_sorted() && times[0].starts_with("20") && times[2].ends_with('Z'), "{times:?}");
    Ok(())
}

fn inspect_formats(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&["-e", "A=1"])?;
    let format = |format: &str| Ok::<_, anyhow::Error>(container.does("inspect", &["-f", format])?.out());
    assert_eq!(format("{{.State.Status}}: {{.State.ExitCode}}")?, "running: 0");
    assert_eq!(format("{{json .Config.Cmd}}")?, r#"["sleep","1000000"]"#);
    ensure!(format("{{.Config.Env}}")?.contains("A=1"));
    container.hull("inspect", &["-f", "{{.NoSuchField}}"]).output()?.refused(1, &["NoSuchField"])?;
    Ok(())
}

fn attach_sees_output_and_exit_status(host: &Host) -> Result<()> {
    let script = "while [ ! -e /go ]; do sleep 0.05; done; echo out; echo err >&2; exit 8";
    let container = host.shared()?.start(&[], &["sh", "-c", script])?;
    let attached = container.hull("attach", &[]).spawn()?;
    // Only when both are attached is there something to see.
    let second = container.hull("attach", &["--no-stdin"]).spawn()?;
    container.sh_to_the_end("sleep 0.5; touch /go")?;
    for attached in [attached, second] {
        let finished = attached.finish()?.code(8)?;
        assert_eq!((finished.out().as_str(), finished.err_of_container().as_str()), ("out", "err"));
    }
    container.hull("attach", &[]).output()?.refused(1, &["cannot attach to a stopped container"])?;
    Ok(())
}

fn attach_sends_input(host: &Host) -> Result<()> {
    let container = host.shared()?.start(&["-i"], &["sh", "-c", "read line; echo \"got $line\"; exit 2"])?;
    let finished = container.hull("attach", &[]).stdin("this\n").output()?.code(2)?;
    assert_eq!(finished.out(), "got this");
    Ok(())
}

fn attach_forwards_signals(host: &Host) -> Result<()> {
    let container =
        host.shared()?.start(&[], &["sh", "-c", "trap 'exit 7' TERM; while :; do echo up; sleep 0.05; done"])?;
    let mut attached = container.hull("attach", &[]).spawn()?;
    attached.wait_for("up")?;
    attached.signal(rustix::process::Signal::TERM)?;
    attached.finish()?.code(7)?;
    Ok(())
}
