//! What Linux and macOS share.

pub(crate) mod ancillary;
pub(crate) mod dirs;
pub(crate) mod file;
pub(crate) mod handle;
pub(crate) mod lock_file;
pub(crate) mod private;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod terminal;
