//! What `run`, `start`, `attach` and `exec` have in common: a terminal that is attached to a process.

use crate::attach::{self, DetachKeys, Mode, Outcome, SignalProxy, Streams};
use crate::failure::Failure;
use crate::output;
use clap::Args;
use hull_engine::{Engine, Session};

/// How this terminal is attached.
#[derive(Debug, Args)]
pub struct AttachFlags {
    /// Keys that detach from a container with a terminal
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: DetachKeys,
    /// Pass signals on to the container, unless it has a terminal: true or false
    #[arg(long = "sig-proxy", value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, hide_default_value = true,
          hide_possible_values = true, value_parser = sig_proxy)]
    pub sig_proxy: bool,
}

fn sig_proxy(text: &str) -> Result<bool, &'static str> {
    crate::value::boolean(text).ok_or("expected true or false")
}

impl AttachFlags {
    /// What is done with signals.
    pub fn mode(&self, tty: bool) -> Mode {
        if self.sig_proxy && !tty { Mode::Proxy } else { Mode::Own }
    }
}

/// Carries the streams of a process that was started or attached to, and says its exit status.
pub fn finish(
    engine: &Engine,
    session: Option<Session>,
    streams: &Streams,
    signals: &SignalProxy,
) -> Result<u8, Failure> {
    let Some(session) = session else { return Ok(0) };
    match attach::carry(engine, session, streams, signals)? {
        Outcome::Ended(end) => {
            end.reason.iter().for_each(|reason| output::say(reason));
            Ok(end.code)
        }
        Outcome::Detached => {
            output::say("detached; the container goes on");
            Ok(0)
        }
    }
}
