//! Writing to standard output, where the other end of a pipe may have had enough.

use crate::failure::Failure;
use hull_platform::terminal::{self, Standard};
use std::io::{self, ErrorKind, Write};

/// Writes bytes at once.
pub fn write(to: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::broken_pipe(),
        _ => Failure::new(format!("cannot write: {error}")),
    })
}

/// Writes text to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout().lock(), text.as_bytes())
}

/// Writes a line to standard output.
pub fn print_line(text: impl AsRef<str>) -> Result<(), Failure> {
    print(&format!("{}\n", text.as_ref()))
}

/// Writes lines to standard output, all at once.
pub fn print_lines(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>())
}

/// Tells on standard error how things go; nobody can be told if that fails.
pub fn tell(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// Says something on standard error; nobody can be told if that fails.
pub fn say(line: &str) {
    drop(writeln!(io::stderr().lock(), "hull: {line}"));
}

/// Whether text on standard output may have colours.
pub fn styled() -> bool {
    terminal::is_terminal(Standard::Output)
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}
