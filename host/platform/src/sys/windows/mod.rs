//! Windows: files, directories, locks and plain child processes. The rest answers `Unsupported`; its types exist so that
//! portable code compiles.

pub(crate) mod dirs;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod jail;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod space;
pub(crate) mod terminal;
pub(crate) mod wait;

use std::io;

/// Says what this host cannot do yet.
fn unsupported<T>(what: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{what} not supported on Windows yet")))
}
