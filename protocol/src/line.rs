//! Errors cross the protocols as one line for a person.

use std::error::Error;

/// An error with its causes, each told once, in one line.
pub fn of(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Failed(&'static str, #[source] Option<Box<Failed>>);

    #[test]
    fn causes_follow_and_none_is_told_twice() {
        let chain = Failed("cannot a", Some(Box::new(Failed("b\nc", Some(Box::new(Failed("c", None)))))));
        assert_eq!(of(&chain), "cannot a: b c");
        assert_eq!(of(&Failed("cannot b: c", Some(Box::new(Failed("c", None))))), "cannot b: c");
    }
}
