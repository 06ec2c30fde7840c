//! What can go wrong with the state directory.

use std::io;
use std::path::{Path, PathBuf};

/// A failed operation on the state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused something.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done, as in "read".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The root is there, but not for this user.
    #[error("{0} is not writable; set HULL_ROOT to a directory that is")]
    NotWritable(PathBuf),
    /// Another version of hull wrote it.
    #[error("{path} has version {found:?}, and this hull knows version {} only", crate::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: String,
    },
    /// It is not what it should be.
    #[error("{path} is damaged")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The name cannot be one.
    #[error("invalid name {0:?}: {rule}", rule = crate::NAME_RULE)]
    InvalidName(String),
    /// The name belongs to another container or VM.
    #[error("the name {name:?} is taken by {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        id: String,
    },
    /// There is none.
    #[error("no such {what}: {reference}")]
    NotFound {
        /// `container` or `VM`.
        what: &'static str,
        /// What was looked for.
        reference: String,
    },
    /// Several ids begin like this.
    #[error("more than one {what} id begins with {reference}")]
    Ambiguous {
        /// `container` or `VM`.
        what: &'static str,
        /// What was looked for.
        reference: String,
    },
}

impl StateError {
    /// Whether the container or VM does not exist (any more), as opposed to something being wrong with it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// For `map_err`: what was being done to which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
