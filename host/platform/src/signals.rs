//! Signals by their Linux numbers, which every container uses, whatever the host (signal(7)).

use crate::sys;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::mpsc::Receiver;

/// A Linux signal, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinuxSignal(u8);

/// The text names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(String);

/// The first and the last real-time signal that programs may use: the C library keeps 32 and 33 for itself.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// Names and numbers on x86-64 and arm64; of two names for one number the first is the one that is shown.
const NAMES: [(&str, u8); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

impl LinuxSignal {
    /// The terminal was hung up.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// End at once; cannot be caught.
    pub const KILL: Self = Self(9);
    /// For users.
    pub const USR1: Self = Self(10);
    /// For users.
    pub const USR2: Self = Self(12);
    /// End.
    pub const TERM: Self = Self(15);
    /// A child ended.
    pub const CHLD: Self = Self(17);
    /// Go on.
    pub const CONT: Self = Self(18);
    /// Stop; cannot be caught.
    pub const STOP: Self = Self(19);
    /// The terminal's size changed.
    pub const WINCH: Self = Self(28);

    /// The signal with this number, if there is one.
    pub fn new(number: u8) -> Option<Self> {
        (1..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Every signal that has a name of its own, by number.
    pub fn all_named() -> impl Iterator<Item = Self> {
        (1..=31).map(Self)
    }
}

impl FromStr for LinuxSignal {
    type Err = SignalError;

    /// `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN`, `RTMIN+3`, `RTMAX-2`.
    fn from_str(text: &str) -> Result<Self, SignalError> {
        let refuse = || SignalError(text.chars().take(40).collect());
        if let Ok(number) = text.parse::<u8>() {
            return Self::new(number).ok_or_else(refuse);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        named.or_else(|| real_time(name)).map(Self).ok_or_else(refuse)
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX` and `RTMAX-n`.
fn real_time(name: &str) -> Option<u8> {
    let distance = |text: &str, sign: char| match text {
        "" => Some(0),
        _ => text.strip_prefix(sign).filter(|digits| digits.starts_with(|c: char| c.is_ascii_digit()))?.parse().ok(),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(distance(rest, '+')?),
        (_, Some(rest)) => RTMAX.checked_sub(distance(rest, '-')?),
        _ => None,
    };
    number.filter(|number| (RTMIN..=RTMAX).contains(number))
}

impl fmt::Display for LinuxSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Has these signals delivered to a channel in place of their usual action, for the rest of the process's life. Blocked
/// calls of other threads go on. Several subscribers each get every signal.
///
/// # Errors
/// `InvalidInput` for a signal that cannot be caught or that this host does not have; `Unsupported` on Windows.
pub fn subscribe(signals: &[LinuxSignal]) -> io::Result<Receiver<LinuxSignal>> {
    sys::signals::subscribe(signals)
}

#[cfg(test)]
mod tests;
