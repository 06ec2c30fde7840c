//! Users, groups, and user namespaces.

use super::errors::groups;
use super::test;
use crate::assets::Assets;
use crate::host::{Vm, read_all};
use crate::runner::{Need, Test};
use crate::spec::{Document, device_rules_json, exec, open_files};
use hull_protocol::agent::{ErrorCode, TerminalSize};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    test("users by name and number", &[], names),
    test("a user namespace", &[Need::UserNamespaces], user_namespace),
    test("further processes and a terminal in a user namespace", &[Need::UserNamespaces], further),
    test("device rules and limits in a user namespace", &[Need::UserNamespaces, Need::DeviceRules], rules),
    test("failures in a user namespace", &[Need::UserNamespaces], failures),
];

fn names(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let script = "echo $(id -u) $(id -g) $(id -G) $HOME; grep CapPrm /proc/self/status | cut -f2; pwd; echo x > /root/x || echo refused";
    for (user, expected) in [
        ("", "0 0 0 /root\n00000000a80425fb\n/\n"),
        ("www", "33 33 33 44 /home/www\n0000000000000000\n/\nrefused\n"),
        ("33:tty", "33 5 5 /home/www\n0000000000000000\n/\nrefused\n"),
        ("1234", "1234 0 0 /\n0000000000000000\n/\nrefused\n"),
        ("1234:99", "1234 99 99 /\n0000000000000000\n/\nrefused\n"),
    ] {
        let mut options = vm.options();
        options.user = user.to_owned();
        let ended = vm.run(&options, Document::new(&["sh", "-c", script]));
        assert_eq!(ended.stdout, expected, "{user}: {ended:?}");
    }
    let mut options = vm.options();
    options.user = "www".to_owned();
    let document = Document::new(&["id", "-G"]).with("/process/user/additionalGids", json!([7, 8]));
    assert_eq!(vm.run(&options, document).stdout, "33 7 8 44\n");
}

fn in_user_namespace(document: Document) -> Document {
    let whole = json!([{ "containerID": 0, "hostID": 0, "size": 65536 }]);
    document
        .with("/linux/namespaces/-", json!({ "type": "user" }))
        .with("/linux/uidMappings", whole.clone())
        .with("/linux/gidMappings", whole)
}

fn user_namespace(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let script = "cat /proc/self/uid_map | tr -s ' '; id -u; echo $$; hostname other && hostname; touch /new && chown 33:44 /new && stat -c %u:%g /new; \
                  cat /opt/data; echo; stat -c %t:%T /dev/null /dev/tty; echo x > /dev/null; ls /dev/pts/ptmx; mkdir /m && mount -t tmpfs none /m && echo mounted; \
                  ulimit -Hn; wc -c < /proc/interrupts; readlink /proc/self/ns/user; mknod /n c 1 3 2>&1 | grep -o 'not permitted'";
    let all = json!(["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    let document = in_user_namespace(Document::new(&["sh", "-c", script]))
        .with("/process/capabilities/bounding", all.clone())
        .with("/process/capabilities/effective", all.clone())
        .with("/process/capabilities/permitted", all);
    let ended = vm.run(&options, document);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let open_files = open_files().to_string();
    let expected = [
        " 0 0 65536",
        "0",
        "1",
        "other",
        "33:44",
        "just data",
        "1:3",
        "5:0",
        "/dev/pts/ptmx",
        "mounted",
        &open_files,
        "0",
    ];
    assert_eq!(lines.get(..expected.len()), Some(expected.as_slice()), "{ended:?}");
    let agent = std::fs::read_link(format!("/proc/{}/ns/user", vm.agent_pid())).unwrap();
    assert_ne!(agent.to_str(), lines.get(12).copied());
    assert_eq!(lines.get(13), Some(&"not permitted"), "{ended:?}");
}

fn further(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let size = TerminalSize { rows: 3, columns: 4 };
    let running =
        vm.start_on_terminal(&options, in_user_namespace(Document::new(&["sh", "-c", "tty; sleep 1000"])), size);
    let script = "id -u; readlink /proc/self/ns/user > /tmp/a; readlink /proc/1/ns/user > /tmp/b; cmp /tmp/a /tmp/b && echo same; ulimit -Hn";
    let one = vm.exec(&options.container, exec(&["sh", "-c", script]), "");
    assert_eq!(vm.finish(one).stdout, format!("0\nsame\n{}\n", open_files()));
    let one = vm.exec(&options.container, exec(&["id", "-u"]), "www");
    assert_eq!(vm.finish(one).stdout, "33\n");
    let one = vm.exec_on_terminal(&options.container, exec(&["stty", "size"]));
    assert_eq!(read_all(one.streams), "7 9\r\n");
    assert_eq!(vm.exited(&one.name).0, 0);
    drop(running);
    // Its terminal's hang-up may have ended it before the kill.
    let name = hull_protocol::agent::ProcessRef { container: options.container.clone(), exec: None };
    let _ended = vm.signal(&name, 9);
    vm.exited(&name);
    vm.remove(&options.container);
}

fn rules(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    options.init = true;
    let document = in_user_namespace(Document::new(&["sh", "-c", "head -c 2 /dev/zero | wc -c; tty; echo $?"]));
    let ended = vm.run(&options, document.with("/linux/resources/devices", device_rules_json()));
    assert_eq!(ended.stdout, "2\nnot a tty\n1\n", "{ended:?}");
}

fn failures(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let before = groups(assets);
    let mut options = vm.options();
    let error = vm.try_start(&options, in_user_namespace(Document::new(&["nothing"]))).unwrap_err();
    assert_eq!(error.code, ErrorCode::CommandNotFound);
    options.user = "nobody".to_owned();
    let error = vm.try_start(&options, in_user_namespace(Document::new(&["true"]))).unwrap_err();
    assert_eq!(error.code, ErrorCode::UnknownUser);
    options.user = String::new();
    let overlapping =
        json!([{ "containerID": 0, "hostID": 0, "size": 10 }, { "containerID": 5, "hostID": 50, "size": 10 }]);
    let document = in_user_namespace(Document::new(&["true"])).with("/linux/uidMappings", overlapping);
    let error = vm.try_start(&options, document).unwrap_err();
    assert!(error.message.contains("uid_map"), "{error:?}");
    assert_eq!(groups(assets), before);
    assert_eq!(vm.run(&options, in_user_namespace(Document::new(&["true"]))).code, 0);
}
