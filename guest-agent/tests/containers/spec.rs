//! Documents like those that hull's engine makes.

use hull_protocol::agent::ContainerRef;
use hull_protocol::{ContainerId, ExecId};
use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU8, Ordering};

const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// A document that can be changed by JSON pointers.
pub(crate) struct Document(Value);

pub(crate) fn process(arguments: &[&str]) -> Value {
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": arguments,
        "env": ["PATH=/usr/local/bin:/bin", "A=b c"],
        "cwd": "/",
        "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1000, "hard": open_files() }],
        "noNewPrivileges": false,
        "oomScoreAdj": 0
    })
}

/// A hard limit above the agent's own, where this machine lets root raise it.
pub(crate) fn open_files() -> u64 {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if u64::from_str_radix(effective, 16).unwrap() & CAP_SYS_RESOURCE == 0 { hard } else { hard + 1000 }
}

pub(crate) fn exec(arguments: &[&str]) -> Process {
    serde_json::from_value(process(arguments)).unwrap()
}

impl Document {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
        let namespaces = ["mount", "network", "uts", "pid", "ipc", "cgroup"].map(|kind| json!({ "type": kind }));
        Self(json!({
            "ociVersion": "1.2.0",
            "root": { "path": "rootfs", "readonly": false },
            "process": process(arguments),
            "hostname": "box",
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
                mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
                mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
                mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
                mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"])
            ],
            "linux": {
                "namespaces": namespaces,
                "resources": {},
                "maskedPaths": ["/proc/kcore", "/proc/interrupts", "/proc/scsi", "/proc/nonexistent", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
            }
        }))
    }

    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.0.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(array) => array.push(value),
            parent => parent[key] = value,
        }
        self
    }

    pub(crate) fn build(self) -> Spec {
        serde_json::from_value(self.0).unwrap()
    }
}

pub(crate) fn device_rules() -> Vec<hull_agent::document::DeviceRule> {
    serde_json::from_value(device_rules_json()).unwrap()
}

pub(crate) fn device_rules_json() -> Value {
    let device = |major: u32, minor: Option<u32>| json!({ "allow": true, "type": "c", "major": major, "minor": minor.map_or(-1, i64::from), "access": "rwm" });
    json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "access": "m" },
        { "allow": true, "type": "b", "access": "m" },
        device(1, Some(3)), device(1, Some(5)), device(1, Some(7)), device(1, Some(8)), device(1, Some(9)),
        device(5, Some(0)), device(5, Some(1)), device(5, Some(2)), device(136, None)
    ])
}

/// An id that no other container of this run has.
pub(crate) fn new_container() -> ContainerId {
    ContainerId::from_bytes([next(); 32])
}

pub(crate) fn new_exec() -> ExecId {
    ExecId::from_bytes([next(); 32])
}

fn next() -> u8 {
    static LAST: AtomicU8 = AtomicU8::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn reference(container: &ContainerId) -> ContainerRef {
    ContainerRef { container: container.clone() }
}
