//! `hull history`.

use crate::failure::Failure;
use crate::output;
use crate::progress::short;
use crate::table::{Format, Row};
use clap::Args;
use hull_engine::Engine;
use hull_engine::images::HistoryEntry;
use jiff::Timestamp;
use serde_json::{Value, json};

const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADERS: [(&str, &str); 6] = [
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const JSON_FIELDS: [&str; 6] = ["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"];

/// Widest command in a table, as Docker's.
const COMMAND_WIDTH: usize = 45;

/// Print how an image was made.
#[derive(Debug, Args)]
pub struct History {
    /// Print sizes and times as a person reads them: true or false
    #[arg(short = 'H', long, value_name = "BOOL", default_value = "true", default_missing_value = "true",
          num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set, hide_default_value = true,
          hide_possible_values = true, value_parser = human)]
    human: bool,
    /// Print ids and commands whole
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a template such as '{{.CreatedBy}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name or id
    #[arg(value_name = "IMAGE")]
    image: String,
}

fn human(text: &str) -> Result<bool, &'static str> {
    crate::value::boolean(text).ok_or("expected true or false")
}

impl History {
    pub fn run(self) -> Result<u8, Failure> {
        let format = Format::parse(self.format.as_deref(), COLUMNS)?;
        let entries = Engine::open()?.image_history(&self.image)?;
        if self.quiet && self.format.is_none() {
            output::print_lines(entries.iter().map(|entry| self.id(entry)))?;
            return Ok(0);
        }
        let now = Timestamp::now();
        let rows: Vec<_> = entries.iter().map(|entry| self.row(entry, now)).collect();
        output::print(&format.render(&rows, &HEADERS, &JSON_FIELDS)?)?;
        Ok(0)
    }

    fn id(&self, entry: &HistoryEntry) -> String {
        match &entry.id {
            None => "<missing>".to_owned(),
            Some(id) if self.no_trunc => id.clone(),
            Some(id) => short(id).to_owned(),
        }
    }

    fn row(&self, entry: &HistoryEntry, now: Timestamp) -> Row {
        let at = entry.created.map_or("N/A".to_owned(), |time| time.to_string());
        let age = |time: Timestamp| format!("{} ago", hull_engine::human_duration(now.as_second() - time.as_second()));
        let since = if self.human { entry.created.map_or("N/A".to_owned(), age) } else { at.clone() };
        let size = if self.human { hull_engine::human_bytes(entry.size, 3) } else { entry.size.to_string() };
        let fields = json!({
            "ID": self.id(entry),
            "CreatedSince": since,
            "CreatedAt": at,
            "CreatedBy": self.command(entry),
            "Size": size,
            "Comment": printable(&entry.comment),
        });
        match fields {
            Value::Object(row) => row,
            _ => Row::new(),
        }
    }

    fn command(&self, entry: &HistoryEntry) -> String {
        let command = printable(&entry.created_by);
        if self.no_trunc || command.chars().count() <= COMMAND_WIDTH {
            return command;
        }
        command.chars().take(COMMAND_WIDTH - 1).chain(['…']).collect()
    }
}

/// An image's text must not reach the terminal with its control characters.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
