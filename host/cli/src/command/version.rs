//! `hull version`.

use super::documents;
use crate::failure::Failure;
use clap::Args;
use serde_json::json;
use std::env::consts;

/// Print hull's version.
#[derive(Debug, Args)]
pub struct Version {
    /// `json`, or a template such as '{{.Version}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Version {
    pub fn run(self) -> Result<u8, Failure> {
        let version = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "AgentProtocol": hull_protocol::agent::VERSION,
            "ShimProtocol": hull_protocol::shim::VERSION,
            "Os": consts::OS,
            "Arch": consts::ARCH,
        });
        documents::print(&version, self.format.as_deref(), || {
            format!("hull {} ({}/{})\n", env!("CARGO_PKG_VERSION"), consts::OS, consts::ARCH)
        })?;
        Ok(0)
    }
}
