//! Containers that share a VM.

use super::rig::*;
use crate::control::Disk;
use hull_protocol::agent::{ErrorCode, Outcome, Request as Ask, TerminalSize, Usage};
use hull_protocol::shim::{ContainerPlan, Reply, Request, ShimErrorCode};
use hull_state::Status;
use std::time::Duration;

/// A container that runs; the guest's ends of its streams.
fn run(rig: &Rig, plan: ContainerPlan) -> Streams {
    let client = rig.client(Request::Start(Box::new(plan), None));
    let (_, streams) = rig.run_container();
    client.started();
    streams
}

#[test]
fn an_image_is_mapped_once_and_everything_is_given_back() {
    let rig = Rig::up(NAMED);
    let ((_, one), (two_dir, two)) = (rig.container(1), rig.container(2));
    let (one_id, two_id) = (one.container.clone(), two.container.clone());
    let streams = [run(&rig, one), run(&rig, two.clone())];
    let disks: Vec<_> = rig.vmm.mapped().into_iter().map(|(disk, _)| disk).collect();
    assert_eq!(disks, [Disk::Images, Disk::Images, Disk::Data, Disk::Data]);
    let Reply::Status(status) = rig.ask(Request::Status) else { panic!() };
    assert_eq!((rig.shim.roster.all().len(), status.kernel.as_deref()), (2, Some("6.12-test")));

    drop(streams);
    for id in [&one_id, &two_id] {
        let waiting = rig.client(Request::Wait(id.clone()));
        rig.exited(first(id), 0);
        rig.done(|ask| matches!(ask, Ask::Remove(removed) if removed.container == *id));
        assert_eq!(waiting.reply(), Reply::Ended { code: 0 });
    }
    assert_eq!((rig.vmm.mapped(), rig.vmm.expected()), (vec![], 0));
    assert_eq!(state(&two_dir).status, Status::Exited);

    // It can start again in the same VM.
    let _streams = run(&rig, two);
    assert_eq!(state(&two_dir).status, Status::Running);
}

#[test]
fn a_failed_start_leaves_the_vm_as_it_was() {
    let rig = Rig::up(NAMED);
    let (dir, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan.clone()), None));
    rig.refuse(ErrorCode::CommandNotFound, "no such command");
    rig.refuse(ErrorCode::NotFound, "no such process");
    rig.refuse(ErrorCode::NotFound, "no such container");
    assert!(matches!(client.reply(), Reply::Error(error) if error.code == ShimErrorCode::CommandNotFound));
    assert_eq!((rig.vmm.mapped(), rig.vmm.expected()), (vec![], 0));
    assert_eq!((state(&dir).status, state(&dir).exit_code), (Status::Created, 127));
    let _streams = run(&rig, plan);
}

#[test]
fn a_container_cannot_start_twice() {
    let rig = Rig::up(NAMED);
    let (dir, plan) = rig.container(1);
    let _streams = run(&rig, plan.clone());
    let Reply::Error(error) = rig.ask(Request::Start(Box::new(plan), None)) else { panic!("it started") };
    assert_eq!(error.code, ShimErrorCode::AlreadyExists);
    assert_eq!(state(&dir).status, Status::Running);
}

#[test]
fn a_state_that_cannot_be_written_kills_the_container_and_spares_the_vm() {
    let rig = Rig::up(NAMED);
    let (dir, plan) = rig.container(1);
    std::fs::create_dir_all(dir.path().join("state.json/x")).unwrap();
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), None));
    let (_, streams) = rig.run_container();
    rig.done(|ask| matches!(ask, Ask::Signal(signal) if signal.signal == 9));
    drop(streams);
    rig.exited(first(&id), 137);
    rig.done(|ask| matches!(ask, Ask::Remove(_)));
    assert!(matches!(client.reply(), Reply::Error(error) if error.message.starts_with("cannot write ")));
    assert!(rig.vmm.mapped().is_empty());
}

#[test]
fn what_the_guest_says_of_a_container_reaches_the_client_harmless() {
    let rig = Rig::up(NAMED);
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let _streams = run(&rig, plan);

    let usage = Usage { cpu_usec: 1, memory_bytes: 2, memory_limit: None, pids: 3 };
    let client = rig.client(Request::Usage(id.clone()));
    let (number, _) = rig.asked();
    rig.answer(number, Ok(Outcome::Usage(usage)));
    assert_eq!(client.reply(), Reply::Usage(usage));

    let client = rig.client(Request::Processes(id.clone()));
    let (number, _) = rig.asked();
    let entry = hull_protocol::agent::ProcessEntry { pid: 1, parent: 0, uid: 0, command: "sh\x1b]0;x\x07".into() };
    rig.answer(number, Ok(Outcome::Processes(vec![entry])));
    let Reply::Processes(entries) = client.reply() else { panic!() };
    assert_eq!(entries[0].command, "sh\u{fffd}]0;x\u{fffd}");

    let client = rig.client(Request::Usage(id.clone()));
    let (number, _) = rig.asked();
    rig.answer(number, Ok(Outcome::Done));
    assert!(matches!(client.reply(), Reply::Error(error) if error.code == ShimErrorCode::Internal));

    let client = rig.client(Request::Resize(id.clone(), None, TerminalSize { rows: 1, columns: 2 }));
    rig.done(|ask| matches!(ask, Ask::Resize(_)));
    assert_eq!(client.reply(), Reply::Done);
    let client = rig.client(Request::Signal(id, 10));
    rig.done(|ask| matches!(ask, Ask::Signal(signal) if signal.signal == 10));
    assert_eq!(client.reply(), Reply::Done);
}

#[test]
fn requests_for_unknown_containers_are_refused() {
    let rig = Rig::up(NAMED);
    let (_, plan) = rig.container(1);
    let id = plan.container;
    let stop = Request::Stop { container: id.clone(), signal: None, timeout_seconds: None };
    let exec = Request::Exec(Box::new(exec_plan(&id, 1)), None);
    for request in [Request::Wait(id.clone()), Request::Signal(id.clone(), 9), stop, exec, Request::Attach(id, ATTACH)]
    {
        let Reply::Error(error) = rig.ask(request) else { panic!("it did something") };
        assert_eq!(error.code, ShimErrorCode::NotFound);
    }
}

#[test]
fn stopping_the_vm_stops_its_containers_first() {
    let mut rig = Rig::up(NAMED);
    let ((one_dir, one), (two_dir, two)) = (rig.container(1), rig.container(2));
    let ids = [one.container.clone(), two.container.clone()];
    let streams = [run(&rig, one), run(&rig, two)];
    let stopping = rig.client(Request::StopVm);
    drop(streams);
    // Both are asked before either has ended; then the guest forgets both.
    for _ in &ids {
        let ask = rig.done(|ask| matches!(ask, Ask::Signal(signal) if signal.signal == 15));
        assert!(matches!(ask, Ask::Signal(_)));
    }
    ids.iter().for_each(|id| rig.exited(first(id), 0));
    ids.iter().for_each(|_| drop(rig.done(|ask| matches!(ask, Ask::Remove(_)))));
    assert_eq!(stopping.reply(), Reply::Done);
    assert!([one_dir, two_dir].iter().all(|dir| state(dir).status == Status::Exited && state(dir).error.is_none()));
    assert!(rig.vm_is_there(), "a named VM's record stays");
    drop(stopping);
    rig.join();
}

#[test]
fn an_idle_vm_ends_but_not_while_it_has_a_container() {
    let mut rig = Rig::up(Setting { idle_timeout: Some(Duration::from_millis(300)), ..NAMED });
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let streams = run(&rig, plan);
    std::thread::sleep(Duration::from_millis(400));
    drop(streams);
    rig.exited(first(&id), 0);
    rig.done(|ask| matches!(ask, Ask::Remove(_)));
    rig.join();
    assert!(rig.shim.life.reason().is_none());
}

#[test]
fn the_death_of_the_vm_is_the_end_of_all_its_containers() {
    let mut rig = Rig::up(Setting { children: &["vmm", "qemu"], ..NAMED });
    let ((one_dir, one), (two_dir, two)) = (rig.container(1), rig.container(2));
    let streams = [run(&rig, one.clone()), run(&rig, two)];
    let exec = rig.client(Request::Exec(Box::new(exec_plan(&one.container, 9)), Some(ATTACH)));
    let (number, Ask::Exec(asked)) = rig.asked() else { panic!() };
    let exec_streams = rig.dial(&asked.stdio);
    rig.answer(number, Ok(Outcome::Started { pid: 42 }));
    exec.started();
    let status = std::process::Command::new("kill").args(["-9", &rig.pids[1].to_string()]).status().unwrap();
    assert!(status.success());
    drop((streams, exec_streams));
    let why = "QEMU died: signal 9 (SIGKILL)";
    assert_eq!((exec.session().reason(), 137), (why, 137));
    drop(exec);
    rig.join();
    for dir in [one_dir, two_dir] {
        assert_eq!(
            (state(&dir).status, state(&dir).exit_code, state(&dir).error.as_deref()),
            (Status::Exited, 137, Some(why))
        );
    }
}
