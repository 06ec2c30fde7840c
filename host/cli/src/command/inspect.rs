//! `hull inspect`.

use super::documents;
use crate::failure::Failure;
use clap::Args;
use hull_engine::Engine;

/// Print everything about containers as JSON.
#[derive(Debug, Args)]
pub struct Inspect {
    /// `json`, or a template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only `container`; for scripts that say it
    #[arg(long = "type", value_name = "TYPE", value_parser = ["container"], hide = true)]
    kind: Option<String>,
    /// Names or ids
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Inspect {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        documents::print_all(&self.containers, self.format.as_deref(), |reference| {
            let container = engine.find(reference)?;
            engine.inspect(&container)
        })
    }
}
