//! `hull attach`.

use super::attached::{self, AttachFlags};
use crate::attach::{SignalProxy, Streams};
use crate::failure::Failure;
use clap::Args;
use hull_engine::{Engine, EngineError};
use std::sync::Arc;

/// Attach this terminal to a running container.
#[derive(Debug, Args)]
pub struct Attach {
    /// Leave standard input out
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    flags: AttachFlags,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Attach {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Arc::new(Engine::open()?);
        let container = engine.find(&self.container)?;
        let config = container.record().map_err(EngineError::from)?.config;
        let streams = Streams::new(config.open_stdin && !self.no_stdin, config.tty, self.flags.detach_keys.clone());
        streams.check()?;
        let signals = SignalProxy::start(&engine, self.flags.mode(config.tty));
        let session = engine.attach(&container, streams.attach.clone()).map_err(|error| match error {
            EngineError::NotRunning(_) => Failure::new("You cannot attach to a stopped container, start it first"),
            other => other.into(),
        })?;
        attached::finish(&engine, Some(session), &streams, &signals)
    }
}
