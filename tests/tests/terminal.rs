//! A container on a terminal: it behaves as if the program ran right there, and the terminal is as before afterwards
//! ([`Terminal::finish`] checks that at every end).

use anyhow::{Result, ensure};
use hull_tests::command::Finished;
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::process::{self, Role};
use hull_tests::terminal::{SIZE, Terminal};
use hull_tests::tests;
use rustix::process::Signal;

tests![
    size_is_there_from_the_start,
    size_changes_arrive,
    all_three_streams_are_a_terminal,
    raw_mode_leaves_echo_to_the_container,
    control_c_interrupts_the_program_and_not_hull,
    control_d_ends_input,
    every_exit_status_comes_back,
    detach_keys_leave_the_container_running,
    other_keys_after_the_first_detach_key_pass,
    exec_on_a_terminal,
    restored_when_the_container_is_killed,
    restored_when_the_shim_is_killed,
    restored_when_hull_is_told_to_end,
    interactive_without_a_terminal_is_refused,
    terminal_for_a_command_without_one,
];

/// Prints when it is ready and whenever it is told that the size changed, and ends at Ctrl-C.
const WATCH_SIZE: &str = "trap 'stty size' WINCH; trap 'exit 9' INT; stty size; while :; do sleep 0.05; done";

const CONTROL_C: &str = "\x03";
const CONTROL_D: &str = "\x04";
const CONTROL_P: &str = "\x10";
const DETACH: &str = "\x10\x11";

fn on_terminal(host: &Host, command: &[&str]) -> Result<Terminal> {
    Terminal::start(host.shared()?.with_image("run", &["--rm", "-it"], command))
}

fn size_is_there_from_the_start(host: &Host) -> Result<()> {
    let mut terminal = on_terminal(host, &["stty", "size"])?;
    terminal.wait_for(&format!("{} {}", SIZE.0, SIZE.1))?;
    assert_eq!(terminal.finish()?, 0);
    Ok(())
}

fn size_changes_arrive(host: &Host) -> Result<()> {
    let mut terminal = on_terminal(host, &["sh", "-c", WATCH_SIZE])?;
    terminal.wait_for(&format!("{} {}", SIZE.0, SIZE.1))?;
    for size in [(40, 120), (10, 20)] {
        terminal.resize(size)?;
        terminal.wait_for(&format!("{} {}", size.0, size.1))?;
    }
    terminal.type_keys(CONTROL_C)?;
    assert_eq!(terminal.finish()?, 9);
    Ok(())
}

fn all_three_streams_are_a_terminal(host: &Host) -> Result<()> {
    let script = "test -t 0 && test -t 1 && test -t 2 && echo $TERM to stderr >&2";
    let mut terminal = on_terminal(host, &["sh", "-c", script])?;
    terminal.wait_for("xterm to stderr")?;
    assert_eq!(terminal.finish()?, 0);
    Ok(())
}

fn raw_mode_leaves_echo_to_the_container(host: &Host) -> Result<()> {
    let script = "stty -echo; echo ready; read line; echo \"<$line>\"; stty echo; echo again; read line";
    let mut terminal = on_terminal(host, &["sh", "-c", script])?;
    terminal.wait_for("ready\r\n")?;
    terminal.type_keys("secret\r")?;
    terminal.wait_for("<secret>\r\n")?;
    ensure!(terminal.screen().matches("secret").count() == 1, "echoed: {:?}", terminal.screen());
    terminal.wait_for("again\r\n")?;
    terminal.type_keys("shown\r")?;
    terminal.wait_for("shown\r\n")?;
    assert_eq!(terminal.finish()?, 0);
    ensure!(terminal.screen().matches("shown").count() == 1, "echoed twice: {:?}", terminal.screen());
    Ok(())
}

fn control_c_interrupts_the_program_and_not_hull(host: &Host) -> Result<()> {
    // The child is there, and can be interrupted, when it says so.
    let script = "trap 'echo interrupted' INT; (trap - INT; echo ready; exec sleep 1000000); echo after";
    let mut terminal = on_terminal(host, &["sh", "-c", script])?;
    terminal.wait_for("ready")?;
    terminal.type_keys(CONTROL_C)?;
    terminal.wait_for("interrupted")?;
    terminal.wait_for("after")?;
    assert_eq!(terminal.finish()?, 0);
    Ok(())
}

fn control_d_ends_input(host: &Host) -> Result<()> {
    let mut terminal = on_terminal(host, &["sh", "-c", "echo ready; cat; echo end of input"])?;
    terminal.wait_for("ready")?;
    terminal.type_keys(CONTROL_D)?;
    terminal.wait_for("end of input")?;
    assert_eq!(terminal.finish()?, 0);
    Ok(())
}

fn every_exit_status_comes_back(host: &Host) -> Result<()> {
    let mut terminal = on_terminal(host, &[])?;
    terminal.type_keys("echo $((6 * 7))\r")?;
    terminal.wait_for("42\r\n")?;
    terminal.type_keys("exit 33\r")?;
    assert_eq!(terminal.finish()?, 33);
    assert_eq!(on_terminal(host, &["nonexistent"])?.finish()?, 127);
    Ok(())
}

fn detach_keys_leave_the_container_running(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("detached");
    let script = "echo ready; while read line; do echo \"got $line\"; done; exit 5";
    let run = vm.with_image("run", &["-it", "--name", &name], &["sh", "-c", script]);
    let mut terminal = Terminal::start(run)?;
    terminal.wait_for("ready")?;
    terminal.type_keys(DETACH)?;
    assert_eq!(terminal.finish()?, 0);
    let id = vm.hull(["ps", "-q", "--no-trunc", "--filter", &format!("name={name}")]).output()?.ok()?.out();
    let container = Container::new(vm, id)?;
    assert_eq!(container.status()?, "running");

    let mut terminal = Terminal::start(container.hull("attach", &[]))?;
    terminal.type_keys("back\r")?;
    terminal.wait_for("got back")?;
    terminal.type_keys(CONTROL_D)?;
    assert_eq!(terminal.finish()?, 5, "attach ends with the container's exit status");
    Ok(())
}

fn other_keys_after_the_first_detach_key_pass(host: &Host) -> Result<()> {
    let script = "stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null | od -An -tx1";
    let mut terminal = on_terminal(host, &["sh", "-c", script])?;
    terminal.wait_for("ready")?;
    terminal.type_keys(&format!("{CONTROL_P}x{CONTROL_C}"))?;
    terminal.wait_for("10 78 03")?;
    assert_eq!(terminal.finish()?, 0);
    Ok(())
}

fn exec_on_a_terminal(host: &Host) -> Result<()> {
    let container = host.shared()?.idle(&[])?;
    let mut terminal = Terminal::start(container.exec(&["-it"], &["sh", "-c", WATCH_SIZE]))?;
    terminal.wait_for(&format!("{} {}", SIZE.0, SIZE.1))?;
    terminal.resize((11, 22))?;
    terminal.wait_for("11 22")?;
    terminal.type_keys(CONTROL_C)?;
    assert_eq!(terminal.finish()?, 9);
    let mut terminal = Terminal::start(container.exec(&["-it"], &["sh"]))?;
    terminal.type_keys("exit 44\r")?;
    assert_eq!(terminal.finish()?, 44);
    Ok(())
}

fn restored_when_the_container_is_killed(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let name = vm.name("killed");
    let run = vm.with_image("run", &["--rm", "-it", "--name", &name], &["sh", "-c", "echo ready; sleep 1000000"]);
    let mut terminal = Terminal::start(run)?;
    terminal.wait_for("ready")?;
    vm.hull(["kill", &name]).output()?.ok()?;
    assert_eq!(terminal.finish()?, 137);
    Ok(())
}

fn restored_when_the_shim_is_killed(host: &Host) -> Result<()> {
    let sandbox = host.fresh()?;
    let mut terminal =
        Terminal::start(sandbox.with_image("run", &["-it"], &["sh", "-c", "echo ready; sleep 1000000"]))?;
    terminal.wait_for("ready")?;
    let processes = sandbox.processes();
    for shim in processes.iter().filter(|process| process.role == Role::Shim) {
        process::signal(shim.pid, Signal::KILL)?;
    }
    ensure!(terminal.finish()? != 0, "the container did not end well");
    Ok(())
}

fn restored_when_hull_is_told_to_end(host: &Host) -> Result<()> {
    // With a terminal, signals are not passed on: what the person types there reaches the container as it is.
    let vm = host.shared()?;
    let name = vm.name("told");
    let run = vm.with_image("run", &["--rm", "-it", "--name", &name], &["sh", "-c", "echo ready; sleep 1000000"]);
    let mut terminal = Terminal::start(run)?;
    terminal.wait_for("ready")?;
    process::signal(terminal.pid(), Signal::TERM)?;
    assert_eq!(terminal.finish()?, 143);
    let state = vm.hull(["inspect", "-f", "{{.State.Status}}", &name]).output()?.ok()?;
    assert_eq!(state.out(), "running");
    vm.hull(["rm", "-f", &name]).output()?.ok()?;
    Ok(())
}

fn interactive_without_a_terminal_is_refused(host: &Host) -> Result<()> {
    let vm = host.shared()?;
    let finished: Finished = vm.run(&["-it"], &["true"])?;
    finished.refused(1, &["input device is not a TTY"])?;
    vm.idle(&[])?.exec(&["-it"], &["true"]).output()?.refused(1, &["input device is not a TTY"])?;
    Ok(())
}

fn terminal_for_a_command_without_one(host: &Host) -> Result<()> {
    let finished = host.shared()?.run(&["-t"], &["sh", "-c", "test -t 1 && echo out; echo err >&2"])?.ok()?;
    assert_eq!(finished.stdout, b"out\r\nerr\r\n");
    Ok(())
}
