//! Moves bytes between a process's standard streams and the host, without ever blocking.
//!
//! ```text
//!   output:    pipe   ──splice──> socket        the process writes, the host reads
//!   input:     socket ──splice──> pipe          the host writes, the process reads
//!   terminal:  socket <──buffers──> pty master
//! ```
//! splice(2) moves pages, so the pipe (64 KiB) and the socket are the only buffers; it needs a pipe on one side, which a
//! terminal is not. Whatever is full holds up the one behind it: that is all the back pressure there is.
//!
//! Descriptors are watched edge-triggered: [`Relay::advance`] goes on until one of them would block. It does a bounded amount
//! of work, so that a process that never stops writing leaves time for the others.

#![expect(unsafe_code, reason = "the size of a terminal is set by an ioctl")]

use hull_protocol::agent::TerminalSize;
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, getsockopt, send, sockopt};
use nix::unistd::{read, write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes moved at once: a pipe's capacity.
const PIECE: usize = 64 << 10;
/// Pieces moved before others have their turn.
const TURN: usize = 16;
/// Bytes of a terminal's buffer, one for each direction.
const TERMINAL_BUFFER: usize = 8 << 10;

/// What is left to do after [`Relay::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing until one of the descriptors is ready again.
    Blocked,
    /// More could be moved at once.
    Unfinished,
    /// The relay has ended; dropping it closes both sides.
    Ended,
    /// The stream to the host could not be connected.
    NotConnected(Errno),
}

/// One stream of a process, or its terminal.
#[derive(Debug)]
pub struct Relay(Kind);

#[derive(Debug)]
enum Kind {
    Output { pipe: OwnedFd, socket: OwnedFd },
    Input { socket: OwnedFd, pipe: OwnedFd },
    Terminal(Box<Terminal>),
}

impl Relay {
    /// From the reading end of a pipe to the host.
    pub fn output(pipe: OwnedFd, socket: OwnedFd) -> Self {
        Self(Kind::Output { pipe, socket })
    }

    /// From the host to the writing end of a pipe.
    pub fn input(socket: OwnedFd, pipe: OwnedFd) -> Self {
        Self(Kind::Input { socket, pipe })
    }

    /// Between the host and the master of a terminal.
    pub fn terminal(socket: OwnedFd, master: OwnedFd) -> Self {
        let (output, input) = (Buffer::new(), Buffer::new());
        Self(Kind::Terminal(Box::new(Terminal { socket, master, output, input, input_ended: false })))
    }

    /// What is to be watched for it.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        match &self.0 {
            Kind::Output { pipe: one, socket: other } | Kind::Input { socket: one, pipe: other } => {
                [one.as_fd(), other.as_fd()]
            }
            Kind::Terminal(terminal) => [terminal.socket.as_fd(), terminal.master.as_fd()],
        }
    }

    /// Moves what can be moved. `broken`: one of the descriptors reported an error or a hang-up.
    pub fn advance(&mut self, broken: bool) -> Progress {
        match &mut self.0 {
            Kind::Output { pipe, socket } => match forward(pipe, socket, socket) {
                Progress::Blocked if broken => failed_connection(socket),
                progress => progress,
            },
            Kind::Input { socket, pipe } => match forward(socket, pipe, socket) {
                Progress::Blocked if broken && has_no_reader(pipe) => Progress::Ended,
                Progress::Blocked if broken => failed_connection(socket),
                progress => progress,
            },
            Kind::Terminal(terminal) => match terminal.advance() {
                Progress::Blocked if broken && is_closed(&terminal.socket) => Progress::Ended,
                progress => progress,
            },
        }
    }

    /// Changes the size of the terminal; `false` if it is none.
    pub fn resize(&self, size: TerminalSize) -> bool {
        let Kind::Terminal(terminal) = &self.0 else { return false };
        set_size(terminal.master.as_fd(), size).is_ok()
    }
}

/// Tells a terminal its size; a change raises `SIGWINCH` in its foreground processes.
///
/// # Errors
/// The kernel's.
pub fn set_size(terminal: BorrowedFd<'_>, size: TerminalSize) -> nix::Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one `winsize` (ioctl_tty(2)), which outlives the call.
    let set = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(set).map(drop)
}

fn forward(from: &OwnedFd, to: &OwnedFd, socket: &OwnedFd) -> Progress {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    for _ in 0..TURN {
        match splice(from, None, to, None, PIECE, flags) {
            Ok(0) => return Progress::Ended,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Progress::Blocked,
            Err(Errno::ENOTCONN) => return failed_connection(socket),
            // The other side is gone. Closing ours tells the process, or the host.
            Err(_) => return Progress::Ended,
        }
    }
    Progress::Unfinished
}

/// Tells a connection that failed from one that is still being made.
fn failed_connection(socket: &OwnedFd) -> Progress {
    match getsockopt(socket, sockopt::SocketError) {
        Ok(0) => Progress::Blocked,
        Ok(error) => Progress::NotConnected(Errno::from_raw(error)),
        Err(error) => Progress::NotConnected(error),
    }
}

/// Whether no process can ever read from the pipe again.
fn has_no_reader(pipe: &OwnedFd) -> bool {
    events(pipe).contains(PollFlags::POLLERR)
}

/// Whether the host has closed its end altogether, not just its own direction.
fn is_closed(socket: &OwnedFd) -> bool {
    // A vsock socket whose peer is gone does not report it as a hang-up, but it takes nothing any more.
    let refused =
        || send(socket.as_raw_fd(), &[], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) == Err(Errno::EPIPE);
    events(socket).intersects(PollFlags::POLLHUP | PollFlags::POLLERR) || refused()
}

fn events(descriptor: &OwnedFd) -> PollFlags {
    let mut polled = [PollFd::new(descriptor.as_fd(), PollFlags::empty())];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(_) => polled[0].revents().unwrap_or(PollFlags::empty()),
        Err(_) => PollFlags::empty(),
    }
}

#[derive(Debug)]
struct Terminal {
    socket: OwnedFd,
    master: OwnedFd,
    output: Buffer,
    input: Buffer,
    /// The host sends no more. That is no reason to hang the terminal up.
    input_ended: bool,
}

impl Terminal {
    fn advance(&mut self) -> Progress {
        let output = self.output.copy(&self.master, &self.socket);
        let input = if self.input_ended { Copied::Blocked } else { self.input.copy(&self.socket, &self.master) };
        // A terminal that takes no input may still have output to deliver.
        self.input_ended |= matches!(input, Copied::EndOfInput | Copied::CannotWrite);
        match (output, input) {
            // The last process has closed the terminal, or the host has: the other side learns it by our closing.
            (Copied::EndOfInput | Copied::CannotRead | Copied::CannotWrite, _) | (_, Copied::CannotRead) => {
                Progress::Ended
            }
            (Copied::NotConnected, _) | (_, Copied::NotConnected) => failed_connection(&self.socket),
            (Copied::Unfinished, _) | (_, Copied::Unfinished) => Progress::Unfinished,
            (Copied::Blocked, _) => Progress::Blocked,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    Blocked,
    Unfinished,
    EndOfInput,
    NotConnected,
    CannotRead,
    CannotWrite,
}

/// Bytes that have been read and not yet been written.
#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; TERMINAL_BUFFER].into(), start: 0, end: 0 }
    }

    fn copy(&mut self, from: &OwnedFd, to: &OwnedFd) -> Copied {
        for _ in 0..TURN {
            if self.start == self.end {
                match read(from, &mut self.bytes) {
                    // EIO is how the master of a terminal says that nobody has the other side open.
                    Ok(0) | Err(Errno::EIO) => return Copied::EndOfInput,
                    Ok(count) => (self.start, self.end) = (0, count),
                    Err(Errno::EINTR) => continue,
                    Err(error) => return Copied::because(error, Copied::CannotRead),
                }
            }
            match write(to, self.bytes.get(self.start..self.end).unwrap_or_default()) {
                Ok(count) => self.start += count,
                Err(Errno::EINTR) => {}
                Err(error) => return Copied::because(error, Copied::CannotWrite),
            }
        }
        Copied::Unfinished
    }
}

impl Copied {
    fn because(error: Errno, otherwise: Self) -> Self {
        match error {
            Errno::EAGAIN => Self::Blocked,
            Errno::ENOTCONN => Self::NotConnected,
            _ => otherwise,
        }
    }
}

#[cfg(test)]
mod tests;
