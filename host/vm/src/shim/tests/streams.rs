//! Standard streams and attached clients.

use super::rig::*;
use hull_protocol::agent::{Outcome, Request as Ask, Stdio, TerminalSize};
use hull_protocol::session::{self, Kind};
use hull_protocol::shim::{Attach, ContainerPlan, Reply, Request};
use std::io::{Read, Write};
use std::time::Duration;

fn start(rig: &Rig, plan: ContainerPlan, attach: Option<Attach>) -> (Client, Streams) {
    let client = rig.client(Request::Start(Box::new(plan), attach));
    let (_, streams) = rig.run_container();
    client.started();
    (client, streams)
}

/// Ends a container and hears what its client saw.
fn end(rig: &mut Rig, plan: &ContainerPlan, client: &Client) -> Seen {
    rig.exited(first(&plan.container), 0);
    client.session()
}

fn read_all(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn output_that_overtakes_the_answer_is_not_lost() {
    let mut rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan.clone()), Some(ATTACH)));
    let (number, Ask::Start(asked)) = rig.asked() else { panic!() };
    let mut streams = rig.dial(&asked.stdio);
    streams.stdout.as_mut().unwrap().write_all(b"early").unwrap();
    drop(streams);
    rig.exited(first(&plan.container), 5);
    rig.answer(number, Ok(Outcome::Started { pid: 42 }));
    client.started();
    let seen = client.session();
    assert_eq!((seen.stdout.as_slice(), seen.code()), (&b"early"[..], 5));
    drop(client);
    rig.join();
}

#[test]
fn output_that_comes_after_the_exit_status_is_delivered() {
    let mut rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (client, mut streams) = start(&rig, plan.clone(), Some(ATTACH));
    rig.exited(first(&plan.container), 0);
    std::thread::sleep(Duration::from_millis(50));
    streams.stdout.as_mut().unwrap().write_all(b"late").unwrap();
    drop(streams);
    assert_eq!(client.session().stdout, b"late");
    drop(client);
    rig.join();
}

#[test]
fn a_large_pipe_passes_whole_and_in_order() {
    const MIB: usize = 64;
    let mut rig = Rig::up(OWN);
    let (_, mut plan) = rig.container(1);
    (plan.open_stdin, plan.stdin_once) = (true, true);
    let (client, streams) = start(&rig, plan.clone(), Some(ATTACH));
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[1] ^ at.to_le_bytes()[0]).collect();
    std::thread::scope(|scope| {
        let Streams { stdin, stdout, stderr } = streams;
        // `cat`, in the guest.
        scope.spawn(move || std::io::copy(&mut stdin.unwrap(), &mut stdout.unwrap()).unwrap());
        scope.spawn(|| {
            (0..MIB).for_each(|_| client.input(&block));
            client.input(b"");
        });
        drop(stderr);
        let mut got = 0;
        let mut payload = Vec::new();
        while got < MIB << 20 {
            assert_eq!(session::read(&mut &client.0, &mut payload).unwrap(), Some(Kind::Stdout));
            let at = got % block.len();
            let length = payload.len().min(block.len() - at);
            assert_eq!(payload[..length], block[at..at + length]);
            assert_eq!(payload[length..], block[..payload.len() - length]);
            got += payload.len();
        }
    });
    let seen = end(&mut rig, &plan, &client);
    assert_eq!((seen.stdout.len(), seen.code()), (0, 0));
    drop(client);
    rig.join();
}

#[test]
fn a_client_that_does_not_read_holds_the_process_back_but_not_its_end() {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    let (client, mut streams) = start(&rig, plan.clone(), Some(ATTACH));
    let mut stdout = streams.stdout.take().unwrap();
    stdout.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut written = 0;
    while let Ok(count) = stdout.write(&[7; 65536]) {
        written += count;
        assert!(written < 8 << 20, "somebody keeps it all in memory");
    }
    drop((stdout, streams));
    rig.exited(first(&plan.container), 0);
    // Its state is recorded although its client has not read a byte.
    while state(&dir).status != hull_state::Status::Exited {
        std::thread::yield_now();
    }
    let seen = client.session();
    assert_eq!((seen.stdout.len(), seen.code()), (written, 0));
    drop(client);
    rig.join();
}

#[test]
fn standard_input_ends_when_the_client_says_so_or_leaves() {
    for leaves in [false, true] {
        let rig = Rig::up(OWN);
        let (_, mut plan) = rig.container(1);
        (plan.open_stdin, plan.stdin_once) = (true, true);
        let (client, mut streams) = start(&rig, plan, Some(ATTACH));
        client.input(b"some input");
        if leaves {
            drop(client);
        } else {
            client.input(b"");
            std::mem::forget(client);
        }
        assert_eq!(read_all(streams.stdin.as_mut().unwrap()), b"some input");
    }
}

#[test]
fn standard_input_stays_open_for_the_next_client() {
    let rig = Rig::up(OWN);
    let (_, mut plan) = rig.container(1);
    plan.open_stdin = true;
    let id = plan.container.clone();
    let (client, mut streams) = start(&rig, plan, Some(ATTACH));
    client.input(b"one ");
    client.input(b"");
    let mut got = [0; 4];
    let stdin = streams.stdin.as_mut().unwrap();
    stdin.read_exact(&mut got).unwrap();
    drop(client);
    let client = rig.client(Request::Attach(id, ATTACH));
    assert_eq!(client.reply(), Reply::Attached);
    client.input(b"two ");
    stdin.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"two ");
}

#[test]
fn without_open_stdin_there_is_none() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (start, _streams) = rig.run_container();
    client.started();
    assert!(matches!(start.stdio, Stdio::Pipes { stdin: None, stdout: Some(_), stderr: Some(_) }));
    client.input(b"for nobody");
}

#[test]
fn clients_come_and_go_and_each_sees_what_it_wants() {
    let mut rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (starter, mut streams) = start(&rig, plan.clone(), None);
    drop(starter);
    let leaving = rig.client(Request::Attach(plan.container.clone(), ATTACH));
    let only_errors = Attach { stdout: false, stdin: false, ..ATTACH };
    let staying = rig.client(Request::Attach(plan.container.clone(), only_errors));
    for client in [&leaving, &staying] {
        assert_eq!(client.reply(), Reply::Attached);
    }
    drop(leaving);
    // The shim notices that a client is gone when it writes to it, or reads its end.
    for _ in 0..8 {
        streams.stdout.as_mut().unwrap().write_all(&[1; 65536]).unwrap();
    }
    // An attached client sees what comes from its attachment on.
    std::thread::sleep(Duration::from_millis(50));
    streams.stderr.as_mut().unwrap().write_all(b"problem").unwrap();
    drop(streams);
    let seen = end(&mut rig, &plan, &staying);
    assert_eq!((seen.stdout.len(), seen.stderr.as_slice()), (0, &b"problem"[..]));
    drop(staying);
    rig.join();
}

#[test]
fn a_terminal_has_one_stream_and_a_size() {
    let mut rig = Rig::up(OWN);
    let (_, mut plan) = rig.container(1);
    (plan.tty, plan.open_stdin, plan.stdin_once) = (true, true, true);
    let size = TerminalSize { rows: 30, columns: 100 };
    let attach = Attach { size: Some(size), ..ATTACH };
    let client = rig.client(Request::Start(Box::new(plan.clone()), Some(attach)));
    let (start, mut streams) = rig.run_container();
    client.started();
    assert!(matches!(start.stdio, Stdio::Terminal { size: asked, .. } if asked == size));
    let terminal = streams.stdout.as_mut().unwrap();
    client.input(b"ls\r");
    let mut typed = [0; 3];
    terminal.read_exact(&mut typed).unwrap();
    terminal.write_all(&typed).unwrap();

    let bigger = TerminalSize { rows: 31, columns: 101 };
    let resizing = rig.client(Request::Resize(plan.container.clone(), None, bigger));
    rig.done(|ask| matches!(ask, Ask::Resize(resize) if resize.size == bigger));
    assert_eq!(resizing.reply(), Reply::Done);
    // The end of its input is not that of the terminal's.
    client.input(b"");
    drop(streams);
    assert_eq!(end(&mut rig, &plan, &client).stdout, b"ls\r");
    drop(client);
    rig.join();
}

#[test]
fn an_exec_has_streams_of_its_own() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (_client, mut container) = start(&rig, plan.clone(), None);
    let mut exec = exec_plan(&plan.container, 3);
    exec.open_stdin = true;
    let client = rig.client(Request::Exec(Box::new(exec.clone()), Some(ATTACH)));
    let (number, Ask::Exec(asked)) = rig.asked() else { panic!() };
    assert_eq!(asked.process, exec_ref(&exec));
    let mut streams = rig.dial(&asked.stdio);
    rig.answer(number, Ok(Outcome::Started { pid: 42 }));
    client.started();
    client.input(b"in");
    client.input(b"");
    assert_eq!(read_all(streams.stdin.as_mut().unwrap()), b"in");
    container.stdout.as_mut().unwrap().write_all(b"not for the exec's client").unwrap();
    streams.stdout.as_mut().unwrap().write_all(b"out").unwrap();
    drop(streams);
    rig.exited(exec_ref(&exec), 7);
    let seen = client.session();
    assert_eq!((seen.stdout.as_slice(), seen.code(), seen.reason()), (&b"out"[..], 7, ""));
}

#[test]
fn what_an_exec_leaves_behind_does_not_keep_its_client() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (_client, _container) = start(&rig, plan.clone(), None);
    let exec = exec_plan(&plan.container, 3);
    let client = rig.client(Request::Exec(Box::new(exec.clone()), Some(ATTACH)));
    let (number, Ask::Exec(asked)) = rig.asked() else { panic!() };
    let mut streams = rig.dial(&asked.stdio);
    rig.answer(number, Ok(Outcome::Started { pid: 42 }));
    client.started();
    streams.stdout.as_mut().unwrap().write_all(b"out").unwrap();
    rig.exited(exec_ref(&exec), 0);
    // `streams` stay open, as with `sh -c 'sleep 1000 &'`.
    assert_eq!(client.session().stdout, b"out");
}

#[test]
fn a_detached_exec_has_no_output() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let (_client, _container) = start(&rig, plan.clone(), None);
    let client = rig.client(Request::Exec(Box::new(exec_plan(&plan.container, 3)), None));
    let (number, Ask::Exec(asked)) = rig.asked() else { panic!() };
    assert_eq!(asked.stdio, Stdio::Pipes { stdin: None, stdout: None, stderr: None });
    rig.answer(number, Ok(Outcome::Started { pid: 42 }));
    client.started();
}

#[test]
fn output_is_logged() {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    let (client, mut streams) = start(&rig, plan.clone(), Some(ATTACH));
    streams.stdout.as_mut().unwrap().write_all(b"to be found later\n").unwrap();
    drop(streams);
    end(&mut rig, &plan, &client);
    let files: Vec<_> = std::fs::read_dir(dir.log_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let logged = std::fs::read(&files[0]).unwrap();
    assert!(logged.windows(17).any(|window| window == b"to be found later"));
    drop(client);
    rig.join();
}
