//! How a shim is started: what its starter hands over, and the one line that it says in return.
//!
//! ```text
//! hull shim --root ROOT --vm ID        descriptor 3: readiness    descriptor 4: the VM's lock, taken
//! ```
//!
//! The starter closes the readiness channel when it has connected to the shim's socket; the shim does not go before, so
//! that the starter of a VM that dies at once hears why.

/// The descriptor of the readiness channel in a shim.
pub const READINESS_DESCRIPTOR: i32 = 3;

/// The descriptor of its VM's lock.
pub const LOCK_DESCRIPTOR: i32 = 4;

/// What a shim says on its readiness channel. An end without a line means that it died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Its socket accepts connections and its children run.
    Ready,
    /// It could not start its VM, and has cleared away what it had begun; why, in one line.
    Failed(String),
}

const READY: &str = "ready";
const FAILED: &str = "error: ";

impl Readiness {
    /// It as a line.
    pub fn line(&self) -> String {
        match self {
            Self::Ready => format!("{READY}\n"),
            Self::Failed(why) => format!("{FAILED}{}\n", why.replace('\n', " ")),
        }
    }

    /// What a line says, if it is one of a shim's.
    pub fn parse(line: &str) -> Option<Self> {
        match line.strip_suffix('\n')? {
            READY => Some(Self::Ready),
            other => other.strip_prefix(FAILED).map(|why| Self::Failed(why.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_and_half_ones_are_not() {
        for said in [Readiness::Ready, Readiness::Failed("no disk".to_owned())] {
            assert_eq!(Readiness::parse(&said.line()), Some(said));
        }
        for line in ["", "ready", "error: ", "hello\n"] {
            assert_eq!(Readiness::parse(line), None, "{line:?}");
        }
    }
}
