//! The streams of a process: made here in pairs, one end for the pumps, the other for the vmm to join to the connection
//! that the guest will make.

use super::process::Process;
use super::vmm_link::{Vmm, VmmError};
use crate::control::Order;
use hull_platform::random;
use hull_platform::socket::LocalStream;
use hull_protocol::Port;
use hull_protocol::agent::{Stdio, TerminalSize};
use hull_protocol::session::Kind;
use std::io;
use std::sync::Arc;

/// A terminal whose size nobody said.
const SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// Why a process has no streams.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// No descriptors, threads or random numbers.
    #[error("cannot make the streams of a process")]
    Io(#[from] io::Error),
    /// The vmm did not take them.
    #[error("cannot hand the streams of a process over")]
    Vmm(#[from] VmmError),
}

/// Which streams a process has.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A terminal of this size, if it has one; with no size: of a usual one.
    pub terminal: Option<Option<TerminalSize>>,
    /// Its standard input leads somewhere.
    pub stdin: bool,
    /// Its output leads somewhere.
    pub output: bool,
}

/// The ports that the guest was told, to be forgotten when the process has ended.
#[derive(Debug, Default)]
pub struct Ports(Vec<Port>);

impl Ports {
    /// Makes the streams of `process`, whose pumps run from now on.
    ///
    /// # Errors
    /// See [`StdioError`]. The ports that were made are in `self` in any case.
    pub fn connect(&mut self, vmm: &Vmm, process: &Arc<Process>, wanted: Wanted) -> Result<Stdio, StdioError> {
        if let Some(size) = wanted.terminal {
            let (port, here) = self.expect(vmm)?;
            if wanted.stdin {
                process.set_stdin(here.try_clone()?);
            }
            process.pump(here, Kind::Stdout)?;
            return Ok(Stdio::Terminal { port, size: size.unwrap_or(SIZE) });
        }
        let mut stdin = None;
        if wanted.stdin {
            let (port, here) = self.expect(vmm)?;
            process.set_stdin(here);
            stdin = Some(port);
        }
        let mut output = |kind| {
            let (port, here) = self.expect(vmm)?;
            process.pump(here, kind)?;
            Ok::<_, StdioError>(port)
        };
        let stdout = wanted.output.then(|| output(Kind::Stdout)).transpose()?;
        let stderr = wanted.output.then(|| output(Kind::Stderr)).transpose()?;
        Ok(Stdio::Pipes { stdin, stdout, stderr })
    }

    fn expect(&mut self, vmm: &Vmm) -> Result<(Port, LocalStream), StdioError> {
        let (here, there) = LocalStream::pair()?;
        let port = random_port()?;
        self.0.push(port);
        vmm.order(&Order::Expect { port }, &[&there.into()])?;
        Ok((port, here))
    }

    /// Forgets those to which the guest has not connected.
    pub fn cancel(self, vmm: &Vmm) {
        for port in self.0 {
            match vmm.order(&Order::Cancel { port }, &[]) {
                Ok(()) | Err(VmmError::Gone) => {}
                Err(error) => log::error!("cannot forget a port: {}", crate::text::chain(&error)),
            }
        }
    }
}

/// A port that no other process in the guest can guess, so that none can take a stream that is meant for another; above
/// the well-known ones.
fn random_port() -> io::Result<Port> {
    loop {
        let port = u32::from_le_bytes(random::array()?) >> 1;
        if port >= 0x1_0000 {
            return Ok(Port(port));
        }
    }
}
