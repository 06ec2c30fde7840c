//! Stopping: a container, then a VM with all its containers.

use super::agent::CallError;
use super::container::KILL;
use super::gate::Waited;
use super::life::Phase;
use super::roster::Container;
use super::{REQUEST, Shim, call_error};
use hull_platform::socket::LocalStream;
use hull_protocol::agent::{ErrorCode, ProcessRef, Request, SignalProcess};
use hull_protocol::shim::{ShimError, ShimErrorCode};
use std::sync::Arc;
use std::time::Duration;

const SIGKILL: u8 = 9;

/// How long the agent may take to write everything to disk at the end.
const END: Duration = Duration::from_secs(10);

/// How to stop, where it differs from the container's settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// This signal first.
    pub signal: Option<u8>,
    /// So many seconds until `SIGKILL`; negative: for ever.
    pub timeout_seconds: Option<i64>,
}

/// Sends a signal to the first process of a container.
///
/// # Errors
/// For the client.
pub fn signal(shim: &Shim, container: &Container, signal: u8) -> Result<(), ShimError> {
    let process = ProcessRef { container: container.id.clone(), exec: None };
    let order = Request::Signal(SignalProcess { process, signal });
    shim.agent.order(order, REQUEST).map_err(|error| call_error(&error))
}

/// Stops a container and waits until its end is recorded; its exit status. With a client that leaves in between, the
/// container is stopped all the same, unless it may take for ever: then there is none.
///
/// # Errors
/// For the client.
pub fn stop(
    shim: &Shim,
    container: &Container,
    how: How,
    client: Option<&LocalStream>,
) -> Result<Option<u8>, ShimError> {
    let first = how.signal.unwrap_or(container.settings.stop_signal);
    let timeout = how.timeout_seconds.unwrap_or(container.settings.stop_timeout_seconds);
    if first != SIGKILL {
        signal_if_there(shim, container, first)?;
        // Negative: for ever, for as long as the client is there to hear of it.
        let waited = match u64::try_from(timeout) {
            Ok(seconds) => wait(container, None, Some(Duration::from_secs(seconds)))?,
            Err(_) => wait(container, client, None)?,
        };
        match waited {
            Waited::Ended(code) => return Ok(Some(code)),
            Waited::ClientGone => return Ok(None),
            Waited::TimedOut => {}
        }
    }
    kill(shim, container).map(Some)
}

fn kill(shim: &Shim, container: &Container) -> Result<u8, ShimError> {
    let killed = signal_if_there(shim, container, SIGKILL);
    let waited = match &killed {
        Ok(()) => wait(container, None, Some(KILL))?,
        Err(_) => Waited::TimedOut,
    };
    match waited {
        Waited::Ended(code) => Ok(code),
        _ if shim.own => {
            // The guest does not obey: its VM goes, and takes the container along.
            shim.give_up("the guest did not end its container".to_owned());
            match wait(container, None, Some(KILL))? {
                Waited::Ended(code) => Ok(code),
                _ => Err(error("the VM does not end")),
            }
        }
        _ => killed.and(Err(error("the guest did not end the container within 40 s of SIGKILL"))),
    }
}

/// A container that has just ended needs no signal.
fn signal_if_there(shim: &Shim, container: &Container, number: u8) -> Result<(), ShimError> {
    let process = ProcessRef { container: container.id.clone(), exec: None };
    let order = Request::Signal(SignalProcess { process, signal: number });
    match shim.agent.order(order, REQUEST) {
        Ok(()) | Err(CallError::Gone) => Ok(()),
        Err(CallError::Agent(error)) if error.code == ErrorCode::NotFound => Ok(()),
        Err(error) => Err(call_error(&error)),
    }
}

fn wait(container: &Container, client: Option<&LocalStream>, limit: Option<Duration>) -> Result<Waited, ShimError> {
    container.gate.wait(client, limit).map_err(|error| ShimError {
        code: ShimErrorCode::Internal,
        message: format!("cannot wait for the container: {error}"),
    })
}

fn error(message: &str) -> ShimError {
    ShimError { code: ShimErrorCode::Internal, message: message.to_owned() }
}

/// Stops every container, all at once, then the VM; returns when nothing of it is left.
pub fn stop_vm(shim: &Arc<Shim>) {
    shim.life.close();
    // A guest that is not up yet has started nothing.
    let up = shim.life.outline().phase == Phase::Up;
    let containers = if up { shim.roster.all() } else { Vec::new() };
    let stopping: Vec<_> = containers.into_iter().filter_map(|container| stop_in_background(shim, container)).collect();
    for thread in stopping {
        // One that panicked has stopped nothing; the VM's end will.
        let _ = thread.join();
    }
    shim.life.intend_end();
    if up
        && !shim.roster.all().is_empty()
        && let Err(error) = shim.agent.order(Request::End, END)
    {
        log::error!("the guest was not ended in an orderly way: {error}");
    }
    shim.end();
    shim.life.wait_gone();
}

fn stop_in_background(shim: &Arc<Shim>, container: Arc<Container>) -> Option<std::thread::JoinHandle<()>> {
    let shim = Arc::clone(shim);
    let stopped = super::thread("stop", move || {
        if let Err(error) = stop(&shim, &container, How::default(), None) {
            log::error!("container {:?} was not stopped: {error}", container.id);
        }
    });
    stopped.inspect_err(|error| log::error!("cannot start a thread: {error}")).ok()
}
