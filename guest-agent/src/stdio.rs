//! A process's standard streams: the pipes that it gets, and the streams to the host at their other ends.

use crate::dial::Dial;
use crate::error::{Context, Result};
use crate::relay::Relay;
use hull_protocol::Port;
use hull_protocol::agent::{Stdio, TerminalSize};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2};
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// What the child gets.
#[derive(Debug)]
pub enum ChildStdio {
    /// Descriptors to be its 0, 1 and 2.
    Files([OwnedFd; 3]),
    /// It makes itself a terminal of this size.
    Terminal(TerminalSize),
}

/// What the agent keeps.
#[derive(Debug)]
pub enum AgentStdio {
    /// Relays that are ready to run.
    Relays(Vec<Relay>),
    /// The stream to the host, waiting for the terminal that the child makes.
    Terminal(OwnedFd),
}

/// Makes the pipes and begins the connections.
///
/// # Errors
/// The kernel's.
pub fn prepare(stdio: &Stdio, dial: &dyn Dial) -> Result<(ChildStdio, AgentStdio)> {
    match stdio {
        Stdio::Terminal { port, size } => {
            Ok((ChildStdio::Terminal(*size), AgentStdio::Terminal(connect(*port, dial)?)))
        }
        Stdio::Pipes { stdin, stdout, stderr } => {
            let mut relays = Vec::with_capacity(3);
            let stdin = match stdin {
                None => null()?,
                Some(port) => {
                    let (child, agent) = pipe()?;
                    unblock(&agent)?;
                    relays.push(Relay::input(connect(*port, dial)?, agent));
                    child
                }
            };
            let mut output = |port: &Option<Port>| match port {
                None => null(),
                Some(port) => {
                    let (agent, child) = pipe()?;
                    unblock(&agent)?;
                    relays.push(Relay::output(agent, connect(*port, dial)?));
                    Ok(child)
                }
            };
            let files = [stdin, output(stdout)?, output(stderr)?];
            Ok((ChildStdio::Files(files), AgentStdio::Relays(relays)))
        }
    }
}

fn connect(port: Port, dial: &dyn Dial) -> Result<OwnedFd> {
    dial.dial(port).context(|| format!("cannot connect to port {} of the host", port.0))
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).context(|| "cannot make a pipe".to_owned())
}

/// One end of a pipe, or the master of a terminal: the agent must not wait on it, the process may on its own.
///
/// # Errors
/// The kernel's.
pub fn unblock(descriptor: &OwnedFd) -> Result<()> {
    let unblocked = fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    unblocked.map(drop).context(|| "cannot make a stream non-blocking".to_owned())
}

fn null() -> Result<OwnedFd> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    null.map(OwnedFd::from).context(|| "cannot open /dev/null".to_owned())
}

impl ChildStdio {
    /// The descriptors that must survive until [`ChildStdio::install`].
    pub fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Files(files) => files.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Terminal(_) => Vec::new(),
        }
    }

    /// In the child: makes the pipes its standard streams.
    ///
    /// # Errors
    /// The kernel's.
    pub fn install(&self) -> Result<()> {
        let Self::Files([stdin, stdout, stderr]) = self else { return Ok(()) };
        let installed = dup2_stdin(stdin).and_then(|()| dup2_stdout(stdout)).and_then(|()| dup2_stderr(stderr));
        installed.context(|| "cannot install the standard streams".to_owned())
    }
}
