//! What a process finds inside a container.

use super::test;
use crate::assets::Assets;
use crate::host::Vm;
use crate::runner::{Need, Test};
use crate::spec::{Document, device_rules_json, open_files};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    test("namespaces, names, process ids and loopback", &[], namespaces),
    test("devices and links", &[], devices),
    test("device rules", &[Need::DeviceRules], device_rules),
    test("masked and read-only paths", &[], paths),
    test("environment, limits, umask, capabilities", &[], process),
    test("sysctls, a read-only root, further mounts, a new working directory", &[], mounts),
    test("an image cannot lead its mounts or its mask out of the root", &[], hostile_image),
];

/// What a container says that runs this script.
fn say(vm: &mut Vm, document: impl FnOnce(Document) -> Document, script: &str) -> String {
    let options = vm.options();
    let ended = vm.run(&options, document(Document::new(&["sh", "-c", script])));
    assert_eq!(ended.stderr, "", "{script}");
    ended.stdout
}

fn namespaces(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "hostname; echo $$; cat /proc/sys/kernel/domainname; for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done; \
                  cat /proc/self/cgroup; ip -o addr show lo | grep -c 127.0.0.1/8; wc -l < /proc/net/dev; ls /proc > /tmp/all; grep -c '^[0-9]' /tmp/all";
    let said = say(&mut vm, |document| document.with("/domainname", json!("example.org")), script);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..3], ["box", "1", "example.org"], "{said}");
    let agent = |name: &str| std::fs::read_link(format!("/proc/{}/ns/{name}", vm.agent_pid())).unwrap();
    for (name, line) in ["mnt", "pid", "net", "ipc", "uts", "cgroup"].into_iter().zip(&lines[3..]) {
        assert_ne!(agent(name).to_str(), Some(*line), "{name}");
    }
    assert_eq!(agent("user").to_str(), Some(lines[9]));
    assert!(lines[10..].contains(&"0::/"), "its cgroup is the root of its view: {said}");
    assert_eq!(lines[lines.len() - 3..], ["1", "3", "2"], "loopback alone; sh and ls: {said}");
}

fn devices(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "cd /dev; stat -c '%n %a %t:%T' full null random tty urandom zero; for l in fd stdin stdout stderr ptmx; do \
                  echo $l $(readlink $l); done; ls -d pts shm mqueue; ls; echo x > /dev/null; head -c 3 /dev/zero | wc -c";
    let said = say(&mut vm, |document| document, script);
    let expected = "full 666 1:7\nnull 666 1:3\nrandom 666 1:8\ntty 666 5:0\nurandom 666 1:9\nzero 666 1:5\n\
                    fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx\n\
                    mqueue\npts\nshm\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n3\n";
    assert_eq!(said, expected);
    let fuse = json!([{ "path": "/dev/net/own", "type": "c", "major": 10, "minor": 200, "fileMode": 0o640, "uid": 1, "gid": 2 }]);
    let said = say(&mut vm, |document| document.with("/linux/devices", fuse), "stat -c '%a %t:%T %u %g' /dev/net/own");
    assert_eq!(said, "640 a:c8 1 2\n");
}

fn device_rules(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "cd /tmp; mknod mem c 1 1 && mknod zero c 1 5 && mknod disk b 254 0 && mknod loop b 7 0 && echo made; \
                  for n in mem disk loop; do head -c 1 $n 2>&1 | grep -o 'not permitted'; done; head -c 4 zero | wc -c; \
                  echo x > /dev/null; head -c 1 /dev/urandom | wc -c";
    let said = say(&mut vm, |document| document.with("/linux/resources/devices", device_rules_json()), script);
    assert_eq!(said, "made\nnot permitted\nnot permitted\nnot permitted\n4\n1\n");
}

fn paths(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "wc -c < /proc/interrupts; ls /sys/firmware | wc -l; ls /proc/scsi 2>/dev/null | wc -l; \
                  for p in /proc/sys/kernel/hostname /sys/kernel/uevent_seqnum /sys/firmware/x; do \
                  (echo x > $p) 2>&1 | grep -o 'Read-only file system'; done; cat /proc/sys/kernel/hostname; cat /proc/version | wc -l";
    let said = say(&mut vm, |document| document, script);
    let read_only = "Read-only file system\n".repeat(3);
    assert_eq!(said, format!("0\n0\n0\n{read_only}box\n1\n"));
}

fn process(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "echo \"$A\" $HOME; env | cut -d= -f1 | sort | tr '\\n' ' '; umask; ulimit -n; ulimit -Hn; pwd; \
                  grep -E '^(Cap|NoNewPrivs|SigBlk|Groups)' /proc/self/status | tr -d '\\t'; \
                  ls /proc/self/fd | wc -l; cat /proc/self/oom_score_adj; cut -d' ' -f6 /proc/1/stat";
    let change =
        |document: Document| document.with("/process/oomScoreAdj", json!(77)).with("/process/user/umask", json!(0o027));
    let said = say(&mut vm, change, script);
    // 14 capabilities of Docker's default set; descriptors 0, 1, 2 and the directory that `ls` reads.
    let open_files = open_files();
    let expected = format!(
        "b c /root\nA HOME PATH PWD SHLVL 0027\n1000\n{open_files}\n/\nSigBlk:0000000000000000\nGroups:0 \n\
                    CapInh:0000000000000000\nCapPrm:00000000a80425fb\nCapEff:00000000a80425fb\nCapBnd:00000000a80425fb\nCapAmb:0000000000000000\n\
                    NoNewPrivs:0\n4\n77\n1\n"
    );
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&said), sorted(&expected), "{said}");
    let said = say(
        &mut vm,
        |document| document.with("/process/noNewPrivileges", json!(true)),
        "grep NoNewPrivs /proc/self/status",
    );
    assert_eq!(said, "NoNewPrivs:\t1\n");
}

fn mounts(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let change = |document: Document| {
        let tmpfs = |destination: &str, options: &[&str]| json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options });
        document
            .with("/root/readonly", json!(true))
            .with("/process/cwd", json!("/opt/new/deep"))
            .with("/linux/sysctl", json!({ "net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmni": "77" }))
            .with("/mounts/-", tmpfs("/tmp", &["noexec", "mode=1777", "size=1m"]))
            .with("/mounts/-", tmpfs("/not/there/yet", &["nosuid"]))
            .with(
                "/mounts/-",
                json!({ "destination": "/bound", "type": "bind", "source": "/etc/hostname", "options": ["ro"] }),
            )
    };
    let script = "pwd; (echo x > /x) 2>&1 | grep -o 'Read-only.*'; echo x > /tmp/x && cat /tmp/x; echo y > /not/there/yet/y && echo written; \
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni; (echo x > /bound) 2>&1 | grep -o 'Read-only.*'; \
                  grep -c ' /tmp tmpfs .*noexec' /proc/mounts; grep -c layers /proc/mounts";
    std::fs::write("/etc/hostname", std::fs::read("/etc/hostname").unwrap_or_default()).unwrap();
    let said = say(&mut vm, change, script);
    let expected = "/opt/new/deep\nRead-only file system\nx\nwritten\n0\n77\nRead-only file system\n1\n0\n";
    assert_eq!(said, expected);
}

fn hostile_image(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    // A writable layer as a hostile image would have it.
    let prepare = "rmdir /proc /sys 2>/dev/null; rm -rf /dev /etc/passwd; ln -s / /proc2; ln -s /../../../../etc /dev; \
                   mkdir -p /evil; ln -s /proc/sysrq-trigger /etc/null; ln -s /proc/self/fd /cwd; \
                   for i in 3 4 5 6 7 8 9; do ln -s /proc/self/fd/$i /fd$i; done; echo ok";
    let document =
        Document::new(&["sh", "-c", prepare]).with("/mounts", json!([])).with("/linux/maskedPaths", json!([]));
    let ended = vm.run(
        &options,
        document.with("/linux/readonlyPaths", json!([])).with(
            "/mounts/-",
            json!({
                "destination": "/unused", "type": "tmpfs"
            }),
        ),
    );
    assert_eq!(ended.stdout, "ok\n", "{ended:?}");
    // /dev is a link to a directory of the image: what is mounted there stays inside, and the mask is the VM's own null.
    options.container = crate::spec::new_container();
    let ended = vm.run(
        &options,
        Document::new(&["sh", "-c", "ls -l /etc | grep -c null; wc -c < /proc/interrupts; ls /dev/null"]),
    );
    assert_eq!(ended.stdout, "1\n0\n/dev/null\n", "{ended:?}");
    // Links to the agent's descriptors lead nowhere while the mounts are made.
    let before = vm_root();
    for number in 3..10 {
        options.container = crate::spec::new_container();
        let mount = json!({ "destination": format!("/fd{number}/tmp/planted"), "type": "tmpfs" });
        let error = vm.try_start(&options, Document::new(&["true"]).with("/mounts/-", mount)).unwrap_err();
        assert!(error.message.contains("planted"), "{error}");
    }
    assert_eq!(vm_root(), before);
    for cwd in ["/cwd/3", "/cwd/4", "/cwd/5", "/cwd/6", "/cwd/7", "/proc/self/fd/8", "/proc/self/fd/9"] {
        options.container = crate::spec::new_container();
        let document = Document::new(&["sh", "-c", "pwd"]).with("/process/cwd", json!(cwd));
        let error = vm.try_start(&options, document);
        let inside = |outcome: &Result<_, hull_protocol::agent::AgentError>| {
            outcome.as_ref().is_err_and(|error| error.code == hull_protocol::agent::ErrorCode::CommandNotExecutable)
        };
        assert!(inside(&error), "{cwd}: {error:?}");
    }
}

fn vm_root() -> bool {
    std::path::Path::new("/tmp/planted").exists()
}
