//! `hull logs`.

use crate::failure::Failure;
use crate::output;
use crate::value::Since;
use clap::Args;
use hull_engine::{Engine, EngineError};
use hull_protocol::line;
use hull_state::log::{Entry, Lines, LogReader, Stream};
use hull_state::{ContainerDir, StateError, Status};
use std::io;

/// Print what a container has printed.
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on as the container prints
    #[arg(short, long)]
    follow: bool,
    /// Print the last lines only: a number, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = tail, allow_negative_numbers = true)]
    tail: Tail,
    /// Leave out what came before: a time, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Leave out what came after
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    until: Option<Since>,
    /// Print the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    All,
    Last(u64),
}

/// As in Docker whatever is below zero is all.
fn tail(text: &str) -> Result<Tail, String> {
    match text.parse::<i64>() {
        _ if text == "all" => Ok(Tail::All),
        Ok(lines) => Ok(u64::try_from(lines).map_or(Tail::All, Tail::Last)),
        Err(_) => Err("expected a number of lines, or all".to_owned()),
    }
}

impl Logs {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        let container = engine.find(&self.container)?;
        let reader = self.reader(&container).map_err(EngineError::from)?;
        if !self.follow {
            return self.print(reader);
        }
        let ended = || !engine.settled_state(&container).is_ok_and(|state| state.status == Status::Running);
        self.print(reader.follow(ended))
    }

    fn reader(&self, container: &ContainerDir) -> Result<LogReader, StateError> {
        let mut reader = LogReader::open(&container.log_dir())?;
        if let Some(Since(time)) = self.since {
            reader = reader.since(time);
        }
        if let Some(Since(time)) = self.until {
            reader = reader.until(time);
        }
        match self.tail {
            Tail::All => Ok(reader),
            Tail::Last(lines) => reader.tail(lines),
        }
    }

    fn print(&self, entries: impl Iterator<Item = Result<Entry, StateError>>) -> Result<u8, Failure> {
        if self.timestamps {
            // A time stands before a line, so only whole lines will do.
            Lines::new(entries).try_for_each(|line| print_entry(line, true))?;
        } else {
            let mut entries = entries;
            entries.try_for_each(|entry| print_entry(entry, false))?;
        }
        Ok(0)
    }
}

fn print_entry(entry: Result<Entry, StateError>, timestamp: bool) -> Result<(), Failure> {
    let Entry { at, stream, mut bytes } = entry.map_err(|error| Failure::new(line::of(&error)))?;
    if timestamp {
        bytes.splice(..0, format!("{at:.9} ").into_bytes());
    }
    match stream {
        Stream::Stdout => output::write(&mut io::stdout().lock(), &bytes),
        Stream::Stderr => output::write(&mut io::stderr().lock(), &bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_read_as_docker_reads_them() {
        assert_eq!(tail("all"), Ok(Tail::All));
        assert_eq!(tail("5"), Ok(Tail::Last(5)));
        assert_eq!(tail("0"), Ok(Tail::Last(0)));
        assert_eq!(tail("-1"), Ok(Tail::All));
        assert!(tail("x").is_err());
    }
}
