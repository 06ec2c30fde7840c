//! A container: the plan that a runtime-spec document amounts to, and the child that carries it out.

mod devices;
mod mounts;
mod network;
mod paths;
mod plan;
mod root;
mod setup;
mod user;

pub use network::bring_loopback_up;
pub use plan::ContainerPlan;
pub use root::MountPoints;
pub use setup::{Birth, start};

mod further;

pub use further::{Addition, start_further};
