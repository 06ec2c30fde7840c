//! The control connection: the handshake, then frames in both directions without ever blocking on the host.

use crate::clock;
use crate::document::Unread;
use crate::error::{Context, Result, internal};
use hull_protocol::agent::{self, AgentError, Answer, Event, GuestFrame, Hello, VERSION, Welcome};
use hull_protocol::frame::{self, Decoder, FrameError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send};
use std::error::Error;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How much is read at once.
const READ: usize = 16 << 10;

/// Over this many bytes on their way to the host, no further request is taken, and warnings are left out.
const CONGESTED: usize = 2 << 20;

/// A request whose documents have not been read yet.
pub type HostFrame = agent::HostFrame<Unread, Unread>;

/// What [`Control::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A request.
    Frame(HostFrame),
    /// No whole frame yet, or too much is waiting to be sent.
    Nothing,
    /// The host has closed the connection.
    Closed,
}

/// The connection.
#[derive(Debug)]
pub struct Control {
    stream: OwnedFd,
    decoder: Decoder,
    outgoing: Vec<u8>,
    sent: usize,
}

impl Control {
    /// A connected stream, blocking until [`Control::unblock`].
    pub fn new(stream: OwnedFd) -> Self {
        Self { stream, decoder: Decoder::default(), outgoing: Vec::new(), sent: 0 }
    }

    /// Sends the first frame.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn say_hello(&mut self) -> Result<()> {
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        let kernel = kernel.context(|| "cannot ask for the kernel's version".to_owned())?;
        let hello = frame::encode(&Hello { version: VERSION, kernel, uptime_ns: clock::uptime_ns() });
        self.outgoing.extend(hello.map_err(|error| malformed(&error))?);
        self.flush()
    }

    /// Waits for the host's first frame.
    ///
    /// # Errors
    /// Those of the connection; a host that speaks another version.
    pub fn hear_welcome(&mut self) -> Result<Welcome> {
        let welcome: Welcome = loop {
            if let Some(welcome) = self.decoder.take().map_err(|error| malformed(&error))? {
                break welcome;
            }
            if self.read().context(|| "cannot read the host's welcome".to_owned())? == 0 {
                return Err(internal("the host closed the connection during the handshake"));
            }
        };
        if welcome.version != VERSION {
            let message = format!("the host speaks version {} of the protocol, this agent {VERSION}", welcome.version);
            return Err(internal(message));
        }
        Ok(welcome)
    }

    /// From here on nothing waits for the host.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unblock(&self) -> Result<()> {
        let unblocked = fcntl(&self.stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR));
        unblocked.map(drop).context(|| "cannot make the control connection non-blocking".to_owned())
    }

    /// Sends a frame, or queues what the connection does not take at once. Nothing is ever dropped but warnings that
    /// the host does not read.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn send(&mut self, frame: &GuestFrame) -> Result<()> {
        if matches!(frame, GuestFrame::Event(Event::Warning { .. })) && self.is_congested() {
            return Ok(());
        }
        let bytes = match (frame::encode(frame), frame) {
            (Err(FrameError::TooLarge(length)), GuestFrame::Answer(Answer { id, .. })) => {
                let result = Err(internal(format!("the answer of {length} bytes does not fit into a frame")));
                frame::encode(&GuestFrame::Answer(Answer { id: *id, result }))
            }
            (encoded, _) => encoded,
        };
        self.outgoing.extend(bytes.map_err(|error| malformed(&error))?);
        self.flush()
    }

    /// Sends as much of the queue as the connection takes.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn flush(&mut self) -> Result<()> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(self.stream.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error).context(|| "cannot send to the host".to_owned()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    /// Whether everything has been handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    fn is_congested(&self) -> bool {
        self.outgoing.len() > CONGESTED
    }

    /// The next request. Until [`Received::Nothing`] has been returned, more may be waiting.
    ///
    /// # Errors
    /// A malformed frame, or those of the connection.
    pub fn receive(&mut self) -> Result<Received> {
        if self.is_congested() {
            return Ok(Received::Nothing);
        }
        loop {
            if let Some(frame) = self.decoder.take().map_err(|error| malformed(&error))? {
                return Ok(Received::Frame(frame));
            }
            match self.read() {
                // A reset is how a connection ends whose other side died.
                Ok(0) | Err(Errno::ECONNRESET | Errno::ENOTCONN) => return Ok(Received::Closed),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error).context(|| "cannot read the host's requests".to_owned()),
            }
        }
    }

    fn read(&mut self) -> nix::Result<usize> {
        let mut bytes = [0; READ];
        let count = recv(self.stream.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        self.decoder.push(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn malformed(error: &FrameError) -> AgentError {
    match error.source() {
        Some(source) => internal(format!("{error}: {source}")),
        None => internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
