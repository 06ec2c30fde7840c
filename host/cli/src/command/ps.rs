//! `hull ps`.

use crate::failure::Failure;
use crate::output;
use crate::table::{Format, Row};
use clap::Args;
use hull_engine::{Engine, Entry, Filters};
use hull_state::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

const COLUMNS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

const HEADERS: [(&str, &str); 16] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Label", "LABEL"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Vm", "VM"),
];

const JSON_FIELDS: [&str; 15] = [
    "Command",
    "CreatedAt",
    "ID",
    "Image",
    "Labels",
    "LocalVolumes",
    "Mounts",
    "Names",
    "Networks",
    "Ports",
    "RunningFor",
    "Size",
    "State",
    "Status",
    "Vm",
];

/// The longest command that is shown whole.
const COMMAND_WIDTH: usize = 20;

/// List containers.
#[derive(Debug, Args)]
pub struct Ps {
    /// Show all containers, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show only what fits, such as status=exited, name=web, label=app, vm=dev
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`, or a template such as '{{.ID}} {{.Names}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print ids and commands whole
    #[arg(long)]
    no_trunc: bool,
    /// Show the containers created last, in whatever state
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Show the container created last, in whatever state
    #[arg(short, long)]
    latest: bool,
}

impl Ps {
    pub fn run(self) -> Result<u8, Failure> {
        let filters = Filters::parse(&self.filter)?;
        let format = Format::parse(self.format.as_deref(), COLUMNS)?;
        let last = self.last.or(self.latest.then_some(1));
        let all = self.all || last.is_some() || filters.want_stopped();
        let shown = |entry: &Entry| (all || entry.state.status == Status::Running) && filters.match_entry(entry);
        let mut entries: Vec<_> = Engine::open()?.list()?.into_iter().filter(shown).collect();
        entries.truncate(last.unwrap_or(usize::MAX));
        if self.quiet && self.format.is_none() {
            output::print_lines(entries.iter().map(|entry| self.id(entry)))?;
            return Ok(0);
        }
        let now = Timestamp::now();
        let rows: Vec<_> = entries.iter().map(|entry| self.row(entry, now)).collect();
        output::print(&format.render(&rows, &HEADERS, &JSON_FIELDS)?)?;
        Ok(0)
    }

    fn id(&self, entry: &Entry) -> String {
        let id = &entry.record.id;
        if self.no_trunc { id.as_str() } else { id.short() }.to_owned()
    }

    fn row(&self, entry: &Entry, now: Timestamp) -> Row {
        let Entry { record, state } = entry;
        let age = hull_engine::human_duration(now.as_second() - record.created_at.as_second());
        let labels = record.config.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let fields = json!({
            "ID": self.id(entry),
            "Image": record.image,
            "Command": self.command(entry),
            "CreatedAt": record.created_at.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
            "RunningFor": format!("{age} ago"),
            "Ports": "",
            "State": entry.state_name(),
            "Status": hull_engine::human_status(state, now),
            "Size": "0B",
            "Names": record.name,
            "Labels": labels.collect::<Vec<_>>().join(","),
            "Label": record.config.labels,
            "Mounts": "",
            "LocalVolumes": "0",
            "Networks": "",
            "Vm": record.config.vm.name.clone().unwrap_or_default(),
        });
        match fields {
            Value::Object(row) => row,
            _ => Row::new(),
        }
    }

    fn command(&self, entry: &Entry) -> String {
        let config = &entry.record.config;
        let words: Vec<_> = config.entrypoint.iter().chain(&config.command).map(String::as_str).collect();
        let command = words.join(" ");
        let whole = self.no_trunc || command.chars().count() <= COMMAND_WIDTH;
        let shown = if whole { command } else { command.chars().take(COMMAND_WIDTH - 1).chain(['…']).collect() };
        // Quoted, so that no control character of somebody's command reaches the terminal.
        Value::String(shown).to_string()
    }
}
