//! Further processes in a running container, and questions about it.

use super::test;
use crate::assets::Assets;
use crate::host::{Vm, read_until};
use crate::runner::Test;
use crate::spec::{Document, exec, reference};
use hull_protocol::agent::{Outcome, Request, Usage, WallClock};

pub(super) const TESTS: &[Test] = &[
    test("a further process shares everything with the container", &[], sharing),
    test("a further process has a user and an environment of its own", &[], identity),
    test("further processes end with their container", &[], ending),
    test("processes are listed as the container sees them", &[], list),
    test("the clock is set", &[], clock),
];

fn sharing(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let script = "for n in mnt pid net ipc uts cgroup user; do readlink /proc/1/ns/$n; done; cat /proc/1/cgroup; echo end; sleep 1000";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]));
    let mut first = read_until(&mut running.streams.stdout, "end\n");
    first.truncate(first.len() - "end\n".len());
    let script = "for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
    let further = vm.exec(&options.container, exec(&["sh", "-c", script]), "");
    assert_eq!(vm.finish(further).stdout, first);
    let further =
        vm.exec(&options.container, exec(&["sh", "-c", "echo x > /written; hostname; ls /proc/self/fd | wc -l"]), "");
    assert_eq!(vm.finish(further).stdout, "box\n4\n");
    let further = vm.exec(&options.container, exec(&["cat", "/written"]), "");
    assert_eq!(vm.finish(further).stdout, "x\n");
    vm.kill_and_remove(&options.container);
}

fn identity(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let _running = vm.start(&options, Document::new(&["sleep", "1000"]));
    let mut process =
        exec(&["sh", "-c", "id -u; id -g; id -G; echo $HOME; pwd; echo $V; grep CapEff /proc/self/status"]);
    process.set_env(Some(vec!["PATH=/bin".to_owned(), "V=w".to_owned()])).set_cwd("/tmp".into());
    let further = vm.exec(&options.container, process, "www");
    let ended = vm.finish(further);
    assert_eq!(ended.stdout, "33\n33\n33 44\n/home/www\n/tmp\nw\nCapEff:\t0000000000000000\n", "{ended:?}");
    vm.kill_and_remove(&options.container);
}

fn ending(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let first = vm.start(&options, Document::new(&["sleep", "1000"]));
    let mut further = vm.exec(&options.container, exec(&["sh", "-c", "echo ready; sleep 1000"]), "");
    read_until(&mut further.streams.stdout, "ready\n");
    assert_eq!(vm.signal(&first.name, 9), Ok(Outcome::Done));
    assert_eq!(vm.exited(&further.name).0, 137, "its end is told first");
    assert_eq!(vm.exited(&first.name).0, 137);
    vm.remove(&options.container);
}

fn list(assets: &Assets) {
    // Ready only once the child is the program that it is to become.
    const SCRIPT: &str =
        "sleep 1000 & until read name < /proc/2/comm && [ $name = sleep ]; do :; done; echo ready; wait";
    let first = format!("sh -c {SCRIPT}");
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    options.user = "www".to_owned();
    let mut running = vm.start(&options, Document::new(&["sh", "-c", SCRIPT]));
    read_until(&mut running.streams.stdout, "ready\n");
    let mut further = vm.exec(&options.container, exec(&["sh", "-c", "echo ready; read x"]), "");
    read_until(&mut further.streams.stdout, "ready\n");
    let Ok(Outcome::Processes(entries)) = vm.call(Request::Processes(reference(&options.container))) else {
        panic!("no list")
    };
    let seen: Vec<_> =
        entries.iter().map(|entry| (entry.pid, entry.parent, entry.uid, entry.command.as_str())).collect();
    let expected = [(1, 0, 33, first.as_str()), (2, 1, 33, "sleep 1000"), (3, 0, 0, "sh -c echo ready; read x")];
    assert_eq!(seen, expected);
    let Ok(Outcome::Usage(usage)) = vm.call(Request::Usage(reference(&options.container))) else { panic!("no usage") };
    assert!(usage == Usage::default() || usage.memory_limit.is_none(), "{usage:?}");
    vm.kill_and_remove(&options.container);
}

fn clock(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let time = WallClock { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() };
    assert_eq!(vm.call(Request::SetTime(time)), Ok(Outcome::Done), "within the tolerance: nothing is changed");
    assert!(vm.call(Request::SetTime(WallClock { nanoseconds: 1_000_000_000, ..time })).is_err());
}
