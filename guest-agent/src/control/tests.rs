use super::*;
use hull_protocol::agent::{Outcome, ProcessEntry, Request, WallClock};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::fs::File;
use std::io::{Read, Write};

fn pair() -> (Control, File) {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    (Control::new(ours), theirs.into())
}

fn warning(message: &str) -> GuestFrame {
    GuestFrame::Event(Event::Warning { message: message.to_owned() })
}

#[test]
fn handshake_keeps_what_came_with_the_welcome() {
    let (mut control, mut host) = pair();
    control.say_hello().unwrap();
    let hello: Hello = frame::read(&mut host).unwrap().unwrap();
    assert_eq!(hello.version, VERSION);
    assert!(!hello.kernel.is_empty() && hello.uptime_ns > 0);
    let time = WallClock { seconds: 1, nanoseconds: 2 };
    let mut wire = frame::encode(&Welcome { version: VERSION, time, hostname: "vm".to_owned() }).unwrap();
    wire.extend(frame::encode(&HostFrame { id: 7, request: Request::End }).unwrap());
    host.write_all(&wire).unwrap();
    assert_eq!(control.hear_welcome().unwrap().hostname, "vm");
    control.unblock().unwrap();
    assert!(matches!(control.receive().unwrap(), Received::Frame(HostFrame { id: 7, request: Request::End })));
    assert!(matches!(control.receive().unwrap(), Received::Nothing));
    drop(host);
    assert!(matches!(control.receive().unwrap(), Received::Closed));
}

#[test]
fn other_versions_and_broken_frames_are_errors() {
    let (mut control, mut host) = pair();
    let time = WallClock { seconds: 1, nanoseconds: 2 };
    frame::write(&mut host, &Welcome { version: VERSION + 1, time, hostname: String::new() }).unwrap();
    assert!(control.hear_welcome().unwrap_err().message.contains("version"));
    let (mut control, mut host) = pair();
    control.unblock().unwrap();
    host.write_all(&[0xff; 8]).unwrap();
    assert!(control.receive().unwrap_err().message.contains("over the limit"));
    let (mut control, mut host) = pair();
    control.unblock().unwrap();
    host.write_all(&[2, 0, 0, 0, b'{', b']']).unwrap();
    assert!(control.receive().unwrap_err().message.contains("malformed"));
}

#[test]
fn a_host_that_does_not_read_loses_warnings_only() {
    let (mut control, mut host) = pair();
    control.unblock().unwrap();
    let long = "x".repeat(60_000);
    let answer = GuestFrame::Answer(Answer { id: 1, result: Ok(Outcome::Done) });
    for _ in 0..200 {
        control.send(&warning(&long)).unwrap();
    }
    assert!(!control.is_flushed());
    control.send(&answer).unwrap();
    assert!(control.outgoing.len() < CONGESTED + 3 * 60_000);
    assert!(matches!(control.receive().unwrap(), Received::Nothing), "no request is taken while congested");
    let reader = std::thread::spawn(move || {
        let mut last = None;
        while let Some(frame) = frame::read::<GuestFrame>(&mut host).unwrap() {
            last = Some(frame);
        }
        last
    });
    while !control.is_flushed() {
        control.flush().unwrap();
        std::thread::yield_now();
    }
    drop(control);
    assert_eq!(reader.join().unwrap(), Some(answer));
}

#[test]
fn an_answer_that_is_too_large_becomes_an_error() {
    let (mut control, mut host) = pair();
    let entry = ProcessEntry { pid: 1, parent: 0, uid: 0, command: "x".repeat(frame::MAX_FRAME) };
    control.send(&GuestFrame::Answer(Answer { id: 9, result: Ok(Outcome::Processes(vec![entry])) })).unwrap();
    let Some(GuestFrame::Answer(answer)) = frame::read(&mut host).unwrap() else { panic!("no answer") };
    assert!(answer.id == 9 && answer.result.is_err());
    drop(control);
    assert_eq!(host.read(&mut [0]).unwrap(), 0);
}
