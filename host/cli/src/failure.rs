//! A command that failed: its exit status, and one line for the person.

use crate::template::TemplateError;
use hull_engine::EngineError;
use hull_protocol::{exit, line};

/// What a shell shows for a program that `SIGPIPE` ended.
const EXIT_BROKEN_PIPE: u8 = 128 + 13;

/// Why a command ends without having done what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub code: u8,
    /// One line; none if the person has been told, or does not want to know.
    pub message: Option<String>,
}

impl Failure {
    /// With exit status 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: Some(message.into()) }
    }

    /// With this exit status and nothing more to say.
    pub fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    /// Whoever read the output has had enough.
    pub fn broken_pipe() -> Self {
        Self::silent(EXIT_BROKEN_PIPE)
    }

    /// An error of `run` and `exec`, whose exit status tells the container's from hull's.
    pub fn running(error: EngineError) -> Self {
        Self { code: error.exit_code(), message: Some(line::of(&error)) }
    }

    /// The same failure as one of hull itself.
    pub fn of_hull(self) -> Self {
        Self { code: exit::HULL, ..self }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(line::of(&error))
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        Self::new(error.to_string())
    }
}
