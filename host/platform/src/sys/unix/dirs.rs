//! Directories that are the user's alone.

use crate::dirs::{DirsError, Lookup};
use crate::sys::base;
use nix::unistd::geteuid;
use std::fs::{self, DirBuilder, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Permission bits that let group or others write.
const OTHERS_WRITE: u32 = 0o022;

pub(crate) fn data_home(lookup: Lookup<'_>) -> Option<PathBuf> {
    base::data_home(lookup, &home(lookup)?)
}

pub(crate) fn runtime_home(lookup: Lookup<'_>) -> Option<PathBuf> {
    let session = lookup("XDG_RUNTIME_DIR").map(PathBuf::from);
    let session = session.filter(|dir| dir.is_absolute() && is_ours(dir)).map(|dir| dir.join("hull"));
    session.or_else(|| Some(base::runtime_home(geteuid().as_raw())))
}

/// `HOME`, or what the user database says.
fn home(lookup: Lookup<'_>) -> Option<PathBuf> {
    let home = lookup("HOME").map(PathBuf::from).or_else(std::env::home_dir);
    home.filter(|home| home.is_absolute())
}

/// `XDG_RUNTIME_DIR` survives `su` and `sudo -E`: then it is somebody else's.
fn is_ours(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == geteuid().as_raw())
}

/// Makes directories for their owner alone.
pub(crate) fn builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Creates the directory, and its parents, and refuses one in which somebody else could put or replace a socket.
pub(crate) fn create_private(path: &Path) -> Result<(), DirsError> {
    let failed = |source| DirsError::Io { path: path.to_owned(), source };
    match builder().create(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            builder().recursive(true).create(path).map_err(failed)?;
        }
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Looked at after the creation, and without following a link, so that what is judged is what will be used.
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    match distrust(&metadata, geteuid().as_raw()) {
        Some(why) => Err(DirsError::Untrusted { path: path.to_owned(), why }),
        None => Ok(()),
    }
}

fn distrust(metadata: &Metadata, user: u32) -> Option<String> {
    if !metadata.is_dir() {
        Some("is not a directory".to_owned())
    } else if metadata.uid() != user {
        Some(format!("belongs to user {}", metadata.uid()))
    } else if metadata.mode() & OTHERS_WRITE != 0 {
        Some("can be written to by others".to_owned())
    } else {
        None
    }
}
