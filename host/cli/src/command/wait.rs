//! `hull wait`.

use super::many;
use crate::failure::Failure;
use clap::Args;
use hull_engine::Engine;

/// Wait until containers stop and print their exit statuses.
#[derive(Debug, Args)]
pub struct Wait {
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Wait {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        many::each(&self.containers, |reference| Ok(engine.wait(&engine.find(reference)?)?.to_string()))
    }
}
