//! Limits of control groups: who breaks them suffers alone.

use super::errors::groups;
use super::test;
use crate::assets::Assets;
use crate::host::{Vm, read_until};
use crate::runner::{Need, Test};
use crate::spec::{Document, exec, reference};
use hull_protocol::agent::{ErrorCode, Outcome, Request};
use serde_json::json;

pub(super) const TESTS: &[Test] = &[
    test(
        "values of the limits",
        &[Need::Controller("cpu"), Need::Controller("memory"), Need::Controller("pids")],
        values,
    ),
    test("a container that forks without end", &[Need::Controller("pids")], forks),
    test("a container that takes all memory", &[Need::Controller("memory")], memory),
    test("a container with six megabytes", &[Need::Controller("memory")], least_memory),
    test("figures of use", &[Need::Controller("memory"), Need::Controller("cpu")], usage),
    test("controllers handed on inside a container", &[Need::Controller("pids")], handed_on),
];

fn values(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let before = groups(assets);
    let options = vm.options();
    let resources = json!({
        "cpu": { "quota": 150_000, "period": 100_000, "shares": 1024 },
        "memory": { "limit": 64 << 20, "swap": 64 << 20 },
        "pids": { "limit": 99 }
    });
    let script = "cd /sys/fs/cgroup; cat cpu.max cpu.weight memory.max pids.max";
    let ended = vm.run(&options, Document::new(&["sh", "-c", script]).with("/linux/resources", resources));
    assert_eq!(ended.stdout, "150000 100000\n39\n67108864\n99\n", "{ended:?}");
    let resources = json!({ "unified": { "nonsense.max": "1" } });
    let error = vm.try_start(&vm.options(), Document::new(&["true"]).with("/linux/resources", resources)).unwrap_err();
    assert!(error.code == ErrorCode::Unsupported && error.message.contains("nonsense.max"), "{error:?}");
    let resources = json!({ "pids": { "limit": 5 }, "unified": { "cpu.max": "nonsense" } });
    let error = vm.try_start(&vm.options(), Document::new(&["true"]).with("/linux/resources", resources)).unwrap_err();
    assert!(error.message.contains("nonsense") && error.message.contains("cpu.max"), "{error:?}");
    assert_eq!(groups(assets), before);
}

fn forks(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let neighbour = vm.options();
    let _running = vm.start(&neighbour, Document::new(&["sleep", "1000"]));
    let options = vm.options();
    let script = "b() { b | b & }; b 2>/dev/null; sleep 1; exit 3";
    let document = Document::new(&["sh", "-c", script]).with("/linux/resources", json!({ "pids": { "limit": 20 } }));
    let mut bomb = vm.start(&options, document);
    let further = vm.exec(&neighbour.container, exec(&["echo", "alive"]), "");
    assert_eq!(vm.finish(further).stdout, "alive\n");
    bomb.streams.stderr.shutdown(std::net::Shutdown::Both).unwrap();
    bomb.streams.stderr = bomb.streams.stdout.try_clone().unwrap();
    let _ended = vm.signal(&bomb.name, 9);
    assert!([137, 3, 2].contains(&vm.exited(&bomb.name).0));
    vm.remove(&options.container);
    vm.kill_and_remove(&neighbour.container);
}

fn memory(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let neighbour = vm.options();
    let _running = vm.start(&neighbour, Document::new(&["sleep", "1000"]));
    let options = vm.options();
    let limits = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
    let document = Document::new(&["sh", "-c", "exec tail /dev/zero"]).with("/linux/resources", limits);
    let ended = vm.run(&options, document);
    assert_eq!((ended.code, ended.oom_killed), (137, true));
    let further = vm.exec(&neighbour.container, exec(&["echo", "alive"]), "");
    assert_eq!(vm.finish(further).stdout, "alive\n");
    vm.kill_and_remove(&neighbour.container);
}

fn least_memory(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let limits = json!({ "memory": { "limit": 6 << 20, "swap": 6 << 20 } });
    let ended = vm.run(&options, Document::new(&["echo", "hi"]).with("/linux/resources", limits));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "hi\n"));
}

fn usage(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let limits = json!({ "memory": { "limit": 64 << 20 } });
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 8000000 /dev/zero > /dev/shm/x; echo ready; sleep 1000";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]).with("/linux/resources", limits));
    read_until(&mut running.streams.stdout, "ready\n");
    let Ok(Outcome::Usage(usage)) = vm.call(Request::Usage(reference(&options.container))) else { panic!("no usage") };
    assert!(usage.cpu_usec > 1000 && usage.memory_bytes > 8_000_000 && usage.memory_bytes < 32 << 20, "{usage:?}");
    assert_eq!(usage.memory_limit, Some(64 << 20));
    vm.kill_and_remove(&options.container);
}

fn handed_on(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    // As an init system does: itself into a group below, then controllers for its groups.
    let script = "mount -o remount,rw /sys/fs/cgroup; cd /sys/fs/cgroup && mkdir in && echo 1 > in/cgroup.procs && \
                  echo +pids > cgroup.subtree_control && echo ready; sleep 1000";
    let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let document = Document::new(&["sh", "-c", script]).with("/process/capabilities/bounding", all.clone());
    let document =
        document.with("/process/capabilities/effective", all.clone()).with("/process/capabilities/permitted", all);
    let mut running = vm.start(&options, document);
    read_until(&mut running.streams.stdout, "ready\n");
    let further = vm.exec(&options.container, exec(&["cat", "/proc/self/cgroup"]), "");
    let ended = vm.finish(further);
    assert!(ended.stdout.contains("0::/in\n"), "{ended:?}");
    vm.kill_and_remove(&options.container);
}
