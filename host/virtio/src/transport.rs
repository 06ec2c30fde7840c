//! Transports: what connects a [`VirtioDevice`](crate::VirtioDevice) to a machine.

pub mod mmio;
#[cfg(target_os = "linux")]
pub mod vhost_user;
