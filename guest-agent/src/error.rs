//! How the agent's errors come about. All of them travel to the host, so they are the protocol's [`AgentError`] from the
//! start: a code for the host's decisions, one line for a person.

use hull_protocol::agent::{AgentError, ErrorCode};
use nix::errno::Errno;
use std::io;

/// What nearly everything here returns.
pub type Result<T, E = AgentError> = std::result::Result<T, E>;

/// Characters of a name that are worth repeating in a message.
const QUOTED: usize = 200;

/// An error.
pub fn failure(code: ErrorCode, message: impl Into<String>) -> AgentError {
    AgentError { code, message: message.into() }
}

/// [`ErrorCode::Invalid`].
pub fn invalid(message: impl Into<String>) -> AgentError {
    failure(ErrorCode::Invalid, message)
}

/// [`ErrorCode::Unsupported`].
pub fn unsupported(message: impl Into<String>) -> AgentError {
    failure(ErrorCode::Unsupported, message)
}

/// [`ErrorCode::Internal`].
pub fn internal(message: impl Into<String>) -> AgentError {
    failure(ErrorCode::Internal, message)
}

/// A failed system call: what was tried, and the kernel's reason.
pub fn errno(code: ErrorCode, what: &str, errno: Errno) -> AgentError {
    failure(code, format!("{what}: {}", errno.desc()))
}

/// A name in quotes, cut to a length that fits into a line.
pub fn quote(name: &str) -> String {
    match name.char_indices().nth(QUOTED) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", &name[..end]),
    }
}

/// Says what was tried when a system call failed.
pub trait Context<T> {
    /// Turns the failure into [`ErrorCode::Internal`]. `what` says what was tried: "cannot mount proc".
    ///
    /// # Errors
    /// That failure.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| errno(ErrorCode::Internal, &what(), error))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => errno(ErrorCode::Internal, &what(), Errno::from_raw(raw)),
            None => internal(format!("{}: {error}", what())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_action_and_the_reason() {
        let error = Err::<(), _>(Errno::ENOENT).context(|| "cannot open /x".to_owned()).unwrap_err();
        assert_eq!(error.message, "cannot open /x: No such file or directory");
        let error = Err::<(), _>(io::Error::from_raw_os_error(13)).context(|| "cannot open /x".to_owned()).unwrap_err();
        assert_eq!(error.message, "cannot open /x: Permission denied");
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        assert_eq!(quote("a\nb"), r#""a\nb""#);
        let long = quote(&"ä".repeat(1000));
        assert!(long.ends_with("\"…") && long.chars().count() < 210, "{long}");
    }
}
