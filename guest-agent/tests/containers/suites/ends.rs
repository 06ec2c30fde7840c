//! How containers, processes and the VM end, and that nothing is left.

use super::errors::groups;
use super::test;
use crate::assets::Assets;
use crate::host::{Vm, end_input, read_all, read_until};
use crate::runner::Test;
use crate::spec::{Document, exec, new_container, reference};
use hull_protocol::agent::{ErrorCode, Event, HostFrame, Outcome, ProcessRef, Request};
use hull_protocol::frame;
use std::fs;
use std::io::{Read, Write};
use std::time::Instant;

pub(super) const TESTS: &[Test] = &[
    test("output and exit status", &[], output_and_exit_status),
    test("signals and their statuses", &[], signals),
    test("what was written is there in the next life", &[], writable_layer),
    test("nothing is left of ten containers and thirty processes", &[], no_leaks),
    test("the small init reaps and passes signals on", &[], small_init),
    test("the end of the VM ends everything first", &[], end_of_vm),
    test("the agent ends when the host is gone", &[], host_gone),
    test("the agent gives up on a broken frame", &[], broken_frame),
    test("a container with busy orphans ends at once", &[], orphans),
];

fn output_and_exit_status(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let ended = vm.run(&options, Document::new(&["sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (7, "out\n", "err\n"));
    assert!(!ended.oom_killed);
    let again = vm.call(Request::Remove(reference(&options.container))).unwrap_err();
    assert_eq!(again.code, ErrorCode::NotFound);
}

fn signals(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]));
    assert!(running.pid > 1);
    read_until(&mut running.streams.stdout, "ready\n");
    assert_eq!(vm.call(Request::Remove(reference(&options.container))).unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(vm.signal(&running.name, 0).unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(vm.signal(&running.name, 65).unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(vm.signal(&running.name, 15), Ok(Outcome::Done));
    let name = running.name.clone();
    let ended = vm.finish(running);
    assert_eq!((ended.code, ended.stdout.as_str()), (3, "got it\n"));
    assert_eq!(vm.signal(&name, 15).unwrap_err().code, ErrorCode::NotFound);
    vm.remove(&options.container);
    for (signal, code) in [(9, 137), (34, 162)] {
        let options = vm.options();
        let running = vm.start(&options, Document::new(&["sleep", "1000"]));
        // Process 1 of a namespace is spared the default actions, but not by an exec'd parent's choice of SIGKILL.
        let further = vm.exec(&options.container, exec(&["sleep", "1000"]), "");
        assert_eq!(vm.signal(&further.name, signal), Ok(Outcome::Done));
        assert_eq!(vm.finish(further).code, code);
        drop(running);
        vm.kill_and_remove(&options.container);
    }
}

fn writable_layer(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    let script = "echo kept > /kept; rm /opt/plain; mkdir /opt/sub/x; chown 33:44 /opt/data; stat -c %a /";
    let ended = vm.run(&options, Document::new(&["sh", "-c", script]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "751\n"), "the image's own root directory: {ended:?}");
    options.container = new_container();
    let script = "cat /kept; ls /opt; stat -c %u:%g /opt/data; stat -c %a /";
    let ended = vm.run(&options, Document::new(&["sh", "-c", script]));
    assert_eq!(ended.stdout, "kept\ndata\norphan-script\nsecret\nsub\n33:44\n751\n", "{ended:?}");
}

fn no_leaks(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let census = |vm: &Vm| {
        let count = |path: String| fs::read_dir(path).map_or(0, Iterator::count);
        let pid = vm.agent_pid();
        let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap().lines().count();
        (count(format!("/proc/{pid}/fd")), mounts, groups(&vm.assets))
    };
    let options = vm.options();
    let first = vm.run(&options, Document::new(&["true"]));
    assert_eq!(first.code, 0);
    let before = census(&vm);
    for _ in 0..10 {
        let options = vm.options();
        let running = vm.start(&options, Document::new(&["sleep", "1000"]));
        for number in 0..3_u8 {
            let further = vm.exec(&options.container, exec(&["sh", "-c", &format!("exit {number}")]), "");
            assert_eq!(vm.finish(further).code, number);
        }
        drop(running);
        vm.kill_and_remove(&options.container);
    }
    assert_eq!(census(&vm), before, "descriptors, mounts, groups");
}

fn small_init(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    options.init = true;
    // An orphan that ends: without a reaper it would stay as a zombie.
    let script = "(sleep 0.1 &) ; trap 'cat /proc/1/comm; ls /proc | grep -c ^[0-9]; exit 5' TERM; echo ready; \
                  while :; do sleep 0.3; done";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]));
    read_until(&mut running.streams.stdout, "ready\n");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(vm.signal(&running.name, 15), Ok(Outcome::Done));
    let ended = vm.finish(running);
    assert_eq!(ended.code, 5, "{ended:?}");
    // init, sh, ls, grep; a sleep of the loop may or may not be there.
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0] == "hull-init" && ["4", "5"].contains(&lines[1]), "{ended:?}");
    vm.remove(&options.container);
    let mut options = vm.options();
    options.init = true;
    let ended = vm.run(&options, Document::new(&["sh", "-c", "kill -9 $$"]));
    assert_eq!(ended.code, 137);
    let mut options = vm.options();
    options.init = true;
    assert_eq!(vm.try_start(&options, Document::new(&["nothing"])).unwrap_err().code, ErrorCode::CommandNotFound);
}

fn end_of_vm(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let one = vm.options();
    let two = vm.options();
    let first = vm.start(&one, Document::new(&["sh", "-c", "echo x > /x; trap '' TERM; sleep 1000"]));
    let _second = vm.start(&two, Document::new(&["sleep", "1000"]));
    let further = vm.exec(&one.container, exec(&["sleep", "1000"]), "");
    // Both in one piece, so that the second is read before the first is done.
    let mut wire = encode(100, Request::End);
    wire.extend(encode(101, Request::End));
    vm.control.write_all(&wire).unwrap();
    assert_eq!(vm.answer(101).unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(vm.answer(100), Ok(Outcome::Done));
    let mut ended = Vec::new();
    for _ in 0..3 {
        match vm.next_event() {
            Event::Exited { process, code: 137, .. } => ended.push(process),
            event => panic!("{event:?}"),
        }
    }
    assert!(ended.contains(&first.name) && ended.contains(&further.name));
    assert_eq!(read_all(first.streams.stdout), "");
    assert_eq!(vm.control.read(&mut [0]).unwrap(), 0, "the agent speaks no more");
    vm.control.shutdown(std::net::Shutdown::Both).unwrap();
    let (status, said) = vm.wait();
    assert!(status.success() && said == "Asked\n", "{said}");
}

fn host_gone(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let _running = vm.start(&options, Document::new(&["sleep", "1000"]));
    vm.control.shutdown(std::net::Shutdown::Both).unwrap();
    let (status, said) = vm.wait();
    assert!(status.success() && said == "HostGone\n", "{said}");
    let killed = fs::write(assets.cgroups.join(options.container.as_str()).join("cgroup.kill"), "1");
    killed.expect("the restart that ends a VM is not for a test to make");
    remove_group(assets, options.container.as_str());
}

/// Waits until the killed processes of a group are gone.
fn remove_group(assets: &Assets, name: &str) {
    let started = Instant::now();
    while fs::remove_dir(assets.cgroups.join(name)).is_err() {
        assert!(started.elapsed().as_secs() < 20, "{name} is not empty");
        std::thread::yield_now();
    }
}

fn broken_frame(assets: &Assets) {
    for bytes in [[0xff; 8].as_slice(), b"\x03\0\0\0{}}", b"\x1c\0\0\0{\"id\":1,\"request\":\"unknown\"}"] {
        let mut vm = Vm::boot(assets);
        vm.control.write_all(bytes).unwrap();
        let (status, _) = vm.wait();
        assert!(!status.success(), "{bytes:?}");
    }
    let mut vm = Vm::boot(assets);
    let whole = encode(1, Request::End);
    vm.control.write_all(&whole[..whole.len() - 1]).unwrap();
    end_input(&vm.control);
    let (_, said) = vm.wait();
    assert_eq!(said, "HostGone\n", "a truncated frame is the host's end");
}

fn encode(id: u64, request: Request) -> Vec<u8> {
    frame::encode(&HostFrame { id, request }).unwrap()
}

fn orphans(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let script = "for i in $(seq 20); do (while :; do echo $i > /tmp/$i; done) & done; sleep 0.2; exit 4";
    let ended = vm.run(&options, Document::new(&["sh", "-c", script]));
    assert_eq!(ended.code, 4);
    let nobody = ProcessRef { container: options.container, exec: None };
    assert_eq!(vm.signal(&nobody, 9).unwrap_err().code, ErrorCode::NotFound);
}
