//! `hull version`.

use crate::failure::Failure;
use crate::output;
use crate::template::Template;
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
        output::print(&match self.format.as_deref() {
            None => format!("hull {} ({}/{})\n", env!("CARGO_PKG_VERSION"), consts::OS, consts::ARCH),
            Some("json") => format!("{version}\n"),
            Some(format) => Template::parse(format)?.render(&version)? + "\n",
        })?;
        Ok(0)
    }
}
