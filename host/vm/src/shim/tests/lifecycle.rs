//! A container in a VM of its own: start, end, and everything that can die.

use super::rig::*;
use crate::control::{Disk, MachineEnd, Report};
use hull_protocol::agent::{ErrorCode, Event, Extent, GuestFrame, Request as Ask};
use hull_protocol::shim::{Reply, Request, ShimErrorCode};
use hull_state::Status;
use std::io::Write;
use std::time::Duration;

#[test]
fn a_container_runs_and_everything_is_recorded_and_cleared_away() {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (start, mut streams) = rig.run_container();
    assert_eq!(start.container, id);
    client.started();
    let running = state(&dir);
    assert_eq!((running.status, running.pid, running.vm), (Status::Running, Some(42), Some(rig.shim.vm.id().clone())));
    assert!(running.started_at.is_some());
    // The image's two files lie in one range, one behind the other.
    let image = start.root.image;
    let pieces = [(image.offset, 8192), (image.offset + 8192, 4096)];
    let [metadata, layer] = pieces.map(|(offset, length)| (Disk::Images, Extent { offset, length }));
    assert_eq!(rig.vmm.mapped(), [metadata, layer, (Disk::Data, start.root.data)]);
    assert_eq!(image.length, 12288);

    streams.stdout.take().unwrap().write_all(b"out").unwrap();
    streams.stderr.take().unwrap().write_all(b"err").unwrap();
    rig.exited(first(&id), 3);
    let seen = client.session();
    assert_eq!((seen.stdout.as_slice(), seen.stderr.as_slice(), seen.code()), (&b"out"[..], &b"err"[..], 3));
    // The client has heard of the end, so nothing is left to be done.
    let ended = state(&dir);
    assert_eq!((ended.status, ended.exit_code, ended.vm, ended.error), (Status::Exited, 3, None, None));
    assert!(ended.finished_at.is_some());
    assert!(!rig.vm_is_there());
    drop(client);
    rig.join();
}

#[test]
fn a_container_that_is_to_be_removed_is_gone_before_its_client_hears() {
    let mut rig = Rig::up(OWN);
    let (dir, mut plan) = rig.container(1);
    plan.auto_remove = true;
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, streams) = rig.run_container();
    client.started();
    drop(streams);
    rig.exited(first(&id), 0);
    assert_eq!(client.session().code(), 0);
    assert!(!dir.path().exists() && !rig.vm_is_there());
    drop(client);
    rig.join();
}

#[test]
fn requests_wait_for_the_guest_to_come_up() {
    let mut rig = Rig::silent(OWN);
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let starting = rig.client(Request::Start(Box::new(plan), None));
    let waiting = loop {
        // The container is known from some instant after the request on.
        if rig.shim.roster.get(&id).is_some() {
            break rig.client(Request::Wait(id.clone()));
        }
        std::thread::yield_now();
    };
    rig.hello();
    let (_, streams) = rig.run_container();
    starting.started();
    drop(streams);
    rig.exited(first(&id), 9);
    assert_eq!(waiting.reply(), Reply::Ended { code: 9 });
    drop((starting, waiting));
    rig.join();
}

#[test]
fn a_command_that_does_not_exist_is_recorded_as_docker_does() {
    for (code, expected, exit_code) in [
        (ErrorCode::CommandNotFound, ShimErrorCode::CommandNotFound, 127),
        (ErrorCode::CommandNotExecutable, ShimErrorCode::CommandNotExecutable, 126),
        (ErrorCode::UnknownUser, ShimErrorCode::Internal, 125),
    ] {
        let mut rig = Rig::up(OWN);
        let (dir, plan) = rig.container(1);
        let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
        rig.refuse(code, "exec: \"nope\": not\nfound");
        let Reply::Error(error) = client.reply() else { panic!("it started") };
        assert_eq!((error.code, error.message.as_str()), (expected, "exec: \"nope\": not\u{fffd}found"));
        let recorded = state(&dir);
        assert_eq!((recorded.status, recorded.exit_code, recorded.vm), (Status::Created, exit_code, None));
        assert_eq!(recorded.error.as_deref(), Some("exec: \"nope\": not\u{fffd}found"));
        assert!(!rig.vm_is_there(), "its VM goes with it");
        drop(client);
        rig.join();
    }
}

#[test]
fn a_missing_image_is_said_by_name() {
    let mut rig = Rig::up(OWN);
    let (_, mut plan) = rig.container(1);
    plan.image[1] = "/nowhere/rootfs.erofs".into();
    let Reply::Error(error) = rig.ask(Request::Start(Box::new(plan), None)) else { panic!("it started") };
    assert!(error.message.starts_with("cannot open /nowhere/rootfs.erofs: No such file"), "{}", error.message);
    rig.join();
}

#[test]
fn a_vm_of_its_own_takes_no_second_container() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (_, other) = rig.container(2);
    let first = rig.client(Request::Start(Box::new(plan), None));
    let _streams = rig.run_container();
    first.started();
    let Reply::Error(error) = rig.ask(Request::Start(Box::new(other), None)) else { panic!("it started") };
    assert_eq!(error.message, "this VM belongs to another container");
}

#[test]
fn a_vm_for_which_no_container_comes_ends() {
    let limits = crate::shim::supervisor::Limits { first_container: Duration::from_millis(20), ..LIMITS };
    let mut rig = Rig::up(Setting { limits, ..OWN });
    rig.join();
    assert!(!rig.vm_is_there());
}

#[test]
fn a_guest_that_never_speaks_is_given_up() {
    let limits = crate::shim::supervisor::Limits { boot: Duration::from_secs(2), ..LIMITS };
    let mut rig = Rig::silent(Setting { limits, ..OWN });
    let (dir, plan) = rig.container(1);
    let Reply::Error(error) = rig.ask(Request::Start(Box::new(plan), None)) else { panic!("it started") };
    assert_eq!((error.code, error.message.as_str()), (ShimErrorCode::VmGone, "the guest did not answer within 2 s"));
    assert_eq!(state(&dir).error.as_deref(), Some("the guest did not answer within 2 s"));
    rig.join();
}

#[test]
fn a_start_that_fails_with_the_vm_says_what_the_vm_died_of() {
    for _ in 0..20 {
        let mut rig = Rig::up(OWN);
        std::fs::write(rig.shim.vm.console_path(), "last words").unwrap();
        let (dir, plan) = rig.container(1);
        let client = rig.client(Request::Start(Box::new(plan), None));
        rig.asked();
        rig.say(&GuestFrame::Event(Event::Fatal { message: "out of memory".into() }));
        let Reply::Error(error) = client.reply() else { panic!("it started") };
        let logs = dir.path().join("vm-*.log*");
        assert_eq!(error.message, format!("the guest's agent said: out of memory; see {}", logs.display()));
        assert_eq!(std::fs::read_to_string(dir.path().join("vm-console.log")).unwrap(), "last words");
        drop(client);
        rig.join();
    }
}

/// Starts a container, lets something die, and says why the client and the record think that it ended.
fn reason_of_death(setting: Setting, die: impl FnOnce(&mut Rig)) -> String {
    let mut rig = Rig::up(setting);
    let (dir, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, streams) = rig.run_container();
    client.started();
    die(&mut rig);
    drop(streams);
    let seen = client.session();
    let ended = state(&dir);
    assert_eq!((seen.code(), ended.exit_code, ended.status), (137, 137, Status::Exited));
    assert_eq!(ended.error.as_deref(), Some(seen.reason()));
    drop(client);
    rig.join();
    assert!(!rig.vm_is_there());
    assert!(rig.pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()), "all are dead");
    seen.reason().to_owned()
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

const WITH_CHILDREN: Setting = Setting { children: &["vmm", "qemu"], ..OWN };

#[test]
fn whichever_process_dies_the_others_go_and_the_reason_is_kept() {
    let vmm = reason_of_death(WITH_CHILDREN, |rig| {
        rig.vmm.dies();
        rig.guest_dies();
        kill(rig.pids[0]);
    });
    assert_eq!(vmm, "the vmm died: signal 9 (SIGKILL)");
    let qemu = reason_of_death(WITH_CHILDREN, |rig| {
        kill(rig.pids[1]);
        rig.guest_dies();
    });
    assert_eq!(qemu, "QEMU died: signal 9 (SIGKILL)");
}

#[test]
fn the_guests_own_end_is_told_from_a_failed_machine() {
    let ended = reason_of_death(OWN, |rig| rig.vmm.say(&Report::Ended(MachineEnd::Ended)));
    assert_eq!(ended, "the guest ended by itself");
    let failed = reason_of_death(OWN, |rig| rig.vmm.say(&Report::Ended(MachineEnd::Failed("no \x1bluck".into()))));
    assert_eq!(failed, "the machine failed: no \u{fffd}luck");
    let closed = reason_of_death(OWN, Rig::guest_dies);
    assert_eq!(closed, "the guest's agent closed its connection");
    let fatal = Event::Fatal { message: "out of memory".into() };
    let said = reason_of_death(WITH_CHILDREN, |rig| rig.say(&GuestFrame::Event(fatal)));
    assert_eq!(said, "the guest's agent said: out of memory");
}

#[test]
fn the_memory_limit_is_told() {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, streams) = rig.run_container();
    client.started();
    drop(streams);
    rig.say(&GuestFrame::Event(Event::Exited { process: first(&id), code: 137, oom_killed: true }));
    assert_eq!(client.session().reason(), "the memory limit was reached");
    assert!(state(&dir).oom_killed && state(&dir).error.is_none());
    drop(client);
    rig.join();
}

#[test]
fn a_state_that_cannot_be_written_ends_the_container_and_is_said() {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    // A directory in the place of the state: what a full disk does, done to anybody.
    std::fs::create_dir_all(dir.path().join("state.json/x")).unwrap();
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, streams) = rig.run_container();
    let Reply::Error(error) = client.reply() else { panic!("it started") };
    assert!(error.message.starts_with("cannot write ") && error.message.contains("state.json"), "{}", error.message);
    drop((streams, client));
    rig.join();
    assert!(!rig.vm_is_there());
}

#[test]
fn stopping_sends_the_stop_signal_and_then_kills() {
    let mut rig = Rig::up(OWN);
    let (dir, mut plan) = rig.container(1);
    plan.stop_signal = 3;
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), None));
    let (_, streams) = rig.run_container();
    client.started();
    let stop = Request::Stop { container: id.clone(), signal: None, timeout_seconds: Some(0) };
    let stopping = rig.client(stop);
    let signals = [3, 9].map(|_| match rig.done(|ask| matches!(ask, Ask::Signal(_))) {
        Ask::Signal(signal) => signal.signal,
        _ => unreachable!(),
    });
    assert_eq!(signals, [3, 9]);
    drop(streams);
    rig.exited(first(&id), 137);
    assert_eq!(stopping.reply(), Reply::Ended { code: 137 });
    assert_eq!(state(&dir).status, Status::Exited);
    drop((client, stopping));
    rig.join();
}

#[test]
fn a_container_that_obeys_is_not_killed() {
    let mut rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), None));
    let (_, streams) = rig.run_container();
    client.started();
    let stopping = rig.client(Request::Stop { container: id.clone(), signal: Some(2), timeout_seconds: None });
    rig.done(|ask| matches!(ask, Ask::Signal(signal) if signal.signal == 2));
    drop(streams);
    rig.exited(first(&id), 0);
    assert_eq!(stopping.reply(), Reply::Ended { code: 0 });
    drop((client, stopping));
    rig.join();
}

#[test]
fn the_vm_can_be_stopped_before_it_is_up() {
    let mut rig = Rig::silent(Setting { children: &["vmm", "qemu"], ..OWN });
    let (_, plan) = rig.container(1);
    let starting = rig.client(Request::Start(Box::new(plan), None));
    assert_eq!(rig.ask(Request::StopVm), Reply::Done);
    assert!(matches!(starting.reply(), Reply::Error(error) if error.code == ShimErrorCode::VmGone));
    assert!(!rig.vm_is_there());
    drop(starting);
    rig.join();
}

#[test]
fn a_guest_that_panics_is_not_waited_for() {
    let reason = reason_of_death(WITH_CHILDREN, |rig| {
        rig.tail.push(b"[    1.0] Kernel panic - not syncing: Fatal exception\n");
        rig.shim.tell(crate::shim::Fact::Panicked);
    });
    assert_eq!(reason, "the guest's kernel panicked: Kernel panic - not syncing: Fatal exception");
}
