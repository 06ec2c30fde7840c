//! Against a directory and a shim that the test plays itself.

#![cfg(unix)]

use super::*;
use crate::fixtures;
use hull_machine::plan::{Discovery, KernelImage};
use hull_platform::signals::LinuxSignal;
use hull_platform::socket::LocalListener;
use hull_protocol::frame;
use hull_protocol::shim::{Call, Reply, Request, ShimError, ShimErrorCode};
use hull_state::VmRecord;
use std::num::NonZeroU8;
use tempfile::TempDir;

const VM: &str = "0123456789abcdef";

/// A state directory with one VM, whose lock is returned, and one container that runs in it.
struct Scene {
    directory: TempDir,
    vm: VmDir,
    container: ContainerDir,
}

fn vm_record(lifetime: Lifetime) -> VmRecord<MachinePlan> {
    VmRecord {
        version: hull_state::VERSION,
        id: VM.parse().unwrap(),
        name: (lifetime == Lifetime::Named).then(|| "dev".to_owned()),
        created_at: Timestamp::UNIX_EPOCH,
        backend: "qemu".to_owned(),
        machine: MachinePlan {
            vcpus: NonZeroU8::MIN,
            memory_mib: 64,
            kernel: KernelImage { path: "/vmlinux".into(), discovery: Discovery::CommandLine },
            initramfs: "/initramfs".into(),
        },
        idle_timeout_seconds: None,
        lifetime,
    }
}

fn scene(lifetime: Lifetime, auto_remove: bool) -> (Scene, FileLock) {
    let directory = tempfile::tempdir().unwrap();
    let root = hull_state::StateRoot::open(directory.path()).unwrap();
    let (vm, lock) = root.create_vm_locked(&vm_record(lifetime)).unwrap();
    fs::write(vm.path().join("socket"), directory.path().join("shim.sock").to_str().unwrap()).unwrap();
    let config = hull_state::ContainerConfig { auto_remove, ..fixtures::config() };
    let container = root.create_container(&fixtures::record(config)).unwrap();
    let running =
        ContainerState { status: Status::Running, vm: Some(vm.id().clone()), pid: Some(7), ..fixtures::state() };
    container.write_state(&running).unwrap();
    (Scene { directory, vm, container }, lock)
}

impl Scene {
    fn open(&self) -> Engine {
        Engine::open_at(self.directory.path()).unwrap()
    }
}

#[test]
fn death_of_a_shim_is_recorded_and_its_vm_cleared_away() {
    let (scene, lock) = scene(Lifetime::WithContainer, false);
    fs::write(scene.vm.socket_path(), "").unwrap();
    drop(lock);
    scene.open();
    let state = scene.container.state().unwrap();
    assert_eq!((state.status, state.exit_code, state.vm), (Status::Exited, 137, None));
    assert_eq!(state.error.as_deref(), Some(SHIM_DIED));
    assert!(state.finished_at.is_some());
    assert!(!scene.vm.path().exists());
    assert!(!scene.directory.path().join("shim.sock").exists());
}

#[test]
fn a_container_to_be_removed_at_its_end_goes_with_its_vm() {
    let (scene, lock) = scene(Lifetime::WithContainer, true);
    drop(lock);
    scene.open();
    assert!(!scene.container.path().exists());
}

#[test]
fn a_named_vm_stays_but_its_socket_goes() {
    let (scene, lock) = scene(Lifetime::Named, false);
    fs::write(scene.vm.socket_path(), "").unwrap();
    drop(lock);
    scene.open();
    assert_eq!(scene.container.state().unwrap().status, Status::Exited);
    assert!(scene.vm.record::<MachinePlan>().is_ok());
    assert!(!scene.vm.socket_path().exists());
}

#[test]
fn a_container_whose_vm_is_gone_altogether_does_not_run() {
    let (scene, lock) = scene(Lifetime::WithContainer, false);
    scene.vm.clone().remove().unwrap();
    drop(lock);
    scene.open();
    assert_eq!(scene.container.state().unwrap().status, Status::Exited);
}

#[test]
fn a_live_shim_is_left_alone() {
    let (scene, _lock) = scene(Lifetime::WithContainer, true);
    let engine = scene.open();
    assert_eq!(scene.container.state().unwrap().status, Status::Running);
    assert!(scene.vm.path().exists());
    let error = engine.remove(scene.container.clone(), false).unwrap_err();
    assert!(error.to_string().contains("container is running"), "{error}");
    // Its socket is not there yet, so nobody answers, and its lock is held: it is told so after a while, not for ever.
    assert!(engine.list().unwrap()[0].state.status == Status::Running);
}

/// A shim that gives these answers, one a connection, and then dies: its lock is released.
fn fake_shim(scene: &Scene, lock: FileLock, answers: Vec<Option<Reply>>) -> thread::JoinHandle<Vec<Request>> {
    let listener = LocalListener::bind(&scene.vm.socket_path()).unwrap();
    thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let stream = listener.accept().unwrap();
            requests.push(frame::read::<Call>(&mut &stream).unwrap().unwrap().request);
            answer.iter().for_each(|answer| frame::write(&mut &stream, answer).unwrap());
        }
        drop(lock);
        requests
    })
}

#[test]
fn requests_reach_the_shim_and_answers_come_back() {
    let (scene, lock) = scene(Lifetime::WithContainer, false);
    let id = scene.container.id().clone();
    let answers = vec![
        Some(Reply::Done),
        Some(Reply::Ended { code: 3 }),
        Some(Reply::Error(ShimError { code: ShimErrorCode::Internal, message: "no".to_owned() })),
    ];
    let shim = fake_shim(&scene, lock, answers);
    let engine = scene.open();
    engine.kill(&scene.container, LinuxSignal::HUP).unwrap();
    assert_eq!(engine.wait(&scene.container).unwrap(), 3);
    assert_eq!(engine.stop(&scene.container, None, Some(1)).unwrap_err().to_string(), "no");
    let requests = shim.join().unwrap();
    let stop = Request::Stop { container: id.clone(), signal: None, timeout_seconds: Some(1) };
    assert_eq!(requests, [Request::Signal(id.clone(), 1), Request::Wait(id), stop]);
}

#[test]
fn a_shim_that_dies_over_a_request_leaves_a_stopped_container() {
    let (scene, lock) = scene(Lifetime::WithContainer, false);
    let shim = fake_shim(&scene, lock, vec![None]);
    let engine = scene.open();
    assert_eq!(engine.wait(&scene.container).unwrap(), 137);
    shim.join().unwrap();
    assert!(matches!(engine.kill(&scene.container, LinuxSignal::HUP), Err(EngineError::NotRunning(_))));
    assert!(matches!(engine.exec(&scene.container, &Default::default(), None), Err(EngineError::NotRunning(_))));
    engine.stop(&scene.container, None, None).unwrap();
    engine.remove(scene.container.clone(), false).unwrap();
    assert!(matches!(engine.remove(scene.container.clone(), false), Err(EngineError::NoSuchContainer(_))));
}

#[test]
fn a_removal_by_force_kills_first() {
    let (scene, lock) = scene(Lifetime::Named, false);
    let shim = fake_shim(&scene, lock, vec![Some(Reply::Ended { code: 137 })]);
    let engine = scene.open();
    engine.remove(scene.container.clone(), true).unwrap();
    let requests = shim.join().unwrap();
    assert!(matches!(requests[..], [Request::Stop { signal: Some(9), timeout_seconds: Some(0), .. }]), "{requests:?}");
    assert!(!scene.container.path().exists());
}
