//! Where hull keeps its state and its sockets.
//!
//! Both places follow the XDG base directory specification on Linux and each system's own custom elsewhere;
//! `HULL_ROOT` and `HULL_RUNTIME_DIR` override them.

use crate::sys;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// Nothing tells where the user's files are.
    #[error("no home directory is known; set HULL_ROOT")]
    NoHome,
    /// A variable holds what cannot be made absolute.
    #[error("{variable} is not usable as a path")]
    Variable {
        /// Which.
        variable: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory cannot be made or looked at.
    #[error("cannot create {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could put a socket there.
    #[error("{path} {why}; remove it or set HULL_RUNTIME_DIR to a private directory")]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// What is wrong, as in "belongs to user 7".
        why: String,
    },
}

/// Looks a variable up; an empty one counts as absent.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The directory of all durable state; it is not created here.
///
/// `HULL_ROOT`, else `$XDG_DATA_HOME/hull` or `~/.local/share/hull` (Linux), `~/Library/Application Support/hull`
/// (macOS), `%LOCALAPPDATA%\hull` (Windows).
///
/// # Errors
/// [`DirsError::NoHome`] and [`DirsError::Variable`].
pub fn data_root() -> Result<PathBuf, DirsError> {
    data_root_from(&lookup)
}

/// The directory of sockets: `HULL_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/hull` if that directory is the user's, else
/// `/run/hull` for root on Linux, else `/tmp/hull-UID` (Windows: `%LOCALAPPDATA%\hull\run`).
///
/// It is created if absent, for its owner alone. Its path is short because a socket's whole path may have no more than
/// 104 bytes.
///
/// # Errors
/// [`DirsError::Untrusted`] if it is a link, belongs to somebody else or others may write to it.
pub fn runtime_dir() -> Result<PathBuf, DirsError> {
    runtime_dir_from(&lookup)
}

/// Creates a directory and its parents, each for its owner alone; nothing happens to those that exist.
///
/// # Errors
/// Those of creating it.
pub fn create_private_all(path: &Path) -> io::Result<()> {
    sys::dirs::builder().recursive(true).create(path)
}

/// Creates a directory that does not exist, for its owner alone.
///
/// # Errors
/// `AlreadyExists`, and those of creating it.
pub fn create_private_new(path: &Path) -> io::Result<()> {
    sys::dirs::builder().create(path)
}

fn lookup(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn data_root_from(lookup: Lookup<'_>) -> Result<PathBuf, DirsError> {
    match lookup("HULL_ROOT") {
        Some(root) => absolute("HULL_ROOT", root),
        None => sys::dirs::data_home(lookup).ok_or(DirsError::NoHome),
    }
}

fn runtime_dir_from(lookup: Lookup<'_>) -> Result<PathBuf, DirsError> {
    let dir = match lookup("HULL_RUNTIME_DIR") {
        Some(dir) => absolute("HULL_RUNTIME_DIR", dir)?,
        None => sys::dirs::runtime_home(lookup).ok_or(DirsError::NoHome)?,
    };
    sys::dirs::create_private(&dir)?;
    Ok(dir)
}

fn absolute(variable: &'static str, value: OsString) -> Result<PathBuf, DirsError> {
    std::path::absolute(value).map_err(|source| DirsError::Variable { variable, source })
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
