//! Guests, vmms and clients that do not keep to the rules.

use super::rig::*;
use hull_protocol::agent::{Answer, Event, GuestFrame, Hello, Outcome, VERSION};
use hull_protocol::frame::MAX_FRAME;
use hull_protocol::shim::{self, Call, Reply, Request, ShimErrorCode};
use hull_state::Status;
use std::io::{Read, Write};

/// Starts a container, lets the guest send this, and says why the VM ended.
fn reason_after(wire: &[u8]) -> String {
    let mut rig = Rig::up(OWN);
    let (dir, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, streams) = rig.run_container();
    client.started();
    // The shim may hang up before all of it is written.
    let _ = rig.guest().write_all(wire);
    let _ = rig.guest().shutdown(std::net::Shutdown::Write);
    drop(streams);
    let seen = client.session();
    assert_eq!((seen.code(), state(&dir).status), (137, Status::Exited));
    drop(client);
    rig.join();
    seen.reason().to_owned()
}

fn frame(json: &str) -> Vec<u8> {
    [&u32::try_from(json.len()).unwrap().to_le_bytes(), json.as_bytes()].concat()
}

#[test]
fn a_frame_that_is_not_of_the_protocol_ends_the_vm_with_the_reason() {
    let broken = "the guest's agent broke the protocol: ";
    let oversized = u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes();
    assert_eq!(reason_after(&oversized), format!("{broken}frame of 1048577 bytes is over the limit of 1048576"));
    assert_eq!(reason_after(&[9, 0, 0, 0, b'{']), format!("{broken}connection ended inside a frame"));
    let unknown = reason_after(&frame(r#"{"event":{"party":{}}}"#));
    assert!(unknown.starts_with(&format!("{broken}frame is malformed: unknown variant `party`")), "{unknown}");
    let field = reason_after(&frame(r#"{"answer":{"id":1,"result":{"Ok":"done"},"x":1}}"#));
    assert!(field.starts_with(&format!("{broken}frame is malformed: unknown field `x`")), "{field}");
    let escape = reason_after(&frame("{\"\\u001b[2J\":1}"));
    assert!(escape.contains("malformed") && !escape.contains('\x1b'), "{escape:?}");
    let deep = reason_after(&frame(&format!("{}1", r#"{"answer":"#.repeat(100_000))));
    assert!(deep.contains("malformed"), "{deep}");
}

#[test]
fn a_guest_of_another_version_is_named() {
    let mut rig = Rig::silent(OWN);
    let (_, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan), None));
    rig.say(&Hello { version: VERSION + 1, kernel: "x".into(), uptime_ns: 0 });
    let Reply::Error(error) = client.reply() else { panic!("it started") };
    assert_eq!(error.message, "the guest's agent speaks version 2 of the protocol, this hull speaks 1");
    drop(client);
    rig.join();
}

#[test]
fn a_first_frame_that_is_no_greeting_ends_the_vm() {
    let mut rig = Rig::silent(OWN);
    rig.say(&GuestFrame::Answer(Answer { id: 1, result: Ok(Outcome::Done) }));
    rig.join();
    assert!(rig.shim.life.reason().unwrap().contains("broke the protocol"));
}

#[test]
fn answers_and_ends_that_belong_to_nothing_are_borne_for_a_while() {
    let mut rig = Rig::up(NAMED);
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), None));
    for stray in 0..500 {
        rig.answer(10_000 + stray, Ok(Outcome::Done));
        rig.exited(first(&id), 1);
        rig.say(&GuestFrame::Event(Event::Warning { message: "!".into() }));
        if stray == 0 {
            // The first of those was true after all, and the rest make no difference.
            let _streams = rig.run_container();
            client.started();
        }
    }
    assert!(matches!(rig.ask(Request::Status), Reply::Status(_)));
    let mut flood = 0;
    while flood < 1000
        && hull_protocol::frame::write(
            &mut rig.guest(),
            &GuestFrame::Answer(Answer { id: 0, result: Ok(Outcome::Done) }),
        )
        .is_ok()
    {
        flood += 1;
    }
    rig.join();
    let reason = rig.shim.life.reason().unwrap();
    assert!(reason.ends_with("over 1000 frames that belong to nothing"), "{reason}");
}

#[test]
fn a_vmm_that_lies_or_dies_ends_the_vm() {
    for lie in [&b"\xff\xff\xff\xff"[..], &frame(r#"{"answer":{"Ok":null}}"#), &frame(r#"{"ended":"maybe"}"#)] {
        let mut rig = Rig::up(OWN);
        rig.vmm.say_raw(lie);
        rig.join();
        assert!(rig.shim.life.reason().is_some());
    }
}

#[test]
fn clients_that_make_no_sense_hurt_nobody() {
    let rig = Rig::up(NAMED);
    let stuck = rig.connect();
    (&stuck.0).write_all(&[200, 0]).unwrap();
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x02\0\0\0{}",
        b"\x04\0\0\0null",
        &frame(&format!(r#"{{"version":{},"request":"dance"}}"#, shim::VERSION)),
    ] {
        let client = rig.connect();
        (&client.0).write_all(nonsense).unwrap();
        let Reply::Error(error) = client.reply() else { panic!("it did something") };
        assert_eq!(error.code, ShimErrorCode::Internal);
    }
    drop(rig.connect());
    assert!(matches!(rig.ask(Request::Status), Reply::Status(_)));
}

#[test]
fn a_client_of_another_version_can_look_and_stop_but_nothing_else() {
    let mut rig = Rig::up(NAMED);
    let (_, plan) = rig.container(1);
    let ask = |json: &str| {
        let client = rig.connect();
        (&client.0).write_all(&frame(json)).unwrap();
        client.reply()
    };
    for request in
        [r#"{"reboot":{}}"#.to_owned(), serde_json::to_string(&Request::Wait(plan.container.clone())).unwrap()]
    {
        let Reply::Error(error) = ask(&format!(r#"{{"version":7,"request":{request}}}"#)) else {
            panic!("it did something")
        };
        assert_eq!(error.code, ShimErrorCode::Version);
        let ours = format!("version {}", shim::VERSION);
        assert!(error.message.contains(&ours) && error.message.contains("version 7"), "{}", error.message);
    }
    assert!(matches!(ask(r#"{"version":7,"request":"status"}"#), Reply::Status(_)));
    assert_eq!(ask(r#"{"version":7,"request":"stop_vm"}"#), Reply::Done);
    rig.join();
}

#[test]
fn too_many_clients_are_turned_away_and_waits_of_the_dead_are_forgotten() {
    let rig = Rig::up(NAMED);
    let (_, plan) = rig.container(1);
    let id = plan.container.clone();
    let client = rig.client(Request::Start(Box::new(plan), None));
    let _streams = rig.run_container();
    client.started();
    let waiting: Vec<_> = (0..128).map(|_| rig.client(Request::Wait(id.clone()))).collect();
    let turned_away = loop {
        // Until the starting client's thread has ended, one of those above may have been turned away in its place.
        if let Some(Reply::Error(error)) = waiting.iter().find_map(try_reply) {
            break error;
        }
        if let Reply::Error(error) = rig.ask(Request::Status) {
            break error;
        }
    };
    assert_eq!(turned_away.message, "over 128 commands are connected to this VM");
    drop(waiting);
    // Their threads notice, and there is room again.
    while !matches!(rig.ask(Request::Status), Reply::Status(_)) {
        std::thread::yield_now();
    }
}

fn try_reply(client: &Client) -> Option<Reply> {
    client.0.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1024];
    let count = (&client.0).read(&mut bytes);
    client.0.set_nonblocking(false).unwrap();
    hull_protocol::frame::read(&mut bytes.get(..count.ok()?)?).unwrap()
}

#[test]
fn a_session_client_that_makes_no_sense_is_let_go() {
    let rig = Rig::up(OWN);
    let (_, plan) = rig.container(1);
    let client = rig.client(Request::Start(Box::new(plan), Some(ATTACH)));
    let (_, mut streams) = rig.run_container();
    client.started();
    (&client.0).write_all(&[9, 9, 9, 9, 9, 9]).unwrap();
    assert_eq!(client.session(), Seen::default());
    streams.stdout.as_mut().unwrap().write_all(b"it goes on").unwrap();
    assert!(matches!(rig.ask(Request::Status), Reply::Status(_)) && rig.shim.roster.all().len() == 1);
}

#[test]
fn a_call_keeps_its_shape() {
    // What `AnyCall` in the server relies on.
    let call = serde_json::to_value(Call { version: 1, request: Request::Status }).unwrap();
    assert_eq!(call, serde_json::json!({"version": 1, "request": "status"}));
}
