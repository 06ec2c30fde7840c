//! `hull rm`.

use super::many;
use crate::failure::Failure;
use clap::Args;
use hull_engine::{Engine, EngineError};

/// Remove containers.
#[derive(Debug, Args)]
pub struct Rm {
    /// Kill a container that runs, and do not mind one that does not exist
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes as well (hull has none yet)
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Rm {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        many::each(&self.containers, |reference| {
            let removed = engine.find(reference).and_then(|container| engine.remove(container, self.force));
            match removed {
                Ok(()) => Ok(reference.to_owned()),
                Err(error @ EngineError::NoSuchContainer(_)) if self.force => Err(Failure { code: 0, ..error.into() }),
                Err(error) => Err(error.into()),
            }
        })
    }
}
