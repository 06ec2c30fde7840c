//! Pipes, terminals, and what becomes of them.

use super::test;
use crate::assets::Assets;
use crate::host::{Vm, end_input, read_all, read_until};
use crate::runner::Test;
use crate::spec::{Document, exec};
use hull_protocol::agent::{ErrorCode, Outcome, Stdio, TerminalSize};
use serde_json::json;
use std::io::{Read, Write};
use std::time::Duration;

const SIZE: TerminalSize = TerminalSize { rows: 41, columns: 97 };

pub(super) const TESTS: &[Test] = &[
    test("bytes arrive whole and in order both ways", &[], pipes),
    test("a reader that does not read holds the writer up", &[], back_pressure),
    test("a process that closes its input harms nobody", &[], closed_input),
    test("a host that closes the output ends the writer", &[], closed_output),
    test("streams without a port are empty", &[], no_streams),
    test("a terminal with its size, Ctrl-C and the end", &[], terminal),
    test("a terminal of a further process", &[], further_terminal),
    test("a terminal below the small init", &[], terminal_below_init),
    test("output of a background process outlives its parent", &[], background),
    test("standard streams can be opened again", &[], reopened),
];

fn pipes(assets: &Assets) {
    const LENGTH: usize = 24 << 20;
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let running = vm.start(&options, Document::new(&["cat"]));
    let sent: Vec<u8> = (0..LENGTH).map(|at| u8::try_from((at * 7 + at / 4096) % 251).unwrap()).collect();
    let expected = sent.clone();
    let mut stdin = running.streams.stdin;
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let mut got = Vec::new();
    let mut stdout = running.streams.stdout;
    stdout.read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(got == expected, "{} bytes of {LENGTH}", got.len());
    assert_eq!(read_all(running.streams.stderr), "");
    assert_eq!(vm.exited(&running.name).0, 0);
    vm.remove(&options.container);
}

fn back_pressure(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    // The writer tells on its other stream how far it has come.
    let script = "i=0; while :; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >&2; done";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]));
    running.streams.stderr.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let mut told = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = running.streams.stderr.read(&mut piece) {
        told.extend_from_slice(&piece[..count]);
    }
    let pieces: u32 = String::from_utf8(told).unwrap().lines().last().unwrap().parse().unwrap();
    assert!(pieces < 64, "{pieces} pieces of 64 KiB went somewhere");
    // A chatty process does not delay anything else.
    vm.kill_and_remove(&options.container);
}

fn closed_input(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let mut running =
        vm.start(&options, Document::new(&["sh", "-c", "exec 0<&-; echo closed; sleep 0.3; echo still here"]));
    read_until(&mut running.streams.stdout, "closed\n");
    // Whether this fails or goes nowhere is a matter of time.
    let _refused = running.streams.stdin.write_all(&[0; 1 << 20]);
    let ended = vm.finish(running);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "still here\n"));
    vm.remove(&options.container);
}

fn closed_output(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let running = vm.start(&options, Document::new(&["sh", "-c", "yes; echo $? >&2"]));
    drop(running.streams.stdout);
    // SIGPIPE has its default action: the agent's own must not be inherited.
    assert_eq!(read_all(running.streams.stderr).trim(), "141");
    assert_eq!(vm.exited(&running.name).0, 0);
    vm.remove(&options.container);
}

fn no_streams(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let document = Document::new(&["sh", "-c", "cat; echo x && echo y >&2 && exit 6"]);
    let stdio = Stdio::Pipes { stdin: None, stdout: None, stderr: None };
    let outcome = vm.call(Vm::request_start(&options, document, stdio));
    assert!(matches!(outcome, Ok(Outcome::Started { .. })), "{outcome:?}");
    let name = hull_protocol::agent::ProcessRef { container: options.container.clone(), exec: None };
    assert_eq!(vm.exited(&name).0, 6);
    vm.remove(&options.container);
}

fn terminal(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let script =
        "trap 'stty size' WINCH; tty; stty size; stat -c %t:%T /dev/console; echo ready; while :; do sleep 0.05; done";
    let mut running = vm.start_on_terminal(&options, Document::new(&["sh", "-c", script]), SIZE);
    let text = read_until(&mut running.streams, "ready\r\n");
    assert_eq!(text, "/dev/pts/0\r\n41 97\r\n88:0\r\nready\r\n");
    assert_eq!(vm.resize(&running.name, 10, 20), Ok(Outcome::Done));
    read_until(&mut running.streams, "10 20\r\n");
    // Not the end of the process: the host may say no more and still listen.
    running.streams.write_all(b"\x03").unwrap();
    end_input(&running.streams);
    assert_eq!(read_all(running.streams), "^C");
    assert_eq!(vm.exited(&running.name).0, 130);
    vm.remove(&options.container);
}

fn further_terminal(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let running = vm.start(&options, Document::new(&["sleep", "1000"]));
    assert_eq!(vm.resize(&running.name, 1, 1).unwrap_err().code, ErrorCode::NotFound);
    let mut further = vm.exec_on_terminal(&options.container, exec(&["sh", "-c", "tty; stty size; cat"]));
    read_until(&mut further.streams, "7 9\r\n");
    further.streams.write_all(b"echoed\n\x04").unwrap();
    assert_eq!(read_all(further.streams), "echoed\r\nechoed\r\n");
    assert_eq!(vm.exited(&further.name).0, 0);
    // When the host hangs up, so does the terminal.
    let mut further = vm.exec_on_terminal(&options.container, exec(&["sh", "-c", "echo ready; sleep 1000"]));
    read_until(&mut further.streams, "ready\r\n");
    drop(further.streams);
    assert_eq!(vm.exited(&further.name).0, 129);
    vm.kill_and_remove(&options.container);
}

fn terminal_below_init(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    options.init = true;
    let mut running =
        vm.start_on_terminal(&options, Document::new(&["sh", "-c", "read line; echo got $line; sleep 1000"]), SIZE);
    running.streams.write_all(b"word\n").unwrap();
    read_until(&mut running.streams, "got word\r\n");
    running.streams.write_all(b"\x03").unwrap();
    assert_eq!(vm.exited(&running.name).0, 130);
    vm.remove(&options.container);
}

fn background(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let options = vm.options();
    let _running = vm.start(&options, Document::new(&["sleep", "1000"]));
    let further =
        vm.exec(&options.container, exec(&["sh", "-c", "exec 3<&0; (read x <&3; echo late) & echo early"]), "");
    // It has ended though the pipe is still held; the stream goes on.
    assert_eq!(vm.exited(&further.name).0, 0);
    let mut stdin = further.streams.stdin;
    stdin.write_all(b"go\n").unwrap();
    assert_eq!(read_all(further.streams.stdout), "early\nlate\n");
    vm.kill_and_remove(&options.container);
}

fn reopened(assets: &Assets) {
    let mut vm = Vm::boot(assets);
    let mut options = vm.options();
    options.user = "www".to_owned();
    let script = "echo out > /dev/stdout; echo err > /proc/self/fd/2; cat /dev/stdin";
    let mut running = vm.start(&options, Document::new(&["sh", "-c", script]));
    running.streams.stdin.write_all(b"in").unwrap();
    let ended = vm.finish(running);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\nin", "err\n"), "{ended:?}");
    vm.remove(&options.container);
    let mut options = vm.options();
    options.user = "www".to_owned();
    let document = Document::new(&["sh", "-c", "echo out > /dev/stdout; exit 0"]).with("/process/cwd", json!("/tmp"));
    let running = vm.start_on_terminal(&options, document, SIZE);
    assert_eq!(read_all(running.streams), "out\r\n");
    assert_eq!(vm.exited(&running.name).0, 0);
    vm.remove(&options.container);
}
