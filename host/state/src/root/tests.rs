use super::*;
use crate::record::{ContainerConfig, ContainerState, Status};
use jiff::Timestamp;
use std::thread;

fn record(digit: u8, name: &str) -> ContainerRecord {
    ContainerRecord {
        version: VERSION,
        id: ContainerId::from_bytes([digit; 32]),
        name: name.to_owned(),
        created_at: Timestamp::UNIX_EPOCH,
        image: "hull/busybox".to_owned(),
        image_id: "sha256:00".to_owned(),
        image_rootfs: vec!["/images/rootfs.erofs".into()],
        config: ContainerConfig { command: vec!["sh".to_owned()], ..Default::default() },
    }
}

fn vm_record(digit: u8, name: Option<&str>) -> VmRecord<String> {
    VmRecord {
        version: VERSION,
        id: VmId::from_bytes([digit; 8]),
        name: name.map(str::to_owned),
        created_at: Timestamp::UNIX_EPOCH,
        backend: "qemu".to_owned(),
        machine: "a plan".to_owned(),
        idle_timeout_seconds: None,
        lifetime: if name.is_some() { Lifetime::Named } else { Lifetime::WithContainer },
    }
}

fn root() -> (tempfile::TempDir, StateRoot) {
    let dir = tempfile::tempdir().unwrap();
    let root = StateRoot::open(&dir.path().join("a/hull")).unwrap();
    (dir, root)
}

#[test]
fn a_root_is_made_once_whoever_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hull");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| StateRoot::open(&path).unwrap().containers().unwrap());
        }
    });
    assert_eq!(fs::read_to_string(path.join("version")).unwrap(), "1\n");
}

#[test]
fn a_root_that_cannot_be_used_is_told_clearly() {
    let (_dir, root) = root();
    fs::write(root.path().join("version"), "2\n").unwrap();
    let error = StateRoot::open(root.path()).unwrap_err().to_string();
    assert!(error.ends_with("version has version \"2\", and this hull knows version 1 only"), "{error}");
    let file = root.path().join("version");
    assert!(StateRoot::open(&file).unwrap_err().to_string().starts_with("cannot "));
}

#[test]
fn a_container_is_found_by_what_people_call_it_and_gone_when_removed() {
    let (_dir, root) = root();
    let record = record(0xab, "calm_noether");
    let made = root.create_container(&record).unwrap();
    assert_eq!(made.record().unwrap(), record);
    for reference in ["calm_noether", "/calm_noether", "abab", record.id.as_str(), record.id.short()] {
        assert_eq!(root.find_container(reference).unwrap().id(), &record.id);
    }
    assert_eq!(root.containers().unwrap().len(), 1);
    let stale = made.clone();
    made.remove().unwrap();
    assert!(root.find_container("calm_noether").unwrap_err().is_not_found());
    assert!(root.containers().unwrap().is_empty());
    assert!(stale.record().unwrap_err().is_not_found());
    assert!(stale.state().unwrap_err().is_not_found());
    assert!(stale.lock().unwrap_err().is_not_found());
    assert!(stale.write_state(&ContainerState::created()).unwrap_err().is_not_found());
    assert!(stale.remove().unwrap_err().is_not_found());
}

#[test]
fn more_files_come_with_a_container_or_nothing_does() {
    let (_dir, root) = root();
    let failed = root.create_container_with(&record(1, "one"), |_| Err(io::Error::other("no template")));
    assert!(failed.is_err());
    assert_eq!(fs::read_dir(root.path().join("containers")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.path().join("names")).unwrap().count(), 0);
    let made = root.create_container_with(&record(1, "one"), |draft| fs::write(draft.join("data.img"), "x")).unwrap();
    assert!(made.data_path().exists());
}

#[test]
fn states_are_replaced_and_what_a_power_cut_left_counts_as_an_end() {
    let (_dir, root) = root();
    let container = root.create_container(&record(1, "one")).unwrap();
    assert_eq!(container.state().unwrap(), ContainerState::created());
    let running = ContainerState { status: Status::Running, pid: Some(7), ..ContainerState::created() };
    container.write_state(&running).unwrap();
    assert_eq!(container.state().unwrap(), running);
    let ended = ContainerState { status: Status::Exited, exit_code: 3, ..ContainerState::created() };
    container.write_state(&ended).unwrap();
    assert_eq!(container.state().unwrap(), ended);
    for torn in ["", "\0\0\0\0"] {
        fs::write(container.path().join("state.json"), torn).unwrap();
        let state = container.state().unwrap();
        assert_eq!((state.status, state.exit_code), (Status::Exited, 137));
    }
    fs::write(container.path().join("state.json"), "{").unwrap();
    assert!(container.state().unwrap_err().to_string().ends_with("state.json is damaged"));
}

#[test]
fn records_of_another_version_are_refused_by_it() {
    let (_dir, root) = root();
    let container = root.create_container(&record(1, "one")).unwrap();
    fs::write(container.path().join("record.json"), r#"{"version":2,"new":true}"#).unwrap();
    assert!(matches!(container.record().unwrap_err(), StateError::Version { found, .. } if found == "2"));
    // It can still be removed; its claim is dead then.
    container.remove().unwrap();
    root.create_container(&record(2, "one")).unwrap();
}

#[test]
fn settings_that_came_later_have_their_defaults_in_older_records() {
    let config: ContainerConfig = serde_json::from_str(r#"{"tty":true,"vm":{"name":"dev"}}"#).unwrap();
    assert_eq!((config.tty, config.stop_signal, config.vm.name.as_deref()), (true, 15, Some("dev")));
}

#[test]
fn a_vm_is_alive_while_its_lock_is_held() {
    let (_dir, root) = root();
    let (vm, lock) = root.create_vm_locked(&vm_record(1, None)).unwrap();
    assert!(vm.is_alive());
    assert!(vm.try_lock().unwrap().is_none());
    drop(lock);
    assert!(!vm.is_alive());
    let lock = vm.try_lock().unwrap().unwrap();
    assert!(vm.is_alive());
    assert_eq!(vm.record::<String>().unwrap(), vm_record(1, None));
    vm.clone().remove().unwrap();
    drop(lock);
    assert!(!vm.is_alive());
    assert!(vm.try_lock().unwrap_err().is_not_found());
}

#[test]
fn vms_have_names_of_their_own() {
    let (_dir, root) = root();
    root.create_container(&record(1, "dev")).unwrap();
    let vm = root.create_vm(&vm_record(2, Some("dev"))).unwrap();
    assert!(matches!(root.create_vm(&vm_record(3, Some("dev"))), Err(StateError::NameTaken { .. })));
    assert!(matches!(root.create_vm(&vm_record(3, Some("../x"))), Err(StateError::InvalidName(_))));
    root.create_vm(&vm_record(4, None)).unwrap();
    assert_eq!(root.find_vm_name("dev").unwrap().id(), vm.id());
    assert_eq!(root.find_vm("0202").unwrap().id(), vm.id());
    assert!(root.find_vm_name("0202").unwrap_err().is_not_found());
    assert_eq!(root.vms().unwrap().len(), 2);
    vm.remove().unwrap();
    assert!(root.find_vm_name("dev").unwrap_err().is_not_found());
}

#[test]
fn the_socket_is_where_the_maker_of_the_vm_saw_it() {
    let (_dir, root) = root();
    let vm = root.create_vm(&vm_record(1, None)).unwrap();
    assert_eq!(vm.socket_path().file_name().unwrap(), "0101010101010101.sock");
    fs::write(vm.path().join("socket"), "/run/user/7/hull/x.sock").unwrap();
    assert_eq!(vm.socket_path(), Path::new("/run/user/7/hull/x.sock"));
    fs::remove_file(vm.path().join("socket")).unwrap();
    assert_eq!(vm.socket_path().file_name().unwrap(), "0101010101010101.sock");
}

#[test]
fn what_a_command_that_died_while_making_it_left_is_cleared_away() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    let left = root.join(".version.0123456789abcdef.tmp");
    fs::write(&left, "").unwrap();
    StateRoot::open(&root).unwrap();
    assert!(!left.exists());
    assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "1\n");
}
