//! The base directories of the XDG specification.

use crate::dirs::Lookup;
use std::path::{Path, PathBuf};

/// The specification says that a relative path is to be ignored.
pub(crate) fn data_home(lookup: Lookup<'_>, home: &Path) -> Option<PathBuf> {
    let data = lookup("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(data.unwrap_or_else(|| home.join(".local/share")).join("hull"))
}

pub(crate) fn runtime_home(user: u32) -> PathBuf {
    match user {
        0 => PathBuf::from("/run/hull"),
        _ => PathBuf::from(format!("/tmp/hull-{user}")),
    }
}
