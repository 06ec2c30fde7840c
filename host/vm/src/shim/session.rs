//! An attached client: its input to the process, the process's output to it.
//!
//! The thread of the connection reads from the client, a second one writes to it. The client leaves by closing the
//! connection; that ends neither the process nor anything else.

use super::outbox::{Item, Outbox};
use super::process::{Client, Process};
use super::{REQUEST, Shim};
use crate::text;
use hull_platform::socket::LocalStream;
use hull_protocol::agent::{ProcessRef, Request, ResizeTerminal, TerminalSize};
use hull_protocol::session::{self, Kind};
use hull_protocol::shim::Attach;
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;

/// The process that a client is attached to.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: ProcessRef,
    /// Itself.
    pub process: Arc<Process>,
    /// Its standard input ends when the client's does, or when the client leaves.
    pub input_ends: bool,
}

/// A client that wants what `attach` says.
pub fn client(attach: &Attach) -> Client {
    Client { outbox: Arc::new(Outbox::default()), stdout: attach.stdout, stderr: attach.stderr }
}

/// Serves a client until it leaves or the process has ended.
///
/// # Errors
/// If the second thread or its descriptor cannot be had.
pub fn serve(stream: &LocalStream, attach: &Attach, client: &Client, target: &Target) -> io::Result<()> {
    let (outbox, writing) = (Arc::clone(&client.outbox), stream.try_clone()?);
    let writer = super::thread("session-out", move || write_chunks(&writing, &outbox))?;
    let mut input = attach.stdin.then(|| target.process.stdin()).flatten();
    let end = read_chunks(stream, target, &mut input);
    if let Err(error) = end {
        log::info!("a client is let go: {error}");
    }
    if attach.stdin && target.input_ends {
        target.process.close_stdin();
    }
    target.process.detach(&client.outbox);
    // A writer that panicked has written nothing more.
    let _ = writer.join();
    Ok(())
}

fn write_chunks(mut stream: &LocalStream, outbox: &Outbox) {
    while let Some(item) = outbox.next() {
        let written = match &item {
            Item::Output(kind, bytes) => session::write(&mut stream, *kind, bytes),
            Item::Ended(ended) => write_ended(stream, ended),
        };
        if written.is_err() || matches!(item, Item::Ended(_)) {
            break;
        }
    }
    outbox.close();
    // Wakes the reader.
    let _ = stream.shutdown(Shutdown::Read);
}

fn write_ended(mut stream: &LocalStream, ended: &session::Ended) -> io::Result<()> {
    let payload = serde_json::to_vec(ended)?;
    session::write(&mut stream, Kind::Ended, &payload)
}

fn read_chunks(stream: &LocalStream, target: &Target, input: &mut Option<LocalStream>) -> io::Result<()> {
    let mut payload = Vec::new();
    while let Some(kind) = session::read(&mut &*stream, &mut payload)? {
        match kind {
            Kind::Stdin if payload.is_empty() => {
                *input = None;
                if target.input_ends {
                    target.process.close_stdin();
                }
            }
            Kind::Stdin => {
                let written = input.as_ref().map(|mut input| input.write_all(&payload));
                if let Some(Err(_)) = written {
                    // The process reads no more; the rest is read and dropped, so that the client can go on.
                    *input = None;
                }
            }
            Kind::Stdout | Kind::Stderr | Kind::Ended => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a client sent what only a shim sends"));
            }
        }
    }
    Ok(())
}

/// Changes the size of a process's terminal; nobody waits to hear how that went.
pub fn resize(shim: &Shim, name: &ProcessRef, size: TerminalSize) {
    let order = Request::Resize(ResizeTerminal { process: name.clone(), size });
    if let Err(error) = shim.agent.order(order, REQUEST) {
        // As a rule the process has just ended.
        log::info!("a terminal was not resized: {}", text::chain(&error));
    }
}
