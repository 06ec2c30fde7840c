//! Directories below the user's local application data, which is the user's alone by its access list.

use crate::dirs::{DirsError, Lookup};
use std::fs::DirBuilder;
use std::path::{Path, PathBuf};

pub(crate) fn data_home(lookup: Lookup<'_>) -> Option<PathBuf> {
    let data = lookup("LOCALAPPDATA").map(PathBuf::from).filter(|path| path.is_absolute());
    data.map(|data| data.join("hull"))
}

pub(crate) fn runtime_home(lookup: Lookup<'_>) -> Option<PathBuf> {
    data_home(lookup).map(|data| data.join("run"))
}

/// The access list is inherited from the user's directory.
pub(crate) fn builder() -> DirBuilder {
    DirBuilder::new()
}

pub(crate) fn create_private(path: &Path) -> Result<(), DirsError> {
    builder().recursive(true).create(path).map_err(|source| DirsError::Io { path: path.to_owned(), source })
}
