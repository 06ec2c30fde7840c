//! The directories that Apple's guidelines name.

use crate::dirs::Lookup;
use std::path::{Path, PathBuf};

pub(crate) fn data_home(_: Lookup<'_>, home: &Path) -> Option<PathBuf> {
    Some(home.join("Library/Application Support/hull"))
}

/// Not `$TMPDIR`: its path takes half of the 103 bytes that a socket may have.
pub(crate) fn runtime_home(user: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/hull-{user}"))
}
