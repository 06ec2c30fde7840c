//! `hull system`: the room that things take on the disk, and getting it back.

use super::image::removed_lines;
use crate::failure::Failure;
use crate::table::{Format, Row};
use crate::{output, question};
use clap::{Args, Subcommand};
use hull_engine::Engine;
use hull_engine::images::Share;
use serde_json::{Value, json};

const COLUMNS: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const HEADERS: [(&str, &str); 5] =
    [("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")];

const JSON_FIELDS: [&str; 5] = ["Active", "Reclaimable", "Size", "TotalCount", "Type"];

/// See what takes room on the disk, and get it back.
#[derive(Debug, Args)]
pub struct System {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Debug, Subcommand)]
enum SystemCommand {
    /// Tell how much room images and containers take
    Df(Df),
    /// Remove containers that do not run, and images that nobody needs
    Prune(Prune),
}

#[derive(Debug, Args)]
struct Df {
    /// `table`, `json`, or a template such as '{{.Type}} {{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Args)]
struct Prune {
    /// Remove all images that no container has, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl System {
    pub fn run(self) -> Result<u8, Failure> {
        match self.command {
            SystemCommand::Df(command) => command.run(),
            SystemCommand::Prune(command) => command.run(),
        }
    }
}

impl Df {
    fn run(self) -> Result<u8, Failure> {
        let format = Format::parse(self.format.as_deref(), COLUMNS)?;
        let usage = Engine::open()?.disk_usage()?;
        let rows = [row("Images", usage.images), row("Containers", usage.containers)];
        output::print(&format.render(&rows, &HEADERS, &JSON_FIELDS)?)?;
        Ok(0)
    }
}

fn row(kind: &str, share: Share) -> Row {
    let percent = share.reclaimable.saturating_mul(100).checked_div(share.size);
    let percent = percent.map_or(String::new(), |percent| format!(" ({percent}%)"));
    let fields = json!({
        "Type": kind,
        "TotalCount": share.total.to_string(),
        "Active": share.active.to_string(),
        "Size": hull_engine::human_bytes(share.size, 4),
        "Reclaimable": hull_engine::human_bytes(share.reclaimable, 4) + &percent,
    });
    match fields {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

impl Prune {
    fn run(self) -> Result<u8, Failure> {
        if !self.force {
            let images = if self.all { "all images without at least one container" } else { "all dangling images" };
            let warning = format!("This will remove:\n  - all stopped containers\n  - {images}\n");
            question::confirm(&warning, "system prune")?;
        }
        let pruned = Engine::open()?.prune(self.all)?;
        let mut text = String::new();
        if !pruned.containers.is_empty() {
            text.push_str(&format!("Deleted Containers:\n{}\n\n", pruned.containers.join("\n")));
        }
        text.push_str(&removed_lines(&pruned.images));
        let space = hull_engine::human_bytes(pruned.container_bytes.saturating_add(pruned.images.bytes), 4);
        output::print(&format!("{text}Total reclaimed space: {space}\n"))?;
        Ok(0)
    }
}
