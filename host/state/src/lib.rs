//! The state directory: its layout, the records in it, the claims of names, and the logs of containers.
//!
//! ```text
//! version                      the layout's version
//! containers/<id>/record.json  ContainerRecord: what the user asked; never changes
//! containers/<id>/state.json   ContainerState; absent until something has happened to the container
//! containers/<id>/lock         taken by commands that act on the container
//! containers/<id>/data.img     the writable layer
//! containers/<id>/log/         see `log`
//! containers/<id>/vm-*.log*    the logs of a VM of its own that died under it
//! names/<name>                 the id of the container that has the name
//! vms/<id>/vm.json             VmRecord; never changes
//! vms/<id>/lock                held by the VM's shim for its life
//! vms/<id>/start.lock          held by a command that starts the shim of a named VM, until that listens
//! vms/<id>/socket              the path of the shim's socket
//! vms/<id>/console.log, shim.log
//! vm-names/<name>              the id of the VM that has the name
//! images/                      the store of images, which is the crate hull-image's
//! ```
//!
//! There is no daemon: any number of commands and shims work here at once, and each may die at any instant. What is
//! made whole before it is seen (directories under a temporary name, files through [`hull_platform::file`]) is never
//! seen by halves; how names and directories stay consistent is told in `shelf`. Durability costs milliseconds, so each
//! operation says what has reached the disk when it returns:
//!
//! | operation | after a power cut |
//! |---|---|
//! | [`StateRoot::create_container`], [`StateRoot::create_vm`] of a named VM | it is there |
//! | the same of a container to be removed at its end, of a VM that ends with its container | there, whole, or not |
//! | [`ContainerDir::write_state`] of an ended container | the new state |
//! | the same of one that runs | the new state or the one before, and then nothing runs any more |
//! | [`ContainerDir::remove`], [`VmDir::remove`] | gone or still there |
//! | [`log::LogWriter::append`] | undecided; what was cut is dropped |
//!
//! After the death of any process, as opposed to a power cut, nothing that returned is ever lost.

mod container;
mod document;
mod error;
pub mod log;
mod record;
mod root;
mod shelf;
mod vm;

pub use container::ContainerDir;
pub use error::StateError;
pub use record::{
    ContainerConfig, ContainerRecord, ContainerState, Lifetime, Status, Tmpfs, Ulimit, VmConfig, VmRecord,
};
pub use root::StateRoot;
pub use shelf::{NAME_RULE, is_name};
pub use vm::VmDir;

/// The version of every record and of the layout that this program writes and reads.
pub const VERSION: u32 = 1;
