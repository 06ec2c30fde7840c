//! vhost-user: devices served to a VMM in another process, over a Unix socket (QEMU's `docs/interop/vhost-user.rst`).
//!
//! The wire is the `vhost` crate's; the rings are ours. A ring runs while everything that it needs is known:
//!
//! ```text
//!   SET_FEATURES, SET_MEM_TABLE, SET_VRING_{NUM,ADDR,BASE,CALL,ERR}, SET_VRING_KICK, SET_VRING_ENABLE 1 ──▶ runs
//!   runs ── SET_VRING_ENABLE 0, GET_VRING_BASE (which forgets the kick), end of the connection ──▶ stopped
//!   runs ── SET_MEM_TABLE, SET_VRING_* ──▶ stopped, changed, runs
//! ```
//!
//! The peer is QEMU. It is not trusted: a guest that breaks out of it speaks here. What it says is checked; what makes
//! no sense ends the connection.

mod memory;
mod ring;
mod session;
#[cfg(test)]
mod tests;

use crate::device::VirtioDevice;
use session::Session;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::{BackendReqHandler, Error};

/// Why a device is not served any more, other than that its peer has gone.
#[derive(Debug, thiserror::Error)]
#[error("{device}: the vhost-user connection cannot go on")]
pub struct ServeError {
    /// Name of the device.
    pub device: String,
    /// What was wrong.
    #[source]
    pub source: Error,
}

/// Serves `device` over `socket`, a connected Unix stream socket, until the peer closes it. Meant for a thread of its
/// own. When it returns, every queue is stopped. `name` is for messages.
///
/// # Errors
/// [`ServeError`] if the peer breaks the protocol, or the system fails us.
pub fn serve(socket: impl Into<OwnedFd>, name: &str, device: Box<dyn VirtioDevice>) -> Result<(), ServeError> {
    let session = Arc::new(Mutex::new(Session::new(name, device)));
    let mut handler = BackendReqHandler::from_stream(UnixStream::from(socket.into()), Arc::clone(&session));
    let outcome = loop {
        match handler.handle_request() {
            Ok(()) => {}
            Err(error) if has_gone(&error) => break Ok(()),
            Err(source) => break Err(ServeError { device: name.to_owned(), source }),
        }
    };
    session.lock().unwrap_or_else(PoisonError::into_inner).stop_all();
    outcome
}

/// Whether the peer has closed the connection, in whatever state it was: a VMM that ends, or is killed, does.
fn has_gone(error: &Error) -> bool {
    match error {
        Error::Disconnected | Error::PartialMessage => true,
        Error::SocketBroken(error) => {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        }
        _ => false,
    }
}
