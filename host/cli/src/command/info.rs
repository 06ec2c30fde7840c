//! `hull info`.

use super::documents;
use crate::failure::Failure;
use clap::Args;
use hull_engine::Engine;
use std::fmt::Write;

/// Tell where things are and how many there are.
#[derive(Debug, Args)]
pub struct Info {
    /// `json`, or a template such as '{{.DataRoot}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Info {
    pub fn run(self) -> Result<u8, Failure> {
        let info = Engine::open()?.info()?;
        documents::print(&info, self.format.as_deref(), || text(&info))?;
        Ok(0)
    }
}

fn text(info: &hull_engine::Info) -> String {
    let software = if info.software_cpu { " (a software CPU: slow, and no security boundary)" } else { "" };
    let backend =
        info.backend.as_ref().map_or("none (see hull doctor)".to_owned(), |backend| format!("{backend}{software}"));
    let assets = info.assets.as_deref().unwrap_or("not found (see hull doctor)");
    let lines = [
        ("Version", info.server_version.to_owned()),
        ("Containers", info.containers.to_string()),
        (" Running", info.containers_running.to_string()),
        (" Stopped", info.containers_stopped.to_string()),
        ("VMs running", info.vms_running.to_string()),
        ("Backend", backend),
        ("Architecture", info.architecture.to_owned()),
        ("CPUs", info.cpus.to_string()),
        ("Data root", info.data_root.clone()),
        ("Sockets", info.runtime_dir.clone()),
        ("Assets", assets.to_owned()),
    ];
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
        text
    })
}
