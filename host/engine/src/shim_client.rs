//! One request to the shim of a VM: a connection, a [`Call`], a [`Reply`], and with some requests a session after it.

use crate::error::EngineError;
use hull_platform::socket::LocalStream;
use hull_protocol::frame::{self, FrameError};
use hull_protocol::shim::{self, Call, Reply, Request, ShimError, ShimErrorCode};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// A connection to a shim on which nothing has been asked yet.
#[derive(Debug)]
pub(crate) struct ShimClient {
    stream: LocalStream,
}

impl ShimClient {
    /// Connects to the socket of a VM.
    ///
    /// # Errors
    /// [`EngineError::VmGone`] if nobody listens there.
    pub(crate) fn connect(socket: &Path) -> Result<Self, EngineError> {
        match LocalStream::connect(socket) {
            Ok(stream) => Ok(Self { stream }),
            Err(error) if is_gone(&error) => Err(EngineError::VmGone),
            Err(error) => Err(EngineError::io(format!("connect to the shim at {}", socket.display()))(error)),
        }
    }

    /// Sends the request and waits for its answer. What is returned with it is the connection, for a session or to see
    /// its end.
    ///
    /// # Errors
    /// [`EngineError::Shim`] with the shim's own words, or [`EngineError::VmGone`].
    pub(crate) fn call(self, request: Request) -> Result<(Reply, LocalStream), EngineError> {
        let call = Call { version: shim::VERSION, request };
        frame::write(&mut &self.stream, &call).map_err(frame_error)?;
        match frame::read(&mut &self.stream).map_err(frame_error)? {
            None => Err(EngineError::VmGone),
            Some(Reply::Error(ShimError { code: ShimErrorCode::VmGone, message })) if message.is_empty() => {
                Err(EngineError::VmGone)
            }
            Some(Reply::Error(error)) => Err(EngineError::Shim(error)),
            Some(reply) => Ok((reply, self.stream)),
        }
    }

    /// As [`ShimClient::call`], then waits until the shim has closed the connection: after a request that ends a VM, it
    /// does so when nothing of the VM is left.
    ///
    /// # Errors
    /// As [`ShimClient::call`].
    pub(crate) fn call_to_the_end(self, request: Request) -> Result<Reply, EngineError> {
        let (reply, stream) = self.call(request)?;
        drain(&stream);
        Ok(reply)
    }
}

/// Reads until the peer closes.
pub(crate) fn drain(mut stream: &LocalStream) {
    let mut rest = [0; 512];
    while matches!(stream.read(&mut rest), Ok(count) if count > 0) {}
}

fn frame_error(error: FrameError) -> EngineError {
    match error {
        FrameError::Truncated => EngineError::VmGone,
        FrameError::Io(error) if is_gone(&error) => EngineError::VmGone,
        other => EngineError::Frame(other),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected, NotFound, UnexpectedEof,
    };
    let gone =
        [BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected, NotFound, UnexpectedEof];
    gone.contains(&error.kind())
}

/// An answer that does not belong to the request.
pub(crate) fn unexpected(reply: &Reply) -> EngineError {
    EngineError::Vm(format!("the VM's shim gave an answer that does not belong to the request: {reply:?}"))
}
