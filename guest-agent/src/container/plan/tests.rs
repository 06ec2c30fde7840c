use super::*;
use hull_protocol::agent::ErrorCode;
use serde_json::{Value, json};

fn document() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["true"], "cwd": "/" },
        "hostname": "box",
        "linux": {
            "namespaces": [
                { "type": "mount" }, { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "cgroup" }, { "type": "user" }
            ],
            "uidMappings": [{ "containerID": 0, "hostID": 0, "size": 65536 }],
            "gidMappings": [{ "containerID": 0, "hostID": 100_000, "size": 10 }, { "containerID": 10, "hostID": 10, "size": 1 }],
            "sysctl": { "net.ipv4.ip_forward": "1", "kernel.shmmax": "5" },
            "maskedPaths": ["/proc/kcore"]
        }
    })
}

fn plan(document: Value) -> Result<ContainerPlan> {
    ContainerPlan::new(serde_json::from_value(document).unwrap(), "", false)
}

fn refused(pointer: &str, value: Value) -> (ErrorCode, String) {
    let mut document = document();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    let error = plan(document).unwrap_err();
    (error.code, error.message)
}

#[test]
fn a_document_becomes_a_plan() {
    let plan = plan(document()).unwrap();
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    assert_eq!(plan.namespaces, all);
    let mappings = plan.user_namespace.unwrap();
    assert_eq!((mappings.users(), mappings.groups()), ("0 0 65536\n", "0 100000 10\n10 10 1\n"));
    assert_eq!(plan.masked_paths, [PathBuf::from("/proc/kcore")]);
    let mut sysctls: Vec<_> = plan.sysctls.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    sysctls.sort_unstable();
    assert_eq!(sysctls, ["/proc/sys/kernel/shmmax", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(plan.hostname.as_deref(), Some("box"));
}

#[test]
fn what_the_agent_cannot_do_is_refused_by_name() {
    for (pointer, value, expected) in [
        ("/linux/namespaces", json!([{ "type": "mount" }]), "PID namespace"),
        ("/linux/namespaces", json!([{ "type": "pid", "path": "/proc/1/ns/pid" }]), "by path"),
    ] {
        let (code, message) = refused(pointer, value);
        assert!(code == ErrorCode::Unsupported && message.contains(expected), "{message}");
    }
}

#[test]
fn nonsense_is_refused() {
    let without_uts = json!([{ "type": "mount" }, { "type": "pid" }]);
    for (pointer, value, expected) in [
        ("/process", Value::Null, "no process"),
        ("/linux/namespaces", without_uts, "UTS"),
        ("/linux/maskedPaths", json!(["proc/kcore"]), "not absolute"),
        ("/linux/rootfsPropagation", json!("sideways"), "propagation"),
        ("/linux/uidMappings", json!([]), "mapping"),
        ("/linux/sysctl", json!({ "vm.swappiness": "1" }), "vm.swappiness"),
        ("/linux/sysctl", json!({ "net/../vm.swappiness": "1" }), "does not belong"),
        ("/linux/sysctl", json!({ "net": "1" }), "does not belong"),
        ("/linux/sysctl", json!({ "kernel.shmmax/../x": "1" }), "does not belong"),
    ] {
        let (code, message) = refused(pointer, value);
        assert!(code == ErrorCode::Invalid && message.contains(expected), "{message}");
    }
}
