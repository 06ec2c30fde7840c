//! `hull kill`.

use super::many;
use crate::failure::Failure;
use clap::Args;
use hull_engine::{Engine, EngineError};
use hull_platform::signals::LinuxSignal;

/// Send a signal to running containers.
#[derive(Debug, Args)]
pub struct Kill {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: LinuxSignal,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Kill {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        many::each(&self.containers, |reference| match engine.kill(&engine.find(reference)?, self.signal) {
            Err(error @ EngineError::NotRunning(_)) => {
                Err(Failure::new(format!("cannot kill container: {reference}: {error}")))
            }
            other => Ok(other.map(|()| reference.to_owned())?),
        })
    }
}
