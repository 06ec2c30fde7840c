//! Transfers as they go: on a terminal a line for each layer, elsewhere nothing.

use hull_engine::progress::{Phase, Progress, Step};
use hull_platform::terminal::{Standard, is_terminal};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

/// Digits of a digest that stand for it, as in Docker.
const DIGITS: usize = 12;

/// Which words stand for the phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `pull` and `load`.
    In,
    /// `push`.
    Out,
}

/// Draws on standard error.
#[derive(Debug)]
pub struct Bars {
    lines: MultiProgress,
    direction: Direction,
    known: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// Bars, unless nobody would see them.
    pub fn new(direction: Direction, quiet: bool) -> Self {
        let drawn = !quiet && is_terminal(Standard::Error);
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { lines: MultiProgress::with_draw_target(target), direction, known: Mutex::default() }
    }

    fn bar(&self, blob: &str) -> ProgressBar {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let bar = self.lines.add(ProgressBar::no_length().with_style(plain()));
            bar.set_prefix(short(blob).to_owned());
            bar
        };
        known.entry(blob.to_owned()).or_insert_with(make).clone()
    }
}

impl Drop for Bars {
    /// What is printed next goes below the bars that stay; those that did not get to their end go.
    fn drop(&mut self) {
        let known = std::mem::take(self.known.get_mut().unwrap_or_else(PoisonError::into_inner));
        let stay = known.values().any(ProgressBar::is_finished);
        drop(known);
        if stay && !self.lines.is_hidden() {
            crate::output::tell("");
        }
    }
}

/// The first digits of a digest.
pub fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..DIGITS).unwrap_or(hex)
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").expect("a template without a mistake")
}

fn moving() -> ProgressStyle {
    let template = "{prefix}: {msg:11} [{bar:40}] {decimal_bytes}/{decimal_total_bytes}";
    ProgressStyle::with_template(template).expect("a template without a mistake").progress_chars("=> ")
}

impl Progress for Bars {
    fn step(&self, blob: &hull_engine::Digest, step: Step) {
        if self.lines.is_hidden() {
            return;
        }
        let bar = self.bar(blob.as_ref());
        if let Some(total) = step.total {
            bar.set_length(total);
        }
        bar.set_position(step.done);
        let words = words(self.direction, step.phase);
        match step.phase {
            Phase::Waiting => bar.set_message(words),
            Phase::Downloading | Phase::Extracting => {
                if step.total.is_some() && bar.message() != words {
                    bar.set_style(moving());
                }
                bar.set_message(words);
            }
            Phase::Done | Phase::Exists => {
                bar.set_style(plain());
                bar.abandon_with_message(words);
            }
        }
    }
}

fn words(direction: Direction, phase: Phase) -> &'static str {
    match (phase, direction) {
        (Phase::Waiting, _) => "Waiting",
        (Phase::Downloading, Direction::In) => "Downloading",
        (Phase::Downloading, Direction::Out) => "Pushing",
        (Phase::Extracting, _) => "Extracting",
        (Phase::Done, Direction::In) => "Pull complete",
        (Phase::Done, Direction::Out) => "Pushed",
        (Phase::Exists, Direction::In) => "Already exists",
        (Phase::Exists, Direction::Out) => "Layer already exists",
    }
}

/// A line that goes where the person looks: standard output, or for a command whose output is a program's, standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
    /// Nowhere.
    Nobody,
}

impl Teller {
    /// Tells a line.
    pub fn tell(self, line: impl Display) -> Result<(), crate::failure::Failure> {
        match self {
            Self::Output => crate::output::print_line(line.to_string()),
            Self::Error => {
                crate::output::tell(&line.to_string());
                Ok(())
            }
            Self::Nobody => Ok(()),
        }
    }
}
