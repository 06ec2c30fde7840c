//! Asking the person at the terminal.

use crate::failure::Failure;
use crate::output;
use hull_platform::terminal::{RawMode, Standard, is_terminal};
use std::io::{self, BufRead, Read, Write};

/// Largest answer.
const MAX_ANSWER: u64 = 64 * 1024;

/// Warns of what a command does, and asks whether it shall; anything but yes is an error.
pub fn confirm(warning: &str, what: &str) -> Result<(), Failure> {
    output::print(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] "))?;
    let answer = read_line()?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    if !is_terminal(Standard::Input) {
        output::print("\n")?;
    }
    Err(Failure::new(format!("{what} has been cancelled (use --force to go without the question)")))
}

/// Asks for a line.
pub fn ask(prompt: &str) -> Result<String, Failure> {
    output::print(prompt)?;
    Ok(read_line()?.trim().to_owned())
}

/// Asks for a password, which is not shown.
pub fn ask_password(prompt: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot ask for the password: {error}"));
    output::print(prompt)?;
    let raw = RawMode::enter().map_err(failed)?;
    let password = read_keys(&mut io::stdin().lock().bytes()).map_err(failed);
    drop(raw);
    output::print("\n")?;
    password?.ok_or_else(|| Failure::silent(130))
}

/// Keys up to the end of the line; none if the person gave up.
fn read_keys(keys: &mut dyn Iterator<Item = io::Result<u8>>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' => break,
            // Ctrl-C, and Ctrl-D on an empty line.
            0x03 => return Ok(None),
            0x04 if line.is_empty() => return Ok(None),
            0x04 => break,
            // Backspace takes a whole character.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| (0x80..0xc0).contains(&byte)) {},
            // Ctrl-U takes all.
            0x15 => line.clear(),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Everything on standard input, as a password comes from a script, without the line's end.
pub fn read_secret() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn read_line() -> Result<String, Failure> {
    drop(io::stdout().lock().flush());
    let mut line = String::new();
    let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut line);
    read.map_err(|error| Failure::new(format!("cannot read standard input: {error}")))?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        read_keys(&mut keys.iter().map(|key| Ok(*key))).unwrap()
    }

    #[test]
    fn keys_make_a_password() {
        assert_eq!(typed(b"hush\rmore").as_deref(), Some("hush"));
        assert_eq!(typed("hü\x7f\x7fey\n".as_bytes()).as_deref(), Some("ey"));
        assert_eq!(typed(b"wrong\x15right\r").as_deref(), Some("right"));
        assert_eq!(typed(b"x\x03"), None);
        assert_eq!(typed(b"\x04"), None);
        assert_eq!(typed(b"x\x04").as_deref(), Some("x"));
    }
}
