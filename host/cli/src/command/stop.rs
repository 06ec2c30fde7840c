//! `hull stop`.

use super::many;
use crate::failure::Failure;
use clap::Args;
use hull_engine::Engine;
use hull_platform::signals::LinuxSignal;

/// Stop running containers.
#[derive(Debug, Args)]
pub struct Stop {
    /// Signal in place of the container's own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<LinuxSignal>,
    /// Seconds before a kill, in place of the container's own; negative: for ever
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Stop {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        many::each(&self.containers, |reference| {
            engine.stop(&engine.find(reference)?, self.signal, self.time)?;
            Ok(reference.to_owned())
        })
    }
}
