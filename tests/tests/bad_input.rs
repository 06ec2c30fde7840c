//! What a person gets wrong: one clear line, Docker's exit status, and nothing made.

use anyhow::{Result, ensure};
use hull_tests::host::Host;
use hull_tests::{IMAGE, tests};
use std::fs;

tests![
    unknown_image,
    unknown_command_and_flag,
    command_not_found,
    command_not_executable,
    unknown_user,
    bad_values,
    name_in_use,
    bad_name,
    second_rm,
    unknown_container,
    bad_env_file,
    unknown_backend,
    failed_start_leaves_a_created_container,
    missing_arguments,
];

fn unknown_image(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for image in ["nosuchimage", "hull/nosuchimage", "example.test/team/image:1.0"] {
        let finished = sandbox.hull(["run", "--rm", "--pull", "never", image, "true"]).output()?;
        finished.refused(125, &[image, "image"])?;
    }
    for image in ["", "UPPER", "a b", "../../etc/passwd"] {
        let finished = sandbox.hull(["run", "--rm", image, "true"]).output()?;
        finished.refused(125, &["invalid reference"])?;
    }
    sandbox.require_nothing_left()
}

fn unknown_command_and_flag(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let finished = sandbox.hull(["nosuchcommand"]).output()?;
    ensure!(finished.status.code() != Some(0) && finished.err().contains("nosuchcommand"), "{}", finished.describe());
    sandbox.hull(["run", "--nosuchflag", IMAGE]).output()?.refused(125, &["--nosuchflag"])?;
    sandbox.hull(["ps", "--nosuchflag"]).output()?.refused(125, &["--nosuchflag"])?;
    Ok(())
}

fn command_not_found(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    vm.run(&[], &["nonexistent"])?.refused(127, &["nonexistent", "PATH"])?;
    vm.run(&[], &["/nonexistent/program"])?.refused(127, &["/nonexistent/program"])?;
    vm.run(&["--entrypoint", "nonexistent"], &[])?.refused(127, &["nonexistent", "PATH"])?;
    vm.run(&["--init"], &["nonexistent"])?.refused(127, &["nonexistent"])?;
    // The shell's own, not ours.
    vm.run(&[], &["sh", "-c", "nonexistent"])?.code(127)?;
    Ok(())
}

fn command_not_executable(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    vm.run(&[], &["/etc/passwd"])?.refused(126, &["/etc/passwd", "permission denied"])?;
    vm.run(&[], &["/etc"])?.refused(126, &["/etc"])?;
    vm.run(&["--entrypoint", "/etc/passwd"], &[])?.refused(126, &["/etc/passwd"])?;
    Ok(())
}

fn unknown_user(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    vm.run(&["-u", "nosuchuser"], &["true"])?.refused(125, &["nosuchuser"])?;
    vm.run(&["-u", "root:nosuchgroup"], &["true"])?.refused(125, &["nosuchgroup"])?;
    vm.run(&["-u", "4294967296"], &["true"])?.refused(125, &["4294967296"])?;
    Ok(())
}

fn bad_values(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for (flag, value) in [
        ("--memory", "much"),
        ("--memory", "-1"),
        ("--memory", "1q"),
        ("--memory", "1"),
        ("--memory", "99999999999999999999"),
        ("--vm-memory", "1k"),
        ("--vm-memory", "lots"),
        ("--cpus", "none"),
        ("--cpus", "-1"),
        ("--vm-cpus", "0"),
        ("--vm-cpus", "1000"),
        ("--pids-limit", "few"),
        ("--ulimit", "nofile"),
        ("--ulimit", "nosuch=1"),
        ("--ulimit", "nofile=2:1"),
        ("--cap-add", "NOSUCH"),
        ("--cap-drop", "NOSUCH"),
        ("--stop-signal", "NOSUCH"),
        ("--stop-timeout", "soon"),
        ("--tmpfs", "relative"),
        ("--tmpfs", "/x:nosuch=1"),
        ("-e", "=1"),
        ("-w", "relative"),
        ("-h", "a b"),
        ("--vm", ".."),
    ] {
        let finished = sandbox.run(&[flag, value], &["true"])?;
        finished
            .refused(125, &[if value == "1k" { "1 MiB" } else { value }])
            .map_err(|error| error.context(format!("{flag} {value}")))?;
        ensure!(sandbox.processes().is_empty(), "{flag} {value} started something");
    }
    sandbox.require_nothing_left()
}

fn name_in_use(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("taken");
    let container = vm.create(&["--name", &name], &["true"])?;
    for verb in ["create", "run"] {
        let finished = vm.with_image(verb, &["--name", &name], &["true"]).output()?;
        finished.refused(if verb == "run" { 125 } else { 1 }, &[&name, "in use", container.short()])?;
    }
    container.does("rm", &[])?;
    vm.create(&["--name", &name], &["true"])?.does("rm", &[])?;
    Ok(())
}

fn bad_name(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for name in ["../x", "a/b", "-a", "", "a b", "x"] {
        let finished = sandbox.run(&[&format!("--name={name}")], &["true"])?;
        ensure!(finished.status.code() == Some(125) || name.is_empty(), "{}", finished.describe());
    }
    sandbox.require_nothing_left()
}

fn second_rm(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("once");
    vm.create(&["--name", &name], &["true"])?.does("rm", &[])?;
    vm.hull(["rm", &name]).output()?.refused(1, &["no such container", &name])?;
    Ok(())
}

fn unknown_container(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    for verb in ["start", "stop", "kill", "wait", "rm", "logs", "attach", "inspect"] {
        vm.hull([verb, "nosuchcontainer"]).output()?.refused(1, &["no such", "nosuchcontainer"])?;
        vm.hull([verb, "../../etc"]).output()?.refused(1, &["../../etc"])?;
    }
    Ok(())
}

fn bad_env_file(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    sandbox.run(&["--env-file", "/nonexistent/file"], &["true"])?.refused(125, &["/nonexistent/file"])?;
    let file = sandbox.path().join("env");
    fs::write(&file, "two words=1\n")?;
    sandbox.run(&["--env-file", &file.to_string_lossy()], &["true"])?.refused(125, &["two words"])?;
    Ok(())
}

fn unknown_backend(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let finished = sandbox.hull(["run", "--rm", "--backend", "nosuch", IMAGE, "true"]).output()?;
    finished.refused(125, &["nosuch", &host.backend])?;
    sandbox.require_nothing_left()
}

fn failed_start_leaves_a_created_container(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("unstartable");
    vm.with_image("run", &["--name", &name], &["nonexistent"]).output()?.code(127)?;
    let state = vm.hull(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", &name]).output()?.ok()?;
    assert_eq!(state.out(), "created 127");
    vm.hull(["start", &name]).output()?.refused(1, &["nonexistent"])?;
    vm.hull(["rm", &name]).output()?.ok()?;
    // With --rm, and in the background, nothing stays either.
    let name = vm.name("unstartable");
    vm.with_image("run", &["-d", "--rm", "--name", &name], &["nonexistent"]).output()?.code(127)?;
    vm.hull(["inspect", &name]).output()?.code(1)?;
    Ok(())
}

fn missing_arguments(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    for args in [&["run"][..], &["exec", "x"], &["stop"], &["rm"], &["logs"], &["inspect"], &["wait"], &["vm", "stop"]]
    {
        let finished = sandbox.hull(args).output()?;
        ensure!(finished.status.code() != Some(0), "{}", finished.describe());
        ensure!(finished.err().contains("--help"), "{}", finished.describe());
    }
    Ok(())
}
