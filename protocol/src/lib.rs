//! What hull's processes say to each other, and how it is framed; `docs/protocol.md` tells it in prose.
//!
//! - [`agent`]: between the shim and the guest agent, over vsock. The guest is hostile: every type that it sends refuses
//!   unknown fields, and every frame has a size cap.
//! - [`shim`]: between the command line (or the API server) and the shim of a VM, over a local socket.
//! - [`frame`]: length-delimited JSON, used by both.
//! - [`session`]: the multiplexed stream that an attached command line and the shim exchange.
//!
//! This crate makes no system calls.

pub mod agent;
pub mod frame;
pub mod id;
pub mod session;
#[cfg(feature = "oci")]
pub mod shim;

pub use id::{ContainerId, ExecId, IdError, Port, VmId};
