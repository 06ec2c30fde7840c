//! `hull start`.

use super::announce::announce;
use super::attached::{self, AttachFlags};
use super::many;
use crate::attach::{SignalProxy, Streams};
use crate::failure::Failure;
use clap::Args;
use hull_engine::{Boot, Engine};
use hull_state::VmDir;
use std::sync::Arc;

/// Start stopped containers.
#[derive(Debug, Args)]
pub struct Start {
    /// Attach to the container
    #[arg(short, long)]
    attach: bool,
    /// Attach standard input as well
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    flags: AttachFlags,
    /// Say nothing of the backend
    #[arg(short, long)]
    quiet: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Start {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Arc::new(Engine::open()?);
        let tell = |boot: &Boot, vm: &VmDir| announce(boot, vm, self.quiet);
        if !self.attach && !self.interactive {
            return many::each(&self.containers, |reference| {
                engine.start(reference, None, &tell)?;
                Ok(reference.to_owned())
            });
        }
        let [reference] = self.containers.as_slice() else {
            return Err(Failure::new("you cannot start and attach multiple containers at once"));
        };
        let config = engine.find(reference)?.record().map_err(hull_engine::EngineError::from)?.config;
        let streams = Streams::new(self.interactive && config.open_stdin, config.tty, self.flags.detach_keys.clone());
        streams.check()?;
        let signals = SignalProxy::start(&engine, self.flags.mode(config.tty));
        let started = engine.start(reference, Some(streams.attach.clone()), &tell)?;
        attached::finish(&engine, started.session, &streams, &signals)
    }
}
