//! What registries and helper programs say, made fit for a line of ours.

/// The most of it that is repeated.
const MAX_CHARS: usize = 300;

/// One line of bounded length without control characters, which could otherwise reach a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    plain.take(MAX_CHARS).collect::<String>().trim().to_owned()
}
