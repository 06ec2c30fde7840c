//! What differs between host systems, behind one contract.
//!
//! Each public module states the contract of one concept; the code behind it stands under `sys/`, whose `mod.rs` alone
//! chooses between systems. Linux is complete. macOS has everything but what is named at
//! [`process::Spawn::die_with_parent`]; Windows has files, directories, locks and plain child processes, and answers the
//! rest with [`std::io::ErrorKind::Unsupported`] and a sentence.

pub mod dirs;
pub mod event;
pub mod file;
pub mod handle;
pub mod jail;
pub mod lock;
pub mod memory;
pub mod process;
pub mod random;
pub mod signals;
pub mod socket;
mod sys;
pub mod terminal;
pub mod wait;
