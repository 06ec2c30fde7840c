//! Some tests start this test program again in a role: `role` then does what the role says.

use super::*;
use crate::socket::LocalStream;
use crate::terminal::RawMode;
use crate::wait::{Interest, WaitSet};
use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

const ROLE: &str = "HULL_PLATFORM_TEST_ROLE";

/// Far beyond what a slow machine needs.
const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Spawn {
    Spawn::new("sh").arg("-c").arg(script)
}

/// What a program writes to its standard output.
fn output(spawn: Spawn) -> String {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut child = spawn.stdout(Stdio::Handle(OwnedFd::from(writer).into())).spawn().unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    text
}

#[test]
fn a_program_gets_its_arguments_and_environment() {
    let variables = vec![("A".into(), "x y".into())];
    let script = r#"printf "%s|%s|%s" "$0" "$A" "${HOME-unset}""#;
    assert_eq!(output(shell(script).arg("a b").environment(variables)), "a b|x y|unset");
}

#[test]
fn exits_are_told_and_shown() {
    let exit = shell("exit 3").spawn().unwrap().wait().unwrap();
    assert_eq!(exit, Exit { code: Some(3), signal: None });
    assert_eq!(exit.to_string(), "exit status 3");
    let exit = shell("kill -9 $$").spawn().unwrap().wait().unwrap();
    assert_eq!(exit, Exit { code: None, signal: Some(9) });
    assert_eq!(exit.to_string(), "signal 9 (SIGKILL)");
    assert!(!exit.success());
}

#[test]
fn what_cannot_be_executed_is_an_error_whatever_is_placed() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    // Numbers that the pipe that reports the error would have by itself.
    let place = |program: &std::path::Path| {
        let null = || Handle::from(fs::File::open("/dev/null").unwrap());
        (3..40).fold(Spawn::new(program), |spawn, number| spawn.inherit(null(), number)).spawn().unwrap_err().kind()
    };
    assert_eq!(place(&dir.path().join("missing")), io::ErrorKind::NotFound);
    assert_eq!(place(&plain), io::ErrorKind::PermissionDenied);
    assert_eq!(Spawn::new("hull-no-such-program").spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(Spawn::new("sh").arg("a\0b").spawn().unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn numbers_that_cannot_be_placed_are_refused() {
    let null = || Handle::from(fs::File::open("/dev/null").unwrap());
    for numbers in [&[2][..], &[-1], &[64], &[5, 5]] {
        let spawn = numbers.iter().fold(Spawn::new("true"), |spawn, number| spawn.inherit(null(), *number));
        assert_eq!(spawn.spawn().unwrap_err().kind(), io::ErrorKind::InvalidInput, "{numbers:?}");
    }
}

#[test]
fn placed_descriptors_do_not_overwrite_each_other() {
    let (mut one, first) = io::pipe().unwrap();
    let (mut other, second) = io::pipe().unwrap();
    // Each is placed where the other is now.
    let (low, high) = (first.as_raw_fd(), second.as_raw_fd());
    assert!(high < 64, "few descriptors are open in this test");
    let script = format!("echo one >/proc/self/fd/{high}; echo other >/proc/self/fd/{low}");
    let spawn = shell(&script).inherit(OwnedFd::from(first), high).inherit(OwnedFd::from(second), low);
    assert!(spawn.spawn().unwrap().wait().unwrap().success());
    let mut text = String::new();
    one.read_to_string(&mut text).unwrap();
    other.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\nother\n");
}

#[test]
fn a_child_has_no_descriptor_but_those_meant_for_it() {
    // As if this process had inherited it from a careless parent.
    let number = fcntl(io::stderr(), FcntlArg::F_DUPFD(40)).unwrap();
    let null = Handle::from(fs::File::open("/dev/null").unwrap());
    let text = output(shell("ls /proc/self/fd").inherit(null, 9));
    nix::unistd::close(number).unwrap();
    let mut numbers: Vec<_> = text.lines().collect();
    numbers.sort_unstable();
    // 3 is the directory that `ls` reads.
    assert_eq!(numbers, ["0", "1", "2", "3", "9"]);
}

#[test]
fn a_child_starts_with_signals_as_they_are_by_default() {
    let _usr2 = crate::signals::subscribe(&[crate::signals::LinuxSignal::USR2]).unwrap();
    let exit = shell("kill -USR2 $$; exit 0").spawn().unwrap().wait().unwrap();
    assert_eq!(exit.to_string(), "signal 12 (SIGUSR2)");
    // Programs in Rust ignore SIGPIPE; others must not inherit that.
    let status = output(shell("cat /proc/self/status"));
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!((mask("SigBlk:"), mask("SigIgn:") & 1 << (libc::SIGPIPE - 1), mask("SigCgt:")), (0, 0, 0), "{status}");
}

#[test]
fn a_new_session_is_led_by_the_child() {
    let session = |text: String| -> (i32, i32) {
        let rest = text.rsplit_once(") ").unwrap().1;
        (text.split(' ').next().unwrap().parse().unwrap(), rest.split(' ').nth(3).unwrap().parse().unwrap())
    };
    let (pid, its_session) = session(output(shell("read line </proc/self/stat; echo $line").new_session()));
    assert_eq!(pid, its_session);
    let (pid, its_session) = session(output(shell("read line </proc/self/stat; echo $line")));
    assert_ne!(pid, its_session);
}

#[test]
fn a_child_is_killed_while_another_thread_waits() {
    let (ours, theirs) = LocalStream::pair().unwrap();
    let mut child = Spawn::new("cat").stdin(Stdio::Handle(theirs.into())).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    let killer = child.killer().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| child.wait().unwrap());
        killer.kill().unwrap();
        assert_eq!(waiter.join().unwrap().signal, Some(9));
    });
    assert_eq!(child.try_wait().unwrap().unwrap().signal, Some(9));
    killer.kill().unwrap();
    child.kill().unwrap();
    drop(ours);
}

/// Does nothing unless this program was started in a role.
#[test]
fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("takes descriptors") => take_descriptors(),
        Ok("parent") => be_parent(),
        Ok("raw") => be_raw(),
        _ => {}
    }
}

/// This program in a role; its standard error is this test's.
fn start(role: &str) -> Spawn {
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.push((ROLE.into(), role.into()));
    Spawn::new(current_exe().unwrap())
        .args(["--exact", "process::tests::role", "--nocapture"])
        .environment(environment)
        .stderr(Stdio::Inherit)
}

fn take_descriptors() {
    let mut file = fs::File::from(inherited(5).unwrap());
    for refused in [5, 6, 2, -1] {
        assert_eq!(inherited(refused).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    file.write_all(b"took it").unwrap();
    // What it opened itself was not handed over.
    assert!(inherited(file.try_clone().unwrap().as_raw_fd()).is_err());
}

#[test]
fn a_placed_descriptor_is_taken_once() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut child = start("takes descriptors").inherit(OwnedFd::from(writer), 5).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "took it");
}

/// Starts a child that would stay for ever, and waits to be killed.
fn be_parent() {
    let alive = inherited(5).unwrap();
    let mut started = fs::File::from(inherited(6).unwrap());
    let _child = Spawn::new("sleep").arg("1000").inherit(alive, 5).die_with_parent().spawn().unwrap();
    started.write_all(b"x").unwrap();
    drop(started);
    std::thread::sleep(Duration::from_secs(1000));
}

#[test]
fn a_child_dies_when_its_parent_is_killed() {
    let (alive, theirs) = io::pipe().unwrap();
    let (mut started, ready) = io::pipe().unwrap();
    let spawn = start("parent").inherit(OwnedFd::from(theirs), 5).inherit(OwnedFd::from(ready), 6);
    let mut parent = spawn.spawn().unwrap();
    let mut byte = [0];
    started.read_exact(&mut byte).unwrap();
    let set = WaitSet::new().unwrap();
    set.add(&alive, 1, Interest::READ).unwrap();
    assert_eq!(set.wait(Some(Duration::ZERO)).unwrap(), []);
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The grandchild alone held the pipe now.
    let ready = set.wait(Some(LONG)).unwrap();
    assert!(ready.iter().any(|ready| ready.hangup), "the grandchild lives");
}

/// Enters raw mode twice, leaves it once, says so, and waits to be killed.
fn be_raw() {
    let mut report = fs::File::from(inherited(5).unwrap());
    let raw = RawMode::enter().unwrap();
    drop(RawMode::enter().unwrap());
    let (rows, columns) = crate::terminal::size().unwrap();
    report.write_all(format!("{rows}x{columns}\n").as_bytes()).unwrap();
    let mut line = [0];
    io::stdin().read_exact(&mut line).unwrap();
    drop(raw);
    report.write_all(b"left\n").unwrap();
    std::thread::sleep(Duration::from_secs(1000));
}

#[test]
fn raw_mode_ends_when_it_is_left_or_its_process_is_ended() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    for leave in [true, false] {
        let pty = openpty(&Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }, None).unwrap();
        let echoes = || tcgetattr(&pty.master).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ISIG);
        assert!(echoes());
        let (reader, writer) = io::pipe().unwrap();
        let terminal = Handle::from(pty.slave.try_clone().unwrap());
        let spawn = start("raw").stdin(Stdio::Handle(terminal)).inherit(OwnedFd::from(writer), 5);
        let mut child = spawn.spawn().unwrap();
        let mut lines = io::BufRead::lines(io::BufReader::new(reader));
        assert_eq!(lines.next().unwrap().unwrap(), "33x77");
        assert!(!echoes());
        if leave {
            fs::File::from(pty.master.try_clone().unwrap()).write_all(b"q").unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "left");
            assert!(echoes());
        }
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal, Some(15));
        assert!(echoes());
    }
}
