//! The socket on which commands reach the shim: one thread for each connection, one request on each.
//!
//! The socket is its owner's alone, but a client may be of another version, stuck or gone: none holds up another.

use super::agent::CallError;
use super::gate::Waited;
use super::process::Client;
use super::roster::Container;
use super::session::{self, Target};
use super::stop::{self, How};
use super::{REQUEST, Shim, call_error, container, exec};
use crate::text;
use hull_platform::socket::{LocalListener, LocalStream};
use hull_protocol::agent::{
    ContainerRef, Outcome, ProcessEntry, ProcessRef, Request as Ask, ResizeTerminal, TerminalSize,
};
use hull_protocol::frame::{self, FrameError};
use hull_protocol::shim::{
    Attach, ContainerPlan, ExecPlan, Reply, Request, ShimError, ShimErrorCode, VERSION, VmProcess, VmStatus,
};
use hull_protocol::{ContainerId, ExecId};
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Connections at once. Each is a thread, and up to a frame of memory.
const MAX_CONNECTIONS: usize = 128;

/// Connections that are kept open although nobody serves them.
const MAX_TURNED_AWAY: usize = 16;

/// For a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts connections for as long as the shim lives.
pub fn listen(shim: &Arc<Shim>, listener: &LocalListener) {
    let mut turned_away = VecDeque::new();
    loop {
        match listener.accept() {
            Ok(stream) => accept(shim, stream, &mut turned_away),
            Err(error) => {
                log::error!("cannot accept a connection: {error}");
                // Descriptors have run out, most likely: some will be free again, and until then each attempt fails at once.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Serves a new connection on a thread of its own, if there are not too many.
///
/// One too many gets its answer without being read from. It stays open for a while in `turned_away`: were it closed at
/// once, the client could find that out while it still writes, and never read why.
pub fn accept(shim: &Arc<Shim>, stream: LocalStream, turned_away: &mut VecDeque<LocalStream>) {
    let Some(connection) = shim.connections.enter(MAX_CONNECTIONS) else {
        let why = format!("over {MAX_CONNECTIONS} commands are connected to this VM");
        reply(&stream, &Reply::Error(internal(why)));
        turned_away.truncate(MAX_TURNED_AWAY - 1);
        return turned_away.push_front(stream);
    };
    let shim = Arc::clone(shim);
    let started = super::thread("client", move || {
        serve(&shim, &stream);
        connection.leave(stream, &shim);
        // What served it is not needed until the next one comes.
        hull_platform::memory::release_code();
    });
    if let Err(error) = started {
        log::error!("cannot start a thread: {error}");
    }
}

/// A [`hull_protocol::shim::Call`] whose request may be one that this version does not know.
#[derive(Deserialize)]
struct AnyCall {
    version: u32,
    request: serde_json::Value,
}

/// Serves one connection.
pub fn serve(shim: &Arc<Shim>, stream: &LocalStream) {
    match read_request(stream) {
        Ok(Some(request)) => answer(shim, stream, request),
        Ok(None) => {}
        Err(error) => reply(stream, &Reply::Error(error)),
    }
}

fn read_request(stream: &LocalStream) -> Result<Option<Request>, ShimError> {
    let timed = stream.set_read_timeout(Some(PATIENCE));
    let call = timed.map_err(FrameError::from).and_then(|()| frame::read::<AnyCall>(&mut &*stream));
    let Some(call) = call.map_err(|error| internal(text::chain(&error)))? else { return Ok(None) };
    stream.set_read_timeout(None).map_err(|error| internal(error.to_string()))?;
    let request = serde_json::from_value(call.request);
    match request {
        Ok(request @ (Request::Status | Request::StopVm)) => Ok(Some(request)),
        _ if call.version != VERSION => Err(ShimError {
            code: ShimErrorCode::Version,
            message: format!(
                "this VM was started by a hull that speaks version {VERSION} of the shim protocol, this command speaks \
                 version {}: stop the VM with `hull vm stop`, or use the other hull",
                call.version
            ),
        }),
        Ok(request) => Ok(Some(request)),
        Err(error) => Err(internal(format!("the request makes no sense: {error}"))),
    }
}

fn answer(shim: &Arc<Shim>, stream: &LocalStream, request: Request) {
    let answer = match request {
        // These answer by themselves, because a session may follow.
        Request::Start(plan, attach) => start(shim, stream, *plan, attach).map(|()| None),
        Request::Attach(id, attach) => attach_to(shim, stream, &id, &attach).map(|()| None),
        Request::Exec(plan, attach) => start_exec(shim, stream, *plan, attach).map(|()| None),
        Request::Signal(id, signal) => send_signal(shim, &id, signal).map(Some),
        Request::Stop { container, signal, timeout_seconds } => {
            stop_container(shim, stream, &container, How { signal, timeout_seconds })
        }
        Request::Wait(id) => wait(shim, stream, &id),
        Request::Resize(container, exec, size) => resize(shim, container, exec, size).map(Some),
        Request::Usage(container) => usage(shim, container).map(Some),
        Request::Processes(container) => processes(shim, container).map(Some),
        Request::Status => Ok(Some(Reply::Status(status(shim)))),
        Request::StopVm => {
            stop::stop_vm(shim);
            Ok(Some(Reply::Done))
        }
    };
    match answer {
        Ok(answer) => answer.iter().for_each(|answer| reply(stream, answer)),
        Err(error) => reply(stream, &Reply::Error(error)),
    }
}

fn reply(mut stream: &LocalStream, answer: &Reply) {
    let written = match frame::encode(answer) {
        Ok(bytes) => std::io::Write::write_all(&mut stream, &bytes).map_err(FrameError::from),
        Err(error) => frame::write(&mut stream, &Reply::Error(internal(error.to_string()))),
    };
    if let Err(error) = written {
        log::info!("a client did not wait for its answer: {}", text::chain(&error));
    }
}

fn start(shim: &Arc<Shim>, stream: &LocalStream, plan: ContainerPlan, attach: Option<Attach>) -> Result<(), ShimError> {
    let client = attach.as_ref().map(session::client);
    let size = attach.as_ref().and_then(|attach| attach.size);
    let (pid, container) = container::start(shim, plan, client.clone(), size)?;
    reply(stream, &Reply::Started { pid });
    let Some((attach, client)) = attach.zip(client) else { return Ok(()) };
    serve_session(stream, &attach, &client, &first_process(&container));
    Ok(())
}

fn attach_to(shim: &Arc<Shim>, stream: &LocalStream, id: &ContainerId, attach: &Attach) -> Result<(), ShimError> {
    let container = running(shim, id)?;
    let client = session::client(attach);
    reply(stream, &Reply::Attached);
    container.process.attach(client.clone());
    let target = first_process(&container);
    if let Some(size) = attach.size.filter(|_| container.settings.tty) {
        session::resize(shim, &target.name, size);
    }
    serve_session(stream, attach, &client, &target);
    Ok(())
}

fn start_exec(shim: &Arc<Shim>, stream: &LocalStream, plan: ExecPlan, attach: Option<Attach>) -> Result<(), ShimError> {
    let container = running(shim, &plan.container)?;
    let client = attach.as_ref().map(session::client);
    let size = attach.as_ref().and_then(|attach| attach.size);
    let name = ProcessRef { container: plan.container.clone(), exec: Some(plan.exec.clone()) };
    let input_ends = !exec::tty(&plan);
    let (pid, process) = exec::start(shim, &container, plan, client.clone(), size)?;
    reply(stream, &Reply::Started { pid });
    let Some((attach, client)) = attach.zip(client) else { return Ok(()) };
    serve_session(stream, &attach, &client, &Target { name, process, input_ends });
    Ok(())
}

fn first_process(container: &Container) -> Target {
    Target {
        name: ProcessRef { container: container.id.clone(), exec: None },
        process: Arc::clone(&container.process),
        input_ends: container.settings.stdin_once && !container.settings.tty,
    }
}

/// After the first reply nothing can be said but by the session; what goes wrong with it is for the log.
fn serve_session(stream: &LocalStream, attach: &Attach, client: &Client, target: &Target) {
    if let Err(error) = session::serve(stream, attach, client, target) {
        log::error!("a client cannot be served: {error}");
        target.process.detach(&client.outbox);
    }
}

fn send_signal(shim: &Shim, id: &ContainerId, signal: u8) -> Result<Reply, ShimError> {
    stop::signal(shim, &*running(shim, id)?, signal).map(|()| Reply::Done)
}

/// No answer: the client has left.
fn stop_container(shim: &Shim, stream: &LocalStream, id: &ContainerId, how: How) -> Result<Option<Reply>, ShimError> {
    let code = stop::stop(shim, &*running(shim, id)?, how, Some(stream))?;
    Ok(code.map(|code| Reply::Ended { code }))
}

/// As [`stop_container`].
fn wait(shim: &Shim, stream: &LocalStream, id: &ContainerId) -> Result<Option<Reply>, ShimError> {
    let container = shim.roster.get(id).ok_or_else(|| not_running(id))?;
    match container.gate.wait(Some(stream), None).map_err(|error| internal(error.to_string()))? {
        Waited::Ended(code) => Ok(Some(Reply::Ended { code })),
        Waited::ClientGone | Waited::TimedOut => Ok(None),
    }
}

fn resize(shim: &Shim, container: ContainerId, exec: Option<ExecId>, size: TerminalSize) -> Result<Reply, ShimError> {
    running(shim, &container)?;
    let process = ProcessRef { container, exec };
    let resized = shim.agent.order(Ask::Resize(ResizeTerminal { process, size }), REQUEST);
    resized.map(|()| Reply::Done).map_err(|error| call_error(&error))
}

fn usage(shim: &Shim, container: ContainerId) -> Result<Reply, ShimError> {
    match ask(shim, container, Ask::Usage)? {
        Outcome::Usage(usage) => Ok(Reply::Usage(usage)),
        _ => Err(call_error(&CallError::Mismatch)),
    }
}

fn processes(shim: &Shim, container: ContainerId) -> Result<Reply, ShimError> {
    match ask(shim, container, Ask::Processes)? {
        Outcome::Processes(entries) => Ok(Reply::Processes(entries.into_iter().map(harmless).collect())),
        _ => Err(call_error(&CallError::Mismatch)),
    }
}

fn not_running(id: &ContainerId) -> ShimError {
    ShimError { code: ShimErrorCode::NotFound, message: format!("container {} is not running", id.short()) }
}

/// A container that runs, or is about to as soon as the guest is up.
fn running(shim: &Shim, id: &ContainerId) -> Result<Arc<Container>, ShimError> {
    let container = shim.roster.get(id).ok_or_else(|| not_running(id))?;
    shim.life.wait_up().map_err(|gone| ShimError { code: ShimErrorCode::VmGone, message: gone.to_string() })?;
    Ok(container)
}

fn ask(shim: &Shim, container: ContainerId, ask: fn(ContainerRef) -> Ask) -> Result<Outcome, ShimError> {
    running(shim, &container)?;
    shim.agent.call(ask(ContainerRef { container }), REQUEST).map_err(|error| call_error(&error))
}

fn harmless(entry: ProcessEntry) -> ProcessEntry {
    ProcessEntry { command: text::one_line(&entry.command), ..entry }
}

fn status(shim: &Shim) -> VmStatus {
    let shim_process = VmProcess { role: "shim".to_owned(), pid: std::process::id() };
    let children = shim.children.iter().map(|(role, pid)| VmProcess { role: (*role).to_owned(), pid: *pid });
    VmStatus {
        kernel: shim.life.kernel(),
        processes: std::iter::once(shim_process).chain(children).collect(),
        jail: shim.life.jail(),
    }
}

fn internal(message: String) -> ShimError {
    ShimError { code: ShimErrorCode::Internal, message }
}
