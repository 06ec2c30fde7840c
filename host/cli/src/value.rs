//! What the values of flags look like: Docker's spellings of sizes, times, limits and variables.

mod cpus;
mod duration;
mod environment;
mod size;
mod tmpfs;
mod ulimit;

pub use cpus::nano_cpus;
pub use duration::{Since, seconds};
pub use environment::environment;
pub use size::{bytes, mebibytes};
pub use tmpfs::tmpfs;
pub use ulimit::ulimit;

/// A bool as Go reads it, for `--flag=VALUE`.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `KEY=VALUE`, or `KEY` with an empty value.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("a label needs a name".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}
