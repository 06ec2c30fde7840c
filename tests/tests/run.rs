//! `hull run`: what the container gets from the command line, and what the command line gets back.

use anyhow::{Context, Result, ensure};
use hull_tests::command::LIMIT;
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::{IMAGE, process, tests};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

tests![
    exit_status_is_that_of_the_command,
    exit_status_of_a_command_ended_by_a_signal,
    stdout_and_stderr_stay_apart,
    arguments_arrive_as_they_are,
    stdin_arrives_with_its_end,
    stdin_is_empty_unless_asked_for,
    every_byte_value_passes,
    a_long_output_is_whole,
    a_reader_that_leaves_early_ends_the_run,
    default_command_is_the_images,
    environment_from_flags,
    environment_from_a_file,
    working_directory,
    user_by_number_and_name,
    hostname,
    entrypoint,
    read_only_root,
    tmpfs,
    capabilities,
    privileged,
    ulimits,
    init_reaps_and_forwards,
    signals_to_the_command_line_reach_the_container,
    rm_removes_and_without_it_the_container_stays,
    detached_prints_the_id,
    two_runs_at_once_do_not_mix,
];

/// Docker's default capabilities as a mask.
const DEFAULT_CAPABILITIES: &str = "00000000a80425fb";

fn exit_status_is_that_of_the_command(host: &Host) -> Result<()> {
    for code in [0, 1, 42, 255] {
        host.shared()?.run(&[], &["sh", "-c", &format!("exit {code}")])?.code(code)?;
    }
    Ok(())
}

fn exit_status_of_a_command_ended_by_a_signal(host: &Host) -> Result<()> {
    // PID 1 of a container survives its own signals; with --init the command is not PID 1.
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        host.shared()?.run(&["--init"], &["sh", "-c", &format!("kill -{signal} $$; sleep 5")])?.code(code)?;
    }
    Ok(())
}

fn stdout_and_stderr_stay_apart(host: &Host) -> Result<()> {
    let finished = host.shared()?.run(&[], &["sh", "-c", "echo out; echo err >&2"])?.ok()?;
    assert_eq!(finished.stdout, b"out\n");
    assert_eq!(finished.err_of_container(), "err");
    Ok(())
}

fn arguments_arrive_as_they_are(host: &Host) -> Result<()> {
    let arguments = ["", "two words", "new\nline", "$HOME", "'\"\\", "--rm", "ümlaut €", "*"];
    let command = [&["sh", "-c", r#"for a; do printf '<%s>' "$a"; done"#, "sh"], &arguments[..]].concat();
    let expected: String = arguments.iter().map(|argument| format!("<{argument}>")).collect();
    assert_eq!(host.shared()?.run(&[], &command)?.ok()?.out(), expected);
    Ok(())
}

fn stdin_arrives_with_its_end(host: &Host) -> Result<()> {
    let command = host.shared()?.with_image("run", &["--rm", "-i"], &["sh", "-c", "cat; echo end"]);
    assert_eq!(command.stdin("one\ntwo").output()?.ok()?.out(), "one\ntwoend");
    let command = host.shared()?.with_image("run", &["--rm", "-i"], &["wc", "-c"]);
    assert_eq!(command.output()?.ok()?.out(), "0", "standard input that is at its end from the start");
    Ok(())
}

fn stdin_is_empty_unless_asked_for(host: &Host) -> Result<()> {
    let command = host.shared()?.with_image("run", &["--rm"], &["sh", "-c", "cat; echo end"]);
    assert_eq!(command.stdin("not for it").output()?.ok()?.out(), "end");
    Ok(())
}

fn every_byte_value_passes(host: &Host) -> Result<()> {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let command = host.shared()?.with_image("run", &["--rm", "-i"], &["cat"]);
    let finished = command.stdin(bytes.clone()).output()?.ok()?;
    ensure!(finished.stdout == bytes, "{} bytes came back, not the ones sent", finished.stdout.len());
    Ok(())
}

fn a_long_output_is_whole(host: &Host) -> Result<()> {
    // The container is gone long before the last of it is read.
    let finished = host.shared()?.run(&[], &["seq", "1", "200000"])?.ok()?;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    ensure!(finished.stdout == expected.as_bytes(), "{} of {} bytes", finished.stdout.len(), expected.len());
    Ok(())
}

fn a_reader_that_leaves_early_ends_the_run(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let command = ["sh", "-c", "echo first; while :; do echo more; done"];
    let name = vm.name("chatty");
    let mut hull = vm.with_image("run", &["--rm", "--name", &name], &command).into_inner();
    let mut child = hull.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut line = String::new();
    // The reader and with it the pipe are gone after this statement.
    BufReader::new(child.stdout.take().context("stdout")?).read_line(&mut line)?;
    assert_eq!(line, "first\n");
    let ended = process::wait_for_end(child.id(), LIMIT)?;
    child.kill()?;
    let mut said = String::new();
    child.stderr.take().context("stderr")?.read_to_string(&mut said)?;
    child.wait()?;
    // As with Docker, the container goes on; it would take a whole CPU from the tests that follow.
    vm.hull(["rm", "-f", &name]).output()?.ok()?;
    ensure!(ended && !said.contains("panicked"), "ended: {ended}, said: {said}");
    Ok(())
}

fn default_command_is_the_images(host: &Host) -> Result<()> {
    // The built-in image's is a shell, which reads commands.
    let command = host.shared()?.with_image("run", &["--rm", "-i"], &[]);
    assert_eq!(command.stdin("echo $((6 * 7))\n").output()?.ok()?.out(), "42");
    Ok(())
}

fn environment_from_flags(host: &Host) -> Result<()> {
    let options = ["--rm", "-e", "A=1", "--env", "B=two words=2", "-e", "FROM_HOST", "-e", "NOT_ON_HOST", "-h", "box"];
    let command = host.shared()?.with_image("run", &options, &["env"]).env("FROM_HOST", "hosts");
    let mut lines = command.env_remove("NOT_ON_HOST").output()?.ok()?.lines();
    lines.sort();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["A=1", "B=two words=2", "FROM_HOST=hosts", "HOME=/root", "HOSTNAME=box", path]);
    Ok(())
}

fn environment_from_a_file(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let file = vm.path().join(vm.name("env-file"));
    fs::write(&file, "# comment\n\nA=from file\nB=' quotes stay '\nOVERRIDDEN=no\nFROM_HOST\n")?;
    let file = file.to_string_lossy();
    let options = ["--rm", "--env-file", &file, "-e", "OVERRIDDEN=yes"];
    let script = r#"printf '%s|' "$A" "$B" "$OVERRIDDEN" "$FROM_HOST""#;
    let command = vm.with_image("run", &options, &["sh", "-c", script]).env("FROM_HOST", "hosts");
    assert_eq!(command.output()?.ok()?.out(), "from file|' quotes stay '|yes|hosts|");
    Ok(())
}

fn working_directory(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.run(&[], &["pwd"])?.ok()?.out(), "/");
    assert_eq!(vm.run(&["-w", "/etc"], &["pwd"])?.ok()?.out(), "/etc");
    assert_eq!(vm.run(&["--workdir", "/made/for/it"], &["pwd"])?.ok()?.out(), "/made/for/it");
    vm.run(&["-w", "relative"], &["pwd"])?.refused(125, &["relative"])?;
    Ok(())
}

fn user_by_number_and_name(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let ids = "echo $(id -u):$(id -g):$(id -G)";
    assert_eq!(vm.sh(&[], ids)?, "0:0:0 10", "root is in wheel, in the image's /etc/group");
    assert_eq!(vm.sh(&["-u", "1234"], ids)?, "1234:0:0");
    assert_eq!(vm.sh(&["-u", "1234:567"], ids)?, "1234:567:567");
    assert_eq!(vm.sh(&["--user", "www-data"], ids)?, "33:33:33");
    assert_eq!(vm.sh(&["-u", "www-data:users"], ids)?, "33:100:100");
    assert_eq!(vm.sh(&["-u", "www-data"], "echo $HOME")?, "/var/www");
    assert_eq!(vm.sh(&["-u", "1234"], "echo $HOME")?, "/", "a user that the image does not know");
    Ok(())
}

fn hostname(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.sh(&["-h", "box"], "hostname; uname -n")?, "box\nbox");
    let container = vm.idle(&[])?;
    assert_eq!(container.sh("hostname")?, container.short());
    Ok(())
}

fn entrypoint(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.run(&["--entrypoint", "echo"], &["a", "b"])?.ok()?.out(), "a b");
    assert_eq!(vm.run(&["--entrypoint", ""], &["echo", "c"])?.ok()?.out(), "c");
    assert_eq!(vm.run(&["--entrypoint", "/bin/pwd"], &[])?.ok()?.out(), "/", "the image's own command is dropped");
    Ok(())
}

fn read_only_root(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let finished = vm.run(&["--read-only"], &["touch", "/file"])?.code(1)?;
    ensure!(finished.err().contains("Read-only file system"), "{}", finished.describe());
    let script = "touch /scratch/file && touch /dev/shm/file && ls /scratch";
    assert_eq!(vm.sh(&["--read-only", "--tmpfs", "/scratch"], script)?, "file");
    Ok(())
}

fn tmpfs(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let script = "grep ' /scratch ' /proc/mounts | cut -d' ' -f3; stat -c %a /scratch
        dd if=/dev/zero of=/scratch/big bs=1k count=2048 2>/dev/null || echo full; stat -c %s /scratch/big";
    assert_eq!(vm.sh(&["--tmpfs", "/scratch:size=1m,mode=0700"], script)?, "tmpfs\n700\nfull\n1048576");
    let options = vm.sh(&["--tmpfs", "/scratch"], "grep ' /scratch ' /proc/mounts")?;
    for option in ["nosuid", "nodev", "noexec"] {
        ensure!(options.contains(option), "no {option} in {options}");
    }
    Ok(())
}

fn capabilities(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let mask = |options: &[&str]| vm.sh(options, "grep CapEff /proc/self/status | cut -f2");
    assert_eq!(mask(&[])?, DEFAULT_CAPABILITIES);
    assert_eq!(mask(&["--cap-drop", "ALL"])?, "0000000000000000");
    assert_eq!(mask(&["--cap-drop", "all", "--cap-add", "NET_BIND_SERVICE"])?, "0000000000000400");
    assert_eq!(mask(&["--cap-drop", "CAP_CHOWN"])?, "00000000a80425fa");
    assert_eq!(mask(&["--cap-add", "sys_admin"])?, "00000000a82425fb");
    assert_eq!(mask(&["-u", "1234"])?, "0000000000000000", "a user that is not root has none");
    let bounding = vm.sh(&["-u", "1234"], "grep CapBnd /proc/self/status | cut -f2")?;
    assert_eq!(bounding, DEFAULT_CAPABILITIES);
    vm.run(&["--cap-drop", "CHOWN"], &["chown", "1", "/tmp"])?.code(1)?;
    Ok(())
}

fn privileged(host: &Host) -> Result<()> {
    let script = "grep CapEff /proc/self/status | cut -f2
        mkdir /m && mount -t tmpfs tmpfs /m && echo mounts; echo 1 > /proc/sys/vm/drop_caches && echo writes";
    assert_eq!(host.shared()?.sh(&["--privileged"], script)?, "000001ffffffffff\nmounts\nwrites");
    Ok(())
}

fn ulimits(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    assert_eq!(vm.sh(&["--ulimit", "nofile=100:200"], "ulimit -Sn; ulimit -Hn")?, "100\n200");
    assert_eq!(vm.sh(&["--ulimit", "core=0"], "ulimit -c")?, "0");
    let options = ["--ulimit", "nproc=1000", "--ulimit", "stack=1048576:-1"];
    let limits = vm.sh(&options, "grep -E 'Max (processes|stack)' /proc/self/limits | tr -s ' '")?;
    assert_eq!(limits, "Max stack size 1048576 unlimited bytes \nMax processes 1000 1000 processes");
    Ok(())
}

fn init_reaps_and_forwards(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let script = "[ $$ != 1 ] && tr '\\0' ' ' < /proc/1/cmdline | grep -vc 'sh -c'";
    vm.sh(&["--init"], script)?;
    // An orphan that ends does not stay as a zombie.
    let orphan = "(sh -c 'true' &) ; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    assert_eq!(vm.sh(&["--init"], orphan)?, "0");
    let container =
        vm.start(&["--init"], &["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"])?;
    container.wait_for_log("ready")?;
    container.does("stop", &[])?;
    assert_eq!(container.wait()?, 7);
    Ok(())
}

fn signals_to_the_command_line_reach_the_container(host: &Host) -> Result<()> {
    let traps = "for s in TERM INT HUP USR1; do trap \"echo got $s; exit 7\" $s; done";
    let script = format!("{traps}; echo ready; while :; do sleep 0.1; done");
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP"), (Signal::USR1, "USR1")] {
        let mut run = host.shared()?.with_image("run", &["--rm"], &["sh", "-c", &script]).spawn()?;
        run.wait_for("ready\n")?;
        run.signal(signal)?;
        run.wait_for(&format!("got {name}\n"))?;
        run.finish()?.code(7)?;
    }
    Ok(())
}

fn rm_removes_and_without_it_the_container_stays(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let (gone, kept) = (vm.name("gone"), vm.name("kept"));
    vm.with_image("run", &["--rm", "--name", &gone], &["true"]).output()?.ok()?;
    vm.with_image("run", &["--name", &kept], &["true"]).output()?.ok()?;
    let names = vm.hull(["ps", "-a", "--format", "{{.Names}}"]).output()?.ok()?.lines();
    ensure!(names.contains(&kept) && !names.contains(&gone), "{names:?}");
    vm.hull(["rm", &kept]).output()?.ok()?;
    Ok(())
}

fn detached_prints_the_id(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let started = vm.with_image("run", &["-d"], &["sh", "-c", "echo hi; sleep 1000000"]).output()?.ok()?;
    assert_eq!(started.stdout.len(), 65, "{}", started.describe());
    let container = Container::new(vm, started.out())?;
    assert_eq!(container.status()?, "running");
    container.wait_for_log("hi")?;
    assert_eq!(container.inspect()?["Config"]["Image"], IMAGE);
    Ok(())
}

fn two_runs_at_once_do_not_mix(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let start = |text: &str| {
        let script = format!("for i in $(seq 200); do echo {text}; done");
        vm.with_image("run", &["--rm"], &["sh", "-c", &script]).spawn()
    };
    let runs = ["a", "b", "c", "d"].map(|text| (text, start(text)));
    for (text, run) in runs {
        assert_eq!(run?.finish()?.ok()?.stdout, format!("{text}\n").repeat(200).as_bytes());
    }
    Ok(())
}
