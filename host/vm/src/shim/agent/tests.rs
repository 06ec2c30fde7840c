//! The connection by itself; what the guest can do to the shim through it is tested with the whole shim.

use super::*;
use hull_protocol::agent::ErrorCode;
use std::sync::mpsc::{Sender, channel};

struct News {
    ready: Mutex<Sender<()>>,
    lost: Mutex<Sender<Lost>>,
}

impl Listener for News {
    fn ready(&self, _: &str) {
        self.ready.lock().unwrap().send(()).unwrap();
    }

    fn exited(&self, _: &ProcessRef, _: u8, _: bool) -> bool {
        false
    }

    fn lost(&self, lost: Lost) {
        let _ = self.lost.lock().unwrap().send(lost);
    }
}

struct Connection {
    agent: Agent,
    guest: LocalStream,
    ready: Receiver<()>,
    lost: Receiver<Lost>,
}

fn connect() -> Connection {
    let (here, guest) = LocalStream::pair().unwrap();
    let ((is_ready, ready), (is_lost, lost)) = (channel(), channel());
    let news = News { ready: Mutex::new(is_ready), lost: Mutex::new(is_lost) };
    Connection { agent: Agent::start(here, "h".into(), Arc::new(news)).unwrap(), guest, ready, lost }
}

fn greeted() -> (Agent, LocalStream, Receiver<Lost>) {
    let Connection { agent, guest, ready, lost } = connect();
    frame::write(&mut &guest, &Hello { version: VERSION, kernel: "k".into(), uptime_ns: 0 }).unwrap();
    frame::read::<Welcome>(&mut &guest).unwrap().unwrap();
    ready.recv_timeout(LONG).unwrap();
    (agent, guest, lost)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn nothing_is_asked_before_the_handshake() {
    let connection = connect();
    assert!(matches!(connection.agent.call(Request::End, LONG), Err(CallError::Silent)));
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let (agent, guest, _lost) = greeted();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| agent.call(Request::End, LONG))).collect();
        let frames: Vec<HostFrame> = (0..3).map(|_| frame::read(&mut &guest).unwrap().unwrap()).collect();
        for frame in frames.iter().rev() {
            let error = AgentError { code: ErrorCode::Internal, message: frame.id.to_string() };
            frame::write(&mut &guest, &GuestFrame::Answer(Answer { id: frame.id, result: Err(error) })).unwrap();
        }
        let mut got: Vec<_> = calls.into_iter().map(|call| call.join().unwrap().unwrap_err().to_string()).collect();
        got.sort();
        assert_eq!(got, ["1", "2", "3"]);
    });
}

#[test]
fn a_guest_that_does_not_answer_or_read_meets_deadlines() {
    let (agent, _guest, _lost) = greeted();
    let soon = Duration::from_millis(10);
    assert!(matches!(agent.call(Request::End, soon), Err(CallError::Deadline(0))));
    // Large requests fill the socket, then the queue; the caller is never stuck.
    let id = hull_protocol::ContainerId::from_bytes([1; 32]);
    let exec = || {
        Request::Exec(Box::new(hull_protocol::agent::ExecProcess {
            process: ProcessRef { container: id.clone(), exec: None },
            spec: oci_spec::runtime::Process::default(),
            user: "x".repeat(500_000),
            stdio: hull_protocol::agent::Stdio::Pipes { stdin: None, stdout: None, stderr: None },
        }))
    };
    let blocked = (0..100)
        .find_map(|_| agent.call(exec(), Duration::from_millis(1)).err().filter(|e| matches!(e, CallError::Blocked)));
    assert!(blocked.is_some());
}

#[test]
fn whoever_waits_when_the_connection_ends_hears_it() {
    let (agent, guest, lost) = greeted();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| agent.call(Request::End, LONG));
        frame::read::<HostFrame>(&mut &guest).unwrap().unwrap();
        drop(guest);
        assert!(matches!(call.join().unwrap(), Err(CallError::Gone)));
    });
    assert_eq!(lost.recv_timeout(LONG), Ok(Lost::Closed));
    assert!(matches!(agent.call(Request::End, LONG), Err(CallError::Gone)));
}
