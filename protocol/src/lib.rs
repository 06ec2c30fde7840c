//! What hull's processes say to each other, and how it is framed; `docs/protocol.md` tells it in prose.
//!
//! - [`agent`]: between the shim and the guest agent, over vsock. The guest is hostile: every type that it sends refuses
//!   unknown fields, and every frame has a size cap.
//! - [`shim`]: between the command line (or the API server) and the shim of a VM, over a local socket.
//! - [`frame`]: length-delimited JSON, used by both.
//! - [`session`]: the multiplexed stream that an attached command line and the shim exchange.
//! - [`start`], [`trial`]: what passes between hull and the roles of itself that it starts.
//! - [`exit`], [`line`]: exit statuses and errors, as all of them tell them.
//!
//! This crate makes no system calls.

pub mod agent;
pub mod exit;
pub mod frame;
pub mod id;
pub mod line;
pub mod session;
#[cfg(feature = "oci")]
pub mod shim;
pub mod start;
pub mod trial;

pub use id::{ContainerId, ExecId, IdError, Port, VmId};
