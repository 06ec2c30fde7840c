use super::*;
use crate::fixtures::config;
use hull_state::{Tmpfs, Ulimit};
use oci_spec::runtime::Mount;
use serde_json::{Value, json};

const ID: &str = "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123";

fn spec(config: &ContainerConfig) -> Value {
    serde_json::to_value(container_spec(&ID.parse().unwrap(), config).unwrap()).unwrap()
}

fn container() -> ContainerConfig {
    ContainerConfig {
        entrypoint: vec!["/bin/sh".to_owned()],
        command: vec!["-c".to_owned(), "true".to_owned()],
        hostname: "web".to_owned(),
        ..config()
    }
}

fn mounts(config: &ContainerConfig) -> Vec<Mount> {
    container_spec(&ID.parse().unwrap(), config).unwrap().mounts().clone().unwrap()
}

fn options(config: &ContainerConfig, destination: &str) -> Vec<String> {
    let found: Vec<_> =
        mounts(config).into_iter().filter(|mount| mount.destination().to_str() == Some(destination)).collect();
    assert_eq!(found.len(), 1, "{destination}");
    found[0].options().clone().unwrap()
}

#[test]
fn default_document_is_dockers() {
    let spec = spec(&container());
    assert_eq!(spec["root"], json!({"path": "rootfs", "readonly": false}));
    assert_eq!(spec["hostname"], "web");
    assert_eq!(spec["process"]["args"], json!(["/bin/sh", "-c", "true"]));
    assert_eq!(spec["process"]["cwd"], "/");
    assert_eq!(spec["process"]["noNewPrivileges"], false);
    assert_eq!(
        spec["process"]["env"],
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=web"])
    );
    assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert!(spec["process"]["capabilities"].get("inheritable").is_none());
    assert!(spec["process"]["capabilities"].get("ambient").is_none());
    assert_eq!(spec["linux"]["cgroupsPath"], format!("/hull/{ID}"));
    let kinds: Vec<_> =
        spec["linux"]["namespaces"].as_array().unwrap().iter().map(|namespace| namespace["type"].clone()).collect();
    assert_eq!(kinds, ["mount", "network", "uts", "pid", "ipc", "cgroup"]);
    assert!(spec["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert_eq!(
        spec["linux"]["readonlyPaths"],
        json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
    );
    let resources = &spec["linux"]["resources"];
    assert!(resources.get("memory").is_none() && resources.get("cpu").is_none() && resources.get("pids").is_none());
    assert_eq!(resources["devices"][0], json!({"allow": false, "access": "rwm"}));
    for absent in ["annotations", "domainname", "hooks", "solaris", "windows", "vm", "zos"] {
        assert!(spec.get(absent).is_none(), "{absent}");
    }
    for absent in ["seccomp", "uidMappings", "sysctl", "netDevices"] {
        assert!(spec["linux"].get(absent).is_none(), "{absent}");
    }
}

#[test]
fn default_mounts_are_dockers() {
    let destinations: Vec<_> =
        mounts(&container()).iter().map(|mount| mount.destination().display().to_string()).collect();
    assert_eq!(destinations, ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]);
    assert!(options(&container(), "/sys").contains(&"ro".to_owned()));
    assert!(options(&container(), "/dev/shm").contains(&"size=65536k".to_owned()));
}

#[test]
fn privileged_masks_nothing_and_may_write() {
    let privileged = ContainerConfig { privileged: true, cap_drop: vec!["ALL".to_owned()], ..container() };
    let spec = spec(&privileged);
    assert_eq!(spec["linux"]["maskedPaths"], json!([]));
    assert_eq!(spec["linux"]["readonlyPaths"], json!([]));
    assert_eq!(spec["process"]["capabilities"]["effective"].as_array().unwrap().len(), 41);
    assert_eq!(spec["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert!(spec["linux"]["devices"].as_array().unwrap().iter().any(|device| device["path"] == "/dev/fuse"));
    assert!(!options(&privileged, "/sys").contains(&"ro".to_owned()));
    assert!(!options(&privileged, "/sys/fs/cgroup").contains(&"ro".to_owned()));
}

#[test]
fn what_cannot_be_is_refused_in_the_words_it_was_asked_in() {
    let refused = |config| container_spec(&ID.parse().unwrap(), &config).unwrap_err().to_string();
    assert!(refused(ContainerConfig { working_dir: "relative".to_owned(), ..container() }).contains("absolute path"));
    assert!(refused(ContainerConfig { memory_bytes: Some(4 << 20), ..container() }).contains("--memory 4m "));
    assert!(refused(ContainerConfig { nano_cpus: Some(1_000_000), ..container() }).contains("--cpus 0.001 "));
}

#[test]
fn limits_become_cgroup_settings() {
    let limited = ContainerConfig {
        memory_bytes: Some(64 << 20),
        nano_cpus: Some(1_500_000_000),
        pids_limit: Some(100),
        ..container()
    };
    let resources = &spec(&limited)["linux"]["resources"];
    assert_eq!(resources["memory"], json!({"limit": 64 << 20, "swap": 64 << 20}));
    assert_eq!(resources["cpu"], json!({"quota": 150_000, "period": 100_000}));
    assert_eq!(resources["pids"], json!({"limit": 100}));
    let unlimited = ContainerConfig { pids_limit: Some(-1), ..container() };
    assert!(spec(&unlimited)["linux"]["resources"].get("pids").is_none());
    for refused in [
        ContainerConfig { memory_bytes: Some(4 << 20), ..container() },
        ContainerConfig { memory_bytes: Some(u64::MAX), ..container() },
        ContainerConfig { nano_cpus: Some(1), ..container() },
        ContainerConfig { nano_cpus: Some(u64::MAX), ..container() },
        ContainerConfig { cap_add: vec!["NOPE".to_owned()], ..container() },
    ] {
        assert!(container_spec(&ID.parse().unwrap(), &refused).is_err());
    }
}

#[test]
fn tmpfs_has_dockers_defaults_under_the_users_options() {
    let tmpfs = |target: &str, options: &[&str]| Tmpfs {
        target: target.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    let with = |tmpfs| ContainerConfig { tmpfs: vec![tmpfs], ..container() };
    assert_eq!(options(&with(tmpfs("/run", &[])), "/run"), ["noexec", "nosuid", "nodev"]);
    assert_eq!(
        options(&with(tmpfs("/run", &["exec", "size=1m", "mode=700", "size=2m"])), "/run"),
        ["nosuid", "nodev", "exec", "mode=700", "size=2m"]
    );
    // In place of the one that is there by default.
    let shm = with(tmpfs("/dev/shm/", &["size=1m"]));
    assert_eq!(mounts(&shm).iter().filter(|mount| mount.destination().starts_with("/dev/shm")).count(), 1);
}

#[test]
fn terminal_read_only_root_user_namespace_and_names() {
    let config = ContainerConfig {
        tty: true,
        read_only: true,
        user_namespace: true,
        domainname: "example.org".to_owned(),
        working_dir: "/srv".to_owned(),
        env: vec!["TERM=vt100".to_owned(), "PATH".to_owned(), "A=1".to_owned(), "A=2".to_owned()],
        ..container()
    };
    let spec = spec(&config);
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["process"]["terminal"], true);
    assert_eq!(spec["process"]["cwd"], "/srv");
    assert_eq!(spec["process"]["env"], json!(["HOSTNAME=web", "TERM=vt100", "A=2"]));
    assert_eq!(spec["domainname"], "example.org");
    assert!(spec["linux"]["namespaces"].as_array().unwrap().contains(&json!({"type": "user"})));
    assert_eq!(spec["linux"]["uidMappings"], json!([{"hostID": 0, "containerID": 0, "size": 65536}]));
}

#[test]
fn ulimits_become_rlimits() {
    let ulimit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
    assert_eq!(
        spec(&container())["process"]["rlimits"],
        json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 524_288}])
    );
    let limited = ContainerConfig { ulimits: vec![ulimit("nofile", 10, 20), ulimit("core", 0, -1)], ..container() };
    assert_eq!(
        spec(&limited)["process"]["rlimits"],
        json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}, {"type": "RLIMIT_CORE", "soft": 0, "hard": u64::MAX}])
    );
    let unknown = ContainerConfig { ulimits: vec![ulimit("bogus", 1, 1)], ..container() };
    assert!(container_spec(&ID.parse().unwrap(), &unknown).is_err());
}

#[test]
fn exec_takes_over_what_it_does_not_change() {
    let config = ContainerConfig {
        env: vec!["A=1".to_owned(), "B=1".to_owned()],
        working_dir: "/srv".to_owned(),
        ..container()
    };
    let exec = ExecConfig {
        command: vec!["ls".to_owned()],
        env: vec!["B=2".to_owned(), "A".to_owned()],
        tty: true,
        ..ExecConfig::default()
    };
    let process = serde_json::to_value(exec_process(&config, &exec).unwrap()).unwrap();
    assert_eq!(process["args"], json!(["ls"]));
    assert_eq!(process["cwd"], "/srv");
    let env: Vec<_> = process["env"].as_array().unwrap().iter().skip(1).cloned().collect();
    assert_eq!(env, ["HOSTNAME=web", "TERM=xterm", "B=2"]);
    assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), 14);
    let privileged = ExecConfig { privileged: true, working_dir: Some("/tmp".to_owned()), ..exec };
    let process = serde_json::to_value(exec_process(&config, &privileged).unwrap()).unwrap();
    assert_eq!(process["cwd"], "/tmp");
    assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), 41);
}

#[test]
fn documents_survive_the_wire() {
    let spec = container_spec(&ID.parse().unwrap(), &container()).unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    assert!(text.len() < 8192, "the guest parses it on a software CPU: {} bytes", text.len());
}
