//! Text that a guest wrote, made fit to be shown to a person.
//!
//! A guest may put anything into its console and its messages: terminal escapes that retitle or repaint the reader's
//! terminal, line breaks that forge log lines, megabytes. Whatever goes from there into a log, a record or an error
//! message passes through here.

pub use hull_protocol::line::of as chain;

/// The most characters of a guest's text that are kept.
const LIMIT: usize = 300;

/// One line of printable characters, at most 300 of them; what was cut is marked by `…`.
pub fn one_line(text: &str) -> String {
    let mut kept = String::new();
    for (at, character) in text.trim().chars().enumerate() {
        if at == LIMIT {
            kept.push('…');
            break;
        }
        kept.push(if is_harmless(character) { character } else { '\u{fffd}' });
    }
    kept
}

/// Control characters drive terminals; the bidirectional ones reorder what is read.
fn is_harmless(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays() {
        assert_eq!(one_line("  no such user: \"fräd\"\n"), "no such user: \"fräd\"");
    }

    #[test]
    fn escapes_line_breaks_and_floods_do_not_pass() {
        assert_eq!(one_line("a\x1b[2Jb\r\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d");
        let long = one_line(&"x".repeat(1 << 20));
        assert_eq!(long.chars().count(), LIMIT + 1);
        assert!(long.ends_with('…'));
    }
}
