//! The keys that detach the command line from a container with a terminal: by default Ctrl-P, Ctrl-Q.

use std::str::FromStr;

/// The keys, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Keys with commas between: a character, or `ctrl-` and a letter or one of `@[\]^_`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(key).collect::<Option<Vec<_>>>().map(Self).ok_or_else(|| {
            format!("'{text}' is not a sequence of keys (examples: ctrl-p,ctrl-q or a,b; control keys are ctrl-a to ctrl-z, ctrl-@, ctrl-[, ctrl-\\, ctrl-], ctrl-^ and ctrl-_)")
        })
    }
}

fn key(text: &str) -> Option<u8> {
    let single = |text: &str| match text.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        None => single(text),
        // The control characters are the letters' codes without the upper bits (ASCII).
        Some(rest) => {
            single(rest).filter(|byte| byte.is_ascii_alphabetic() || b"@[\\]^_".contains(byte)).map(|byte| byte & 0x1f)
        }
    }
}

/// Looks for the keys in what is typed, and holds back what may be the beginning of them.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

impl Detector {
    pub fn new(DetachKeys(keys): DetachKeys) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends to `out` what is to be passed on, and says whether the keys are complete.
    pub fn feed(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if *byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if *byte != self.keys[self.matched] {
                out.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(keys: &str, pieces: &[&str]) -> (String, bool) {
        let mut detector = Detector::new(keys.parse().unwrap());
        let mut out = Vec::new();
        let detached = pieces.iter().any(|piece| detector.feed(piece.as_bytes(), &mut out));
        (String::from_utf8(out).unwrap(), detached)
    }

    #[test]
    fn keys_are_read() {
        assert_eq!("".parse(), Ok(DetachKeys::default()));
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys(vec![0x10, 0x11])));
        assert_eq!("ctrl-A,b,ctrl-@,ctrl-_,x".parse(), Ok(DetachKeys(vec![1, b'b', 0, 0x1f, b'x'])));
        for bad in [",", "a,", "ab", "ctrl-", "ctrl-1", "ctrl-ab", "é", "alt-x"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whole_sequence_detaches_wherever_the_reads_are_cut() {
        assert_eq!(feed("", &["ls\r\u{10}\u{11}rest"]), ("ls\r".to_owned(), true));
        assert_eq!(feed("", &["ls", "\u{10}", "\u{11}"]), ("ls".to_owned(), true));
        assert_eq!(feed("x", &["ax"]), ("a".to_owned(), true));
    }

    #[test]
    fn a_beginning_that_leads_nowhere_is_passed_on() {
        assert_eq!(feed("", &["a\u{10}", "b"]), ("a\u{10}b".to_owned(), false));
        assert_eq!(feed("", &["\u{10}\u{10}\u{11}"]), ("\u{10}".to_owned(), true));
        assert_eq!(feed("", &["\u{11}\u{10}"]), ("\u{11}".to_owned(), false));
        assert_eq!(feed("a,b,c", &["ababc"]), ("ab".to_owned(), true));
    }
}
