//! What a forked child tells the agent while it turns into a container's process: a socket of whole messages, closed by
//! `execve`. The agent's errands ([`crate::errand`]) tell by the same means how they went.
//!
//! | message | meaning |
//! |---|---|
//! | `P` and four bytes, little-endian | another process took over; this is its id |
//! | `T` and a descriptor | the master of the terminal |
//! | `E` and JSON | it failed |
//! | `D`, and a descriptor or none | the errand is done; what it brings |
//! | the end | the program runs |

#![expect(unsafe_code, reason = "descriptors arrive as numbers")]

use crate::error::{Context, Result, internal};
use hull_protocol::agent::AgentError;
use hull_protocol::frame;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, send, sendmsg,
    socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Error messages are short; this is far above the longest.
const LONGEST: usize = 16 << 10;

/// A message from a child.
#[derive(Debug)]
pub enum Message {
    /// The process with this id takes the child's place.
    TakenOver(i32),
    /// Its terminal.
    Terminal(OwnedFd),
    /// It gives up.
    Failed(AgentError),
    /// The errand is done.
    Done(Option<OwnedFd>),
    /// It runs the program, or is dead.
    End,
}

/// The agent's end.
#[derive(Debug)]
pub struct Receiver(OwnedFd);

/// The child's end.
#[derive(Debug)]
pub struct Sender(OwnedFd);

/// Both ends.
///
/// # Errors
/// The kernel's.
pub fn pair() -> Result<(Sender, Receiver)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (child, agent) = pair.context(|| "cannot make a socket".to_owned())?;
    Ok((Sender(child), Receiver(agent)))
}

impl Receiver {
    /// The next message, if one is there.
    ///
    /// # Errors
    /// A message that is none.
    pub fn receive(&self) -> Result<Option<Message>> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// A message that is none.
    pub fn wait(&self) -> Result<Message> {
        self.receive_with(MsgFlags::empty())?.ok_or_else(|| internal("a child's report cannot be waited for"))
    }

    fn receive_with(&self, flags: MsgFlags) -> Result<Option<Message>> {
        let mut bytes = vec![0; LONGEST];
        let mut space = cmsg_space!(RawFd);
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                other => break other.context(|| "cannot read a child's report".to_owned())?,
            }
        };
        let length = received.bytes;
        let descriptor = take_descriptor(received.cmsgs());
        let bytes = bytes.get(..length).unwrap_or_default();
        parse(bytes, descriptor).map(Some)
    }
}

fn take_descriptor(messages: nix::Result<nix::sys::socket::CmsgIterator<'_>>) -> Option<OwnedFd> {
    let rights = |message| if let ControlMessageOwned::ScmRights(fds) = message { fds } else { Vec::new() };
    messages.ok()?.flat_map(rights).next().map(own)
}

fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the message that carried it; nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn parse(bytes: &[u8], descriptor: Option<OwnedFd>) -> Result<Message> {
    match (bytes.split_first(), descriptor) {
        (None, _) => Ok(Message::End),
        (Some((b'P', &[a, b, c, d])), _) => Ok(Message::TakenOver(i32::from_le_bytes([a, b, c, d]))),
        (Some((b'T', [])), Some(terminal)) => Ok(Message::Terminal(terminal)),
        (Some((b'D', [])), brought) => Ok(Message::Done(brought)),
        (Some((b'E', mut error)), _) => {
            let error = frame::read(&mut error).ok().flatten();
            Ok(Message::Failed(error.ok_or_else(|| internal("a child's report is malformed"))?))
        }
        _ => Err(internal("a child's report is malformed")),
    }
}

impl Sender {
    /// Says that another process takes over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_process(&self, pid: i32) -> Result<()> {
        let mut message = vec![b'P'];
        message.extend(pid.to_le_bytes());
        let sent = send(self.0.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
        sent.map(drop).context(|| "cannot report to the agent".to_owned())
    }

    /// Hands the master of the terminal over.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_terminal(&self, master: BorrowedFd<'_>) -> Result<()> {
        self.send_with(b"T", Some(master))
    }

    /// Says that the errand is done, and hands over what it brings.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send_done(&self, brought: Option<BorrowedFd<'_>>) -> Result<()> {
        self.send_with(b"D", brought)
    }

    fn send_with(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
        let descriptors = descriptor.map(|descriptor| [descriptor.as_raw_fd()]);
        let rights = descriptors.as_ref().map(|descriptors| ControlMessage::ScmRights(descriptors));
        let message = [IoSlice::new(message)];
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &message, rights.as_slice(), MsgFlags::MSG_NOSIGNAL, None);
        sent.map(drop).context(|| "cannot report to the agent".to_owned())
    }

    /// Says why it cannot go on.
    pub fn send_failure(&self, error: &AgentError) {
        send_failure(self.0.as_fd(), error);
    }
}

/// As [`Sender::send_failure`], for a panic hook.
pub fn send_failure(report: BorrowedFd<'_>, error: &AgentError) {
    let mut message = vec![b'E'];
    if frame::write(&mut message, error).is_ok() {
        message.truncate(LONGEST);
        // If the agent is gone, nobody wants to know.
        let _gone = send(report.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL);
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::failure;
    use hull_protocol::agent::ErrorCode;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (sender, receiver) = pair().unwrap();
        assert!(receiver.receive().unwrap().is_none());
        sender.send_process(0x0102_0304).unwrap();
        let (end, other) = nix::unistd::pipe().unwrap();
        sender.send_terminal(other.as_fd()).unwrap();
        drop(other);
        sender.send_done(None).unwrap();
        sender.send_failure(&failure(ErrorCode::CommandNotFound, "no"));
        assert!(matches!(receiver.receive(), Ok(Some(Message::TakenOver(0x0102_0304)))));
        let Ok(Some(Message::Terminal(passed))) = receiver.receive() else { panic!("no descriptor") };
        nix::unistd::write(&passed, b"x").unwrap();
        drop(passed);
        let mut bytes = [0; 2];
        assert_eq!(nix::unistd::read(&end, &mut bytes), Ok(1), "the descriptor is the same pipe");
        assert!(matches!(receiver.wait(), Ok(Message::Done(None))));
        let Ok(Some(Message::Failed(error))) = receiver.receive() else { panic!("no failure") };
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::CommandNotFound, "no"));
        assert!(receiver.receive().unwrap().is_none());
        drop(sender);
        assert!(matches!(receiver.receive(), Ok(Some(Message::End))));
    }

    #[test]
    fn nonsense_is_an_error() {
        for bytes in [b"P\x01".as_slice(), b"T", b"D!", b"E{", b"E\xff\xff\xff\xff", b"X"] {
            assert!(parse(bytes, None).is_err(), "{bytes:?}");
        }
    }
}
