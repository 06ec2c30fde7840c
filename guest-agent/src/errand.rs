//! Errands: work that a short-lived process does while the agent, or a container's process, goes on with something else,
//! and that ends with a word to whoever waits for it. On a VM with two processors the two really are done at once.
//!
//! A process rather than a thread, so that the agent stays one thread: it forks children that allocate.

use crate::error::{Context, Result, internal};
use crate::namespaces::{Forked, Parent, fork};
use crate::report::{self, Message, Receiver, Sender};
use crate::{descriptors, fatal};
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// An errand that is on its way, to be awaited by the agent or by a child of it. Nobody has to: its process ends by
/// itself, and what it brings is closed.
#[derive(Debug)]
pub struct Errand {
    what: &'static str,
    report: Receiver,
}

impl Errand {
    /// Sends a process off, a child of the caller's that shares with it, or has of its own, what `flags` say. `what`
    /// names the errand in errors: "the boot". The work can say by the sender that a part of it is done.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(
        what: &'static str,
        flags: CloneFlags,
        work: impl FnOnce(&Sender) -> Result<Option<OwnedFd>>,
    ) -> Result<Self> {
        let (sender, report) = report::pair()?;
        match fork(flags, Parent::Caller, None).context(|| format!("cannot start a process for {what}"))? {
            Forked::Parent(_child) => Ok(Self { what, report }),
            Forked::Child => run(&sender, work),
        }
    }

    /// Waits for the end of the errand, or of its next part, and takes what it brings.
    ///
    /// # Errors
    /// The errand's.
    pub fn wait(&self) -> Result<Option<OwnedFd>> {
        match self.report.wait()? {
            Message::Done(brought) => Ok(brought),
            Message::Failed(error) => Err(error),
            _ => Err(internal(format!("the process for {} was killed", self.what))),
        }
    }
}

impl AsFd for Errand {
    /// What has to stay open to wait for it.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.report.as_fd()
    }
}

fn run(report: &Sender, work: impl FnOnce(&Sender) -> Result<Option<OwnedFd>>) -> ! {
    let kept = report.as_fd().as_raw_fd();
    fatal::report_to_agent(kept);
    let closed = descriptors::close_all_but(&[kept]).context(|| "cannot leave the agent".to_owned());
    let done =
        closed.and_then(|()| work(report)).and_then(|brought| report.send_done(brought.as_ref().map(AsFd::as_fd)));
    if let Err(error) = done {
        report.send_failure(&error);
    }
    fatal::end_child()
}
