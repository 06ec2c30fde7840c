//! The arguments: which commands there are, and how a mistake is reported.

use crate::command::Command;
use crate::failure::Failure;
use crate::{help, output, value};
use clap::error::{Error, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};
use hull_protocol::exit;
use std::ffi::OsString;

/// Runs Linux containers, each behind a virtual-machine boundary.
#[derive(Debug, Parser)]
#[command(name = "hull", version, disable_help_subcommand = true, disable_version_flag = true)]
struct Arguments {
    /// Print the version
    #[arg(short, long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

/// The command that the arguments name; none if they asked for help, which has been printed.
///
/// # Errors
/// What is wrong with them, as one line, with Docker's exit status for it.
pub fn parse(words: Vec<OsString>) -> Result<Option<Command>, Failure> {
    let mut grammar = grammar();
    if words.iter().any(sets_boolean) {
        grammar = with_boolean_values(grammar);
    }
    let name = std::iter::once(OsString::from("hull"));
    let parsed = grammar.try_get_matches_from_mut(name.chain(words.iter().cloned()));
    match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => Ok(Some(arguments.command)),
        Err(error) => report(&error, &grammar, &words).map(|()| None),
    }
}

/// All commands and flags.
pub fn grammar() -> clap::Command {
    help::grouped(Arguments::command())
}

fn report(error: &Error, grammar: &clap::Command, words: &[OsString]) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let text = error.render();
            output::print(&if output::styled() { text.ansi().to_string() } else { text.to_string() })
        }
        _ => {
            let line = format!("{}\nSee '{} --help'.", summary(&error.to_string()), command_path(grammar, words));
            Err(Failure { code: exit::HULL, message: Some(line) })
        }
    }
}

/// What clap says in paragraphs, as one line: its first paragraph, and its tips.
fn summary(text: &str) -> String {
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let tips = paragraphs.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: "));
    // Nobody who mistypes a flag wants an image of that name.
    let tips = tips.filter(|tip| !tip.contains(" as a value, use "));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = words(first.strip_prefix("error: ").unwrap_or(first));
    for tip in tips {
        line.push_str(&format!("; {}", words(tip)));
    }
    line
}

/// `hull`, and the subcommands that the words begin with.
fn command_path(grammar: &clap::Command, words: &[OsString]) -> String {
    let (mut path, mut at) = ("hull".to_owned(), grammar);
    for word in words {
        let Some(next) = word.to_str().and_then(|word| at.find_subcommand(word)) else { break };
        path = format!("{path} {}", next.get_name());
        at = next;
    }
    path
}

/// Whether a word is `--flag=true` or the like, which Docker takes for every flag that is on or off.
fn sets_boolean(word: &OsString) -> bool {
    let value = word.to_str().filter(|word| word.starts_with('-')).and_then(|word| word.split_once('='));
    value.is_some_and(|(_, value)| value::boolean(value).is_some())
}

/// Lets each flag take a value behind `=`. Not by default, because help would show it everywhere.
fn with_boolean_values(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(|text: &str| value::boolean(text).ok_or("expected true or false")),
        _ => arg,
    });
    command.mut_subcommands(with_boolean_values)
}

#[cfg(test)]
mod tests;
