//! Container lifecycle: what the command line, and later the API server, ask of hull.
//!
//! There is no daemon. Every call reads the state directory, settles what dead shims left ([`Engine::open`]), and
//! speaks to the shim of the VM in question over its socket. The engine writes a container's record; the state of a
//! running container is its shim's alone.
//!
//! It is not a command line: nothing is printed here.

mod assets;
mod backend;
mod create;
mod doctor;
mod engine;
mod error;
mod human;
mod image;
pub mod images;
mod info;
pub mod inspect;
mod lifecycle;
mod list;
pub mod names;
mod reconcile;
mod session;
mod shim_client;
pub mod spec;
mod start;
mod vm;
mod vms;

pub use assets::{Assets, AssetsError, BootFiles};
pub use backend::{BackendReport, Chosen};
pub use create::CreateRequest;
pub use doctor::{Check, Doctor};
pub use engine::Engine;
pub use error::EngineError;
pub use hull_image::oci_spec::image::Digest;
pub use hull_image::platform::Platform;
pub use hull_image::{Reference, progress};
pub use human::{bytes as human_bytes, duration as human_duration, status as human_status};
pub use image::{Image, ImageError, is_built_in};
pub use info::Info;
pub use inspect::Inspect;
pub use list::{Entry, Filters};
pub use session::{Session, SessionEnd};
pub use spec::ExecConfig;
pub use start::{Announce, Started};
pub use vm::Boot;
pub use vms::{VmInspect, VmSummary};

#[cfg(test)]
mod fixtures;
